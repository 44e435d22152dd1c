"""`ax650 completion`: what a shell needs to complete the commands and their options."""

from __future__ import annotations

import argparse

import shtab


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh"), help="the shell")


def run(options: argparse.Namespace) -> int:
    from axproxy.cli.commands import parser  # noqa: PLC0415 - it imports this module

    whole = parser()
    whole.prog = "ax650"
    print(shtab.complete(whole, options.shell))
    return 0
