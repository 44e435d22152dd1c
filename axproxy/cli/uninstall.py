"""`ax650 uninstall`: removes the installed service, as `install.sh --uninstall` does."""

from __future__ import annotations

import argparse
import os

from axproxy.cli.service import ROOT, CommandFailed
from axproxy.preflight.unit_settings import read_unit_settings


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only print what would be done")


def run(options: argparse.Namespace) -> int:
    script = ROOT / "install.sh"
    if read_unit_settings(ROOT) is None:
        raise CommandFailed(f"the program in {ROOT} is not installed as a service")
    arguments = [str(script), "--uninstall", *(["--dry-run"] if options.dry_run else [])]
    return os.execv("/bin/bash", ["bash", *arguments])  # noqa: S606 - our own script
