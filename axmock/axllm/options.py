"""The command line: the simulator's options come first, then what the vendor's program reads."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

USAGE = """usage: axllm <command> [options]
  axllm run <model_path>
  axllm serve <model_path> [--port <port>] [--server_timeout_ms <ms>]
  axllm version
"""
DEFAULT_TIMEOUT_MS = 300_000


class BadNumber(Exception):
    """The program throws std::invalid_argument for such a number, and aborts."""


@dataclass(frozen=True)
class ServeArguments:
    """What `axllm serve` reads of its command line; None where that is left to `config.json`."""

    folder: str
    port: int | None = None
    timeout_ms: int | None = None


def simulator_options() -> argparse.ArgumentParser:
    """Return the parser of the simulator's own options."""
    parser = argparse.ArgumentParser(
        prog="mock_axllm.py",
        description="Simulates the vendor's `axllm` without a card, with faults on request.",
        epilog="Then the vendor's own words follow: serve DIR --port N --server_timeout_ms N.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on; the vendor's is 0.0.0.0")
    add("--load-seconds", type=float, default=0.5, help="how long loading the model takes")
    add("--tokens-per-second", type=float, default=30.0, help="speed of an answer; 0: at once")
    add(
        "--prefill-tokens-per-second",
        type=float,
        default=2000.0,
        help="speed of reading a prompt, in whole chunks; 0: at once",
    )
    add("--reply", help="answer this text to everything instead of repeating the question")
    add("--reply-file", help="answer this file's text, read anew for each answer")
    add("--dialect", choices=["old", "new"], default="new", help="before April 2026, or after")
    add("--context", type=int, default=2559, help="tokens of prompt and answer together")
    add("--prefill-limit", type=int, default=2048, help="tokens of the longest prompt")
    add("--layers", type=int, default=28, help="layers of the model, for the progress bar")
    add("--spare-answers", type=int, default=0, help="the first N answers are spared all faults")
    fault = parser.add_argument_group("faults")
    add = fault.add_argument
    add(
        "--exit-during-load", type=int, help="end with this status when half of the model is loaded"
    )
    add("--hang-in-load", action="store_true", help="the load never ends")
    add("--memory-guard", action="store_true", help="the model does not fit; ends with status 255")
    add("--dead-card", action="store_true", help="the card does not answer; ends with status 255")
    add("--crash-after-tokens", type=int, help="die by SIGSEGV after N tokens of an answer")
    add("--hang-after-tokens", type=int, help="compute nothing more after N tokens of an answer")
    add("--cut-after-tokens", type=int, help="close the connection after N tokens")
    add("--no-last-piece-after", type=int, help="send a bare [DONE] after N tokens")
    add("--fail-after-tokens", type=int, help="the card fails after N tokens; ends as if whole")
    add("--error-event", help="send this error in place of the first token")
    add("--refuse", type=int, help="refuse answers with this status: 429, 500, 503 or 504")
    add("--refuse-times", type=int, default=1, help="how many answers are refused so")
    add("--ignore-sigterm", action="store_true", help="SIGTERM has no effect")
    add("--crash-on-stop", action="store_true", help="die by SIGSEGV when stopped in an answer")
    add("--flood-output", action="store_true", help="write about 2000 log lines a second")
    return parser


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the simulator's options, and the words from the vendor's command on."""
    at, words = 0, list(arguments)
    switches = {
        action.option_strings[0]
        for action in simulator_options()._actions
        if action.nargs == 0 and action.option_strings
    }
    while at < len(words) and words[at].startswith("--") and words[at] not in ("--version",):
        at += 1 if words[at] in switches or "=" in words[at] else 2
    return words[:at], words[at:]


def serve_arguments(words: Sequence[str]) -> ServeArguments:
    """Read what follows `serve`; unknown options are ignored.  Raises `BadNumber`."""
    folder, *rest = words
    given: dict[str, int] = {}
    for name, value in pairwise(rest):
        if name in ("--port", "--server_timeout_ms"):
            try:
                given[name] = int(value)
            except ValueError as error:
                raise BadNumber(value) from error
    return ServeArguments(folder, given.get("--port"), given.get("--server_timeout_ms"))
