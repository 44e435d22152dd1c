#!/usr/bin/env python3
"""Simulates the vendor's newer runtime `axllm` without a card, with faults on request."""

from __future__ import annotations

import os
import sys

from axmock.axllm.console import Console
from axmock.axllm.options import USAGE, BadNumber, serve_arguments, simulator_options, split
from axmock.axllm.program import FAILURE, Program, install_signals
from axmock.crash import CppException, prepare_to_crash, terminate
from axmock.stdout import Stdout

VERSION = """axllm version
  git commit        : 0000000
  git branch        : simulator
  git dirty         : clean
  tokenizer commit  : 0000000
  tokenizer dirty   : clean
  build time        : 2026-09-01 00:00:00
  build type        : Release
  backend           : AXCL
  platform          : Linux aarch64
  compiler          : Python
  c++ standard      : 17
  openmp            : ON
"""


def main(arguments: list[str]) -> int:
    """Run the program; return its exit status."""
    own, words = split(arguments)
    options = simulator_options().parse_args(own)
    out = Stdout(sys.stdout.fileno())
    console = Console(out)
    if words[:1] in (["--help"], ["-h"]):
        console.text(USAGE)
        return 0
    if words[:1] in (["version"], ["--version"], ["-v"]):
        old = options.dialect == "old"
        console.text(USAGE if old else VERSION)
        return FAILURE if old else 0
    if len(words) < 2:
        console.text(USAGE)
        return FAILURE
    if words[0] != "serve":
        console.plain(f"Unknown mode: {words[0]}")
        console.text(USAGE)
        return FAILURE
    prepare_to_crash()
    try:
        program = Program(options, serve_arguments(words[1:]), console)
    except BadNumber:
        terminate(CppException("std::invalid_argument", "stoi"))
    install_signals(program, ignore_sigterm=options.ignore_sigterm)
    return program.run()


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code & 0xFF)  # threads that compute must not keep the process
