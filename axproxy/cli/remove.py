"""`ax650 rm`: deletes models of the store."""

from __future__ import annotations

import argparse
import sys

from axproxy.cli.service import CommandFailed, NotRunning, ServiceClient, settings_by_hand


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="+", metavar="MODEL", help="a name of the list of models")


def run(options: argparse.Namespace) -> int:
    """Delete each model; one that cannot be deleted does not keep the others."""
    settings, _ = settings_by_hand()
    client = ServiceClient(settings)
    failed = False
    for name in options.model:
        try:
            client.call("DELETE", "/api/delete", {"model": name})
        except NotRunning:
            raise
        except CommandFailed as error:
            print(f"rm: {error}", file=sys.stderr)
            failed = True
        else:
            print(f"deleted {name}")
    return int(failed)
