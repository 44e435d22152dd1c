"""`ax650 version`: the version of this program, and of the service that runs."""

from __future__ import annotations

import argparse

from axproxy import __version__
from axproxy.cli.service import CommandFailed, ServiceClient, settings_by_hand
from axproxy.settings import SettingsError


def configure(_parser: argparse.ArgumentParser) -> None:
    """There are no options."""


def run(_options: argparse.Namespace) -> int:
    """Print the version; a running service of another one is named, too."""
    print(f"backend {__version__}")
    try:
        client = ServiceClient(settings_by_hand()[0])
        running = client.get("/health").get("version")
    except (SettingsError, CommandFailed):
        return 0
    if running and running != __version__:
        print(f"the service at {client.url} is {running}; restart it to use this version")
    return 0
