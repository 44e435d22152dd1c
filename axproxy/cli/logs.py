"""`ax650 logs`: the service's log, from the journal or from the file of `AX650_LOG_FILE`."""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from axproxy.cli.service import ROOT, CommandFailed, settings_by_hand
from axproxy.preflight.unit_settings import UNIT


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    parser.add_argument(
        "-n", "--lines", type=int, default=50, metavar="N", help="the last N lines (default: 50)"
    )


def run(options: argparse.Namespace) -> int:
    """Become `tail` or `journalctl`, which know how to follow a log."""
    settings, unit = settings_by_hand()
    file = settings.log_file and (ROOT / settings.log_file if unit else settings.log_file)
    command = log_command(file, unit is not None, options.lines, follow=options.follow)
    program = shutil.which(command[0])
    if program is None:
        raise CommandFailed(f"{command[0]} is not installed on this machine")
    return os.execv(program, command)  # noqa: S606 - fixed programs, no shell


def log_command(file: Path | None, installed: bool, lines: int, *, follow: bool) -> list[str]:
    """Return the command that shows the log.  Raises `CommandFailed` where there is none."""
    if file:
        return ["tail", "-n", str(lines), *(["-F"] if follow else []), "--", str(file)]
    if installed:
        following = ["--follow"] if follow else ["--no-pager"]
        return ["journalctl", "-u", UNIT, "-n", str(lines), *following]
    raise CommandFailed(
        "the service of this checkout logs to its terminal; set AX650_LOG_FILE to keep the log"
    )
