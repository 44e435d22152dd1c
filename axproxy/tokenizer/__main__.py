"""Run the tokenizer process: `python -m axproxy.tokenizer`."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from axproxy.models.tokenizer_files import SMALL_TOKENIZER, TokenizerFolderError, find_tokenizer
from axproxy.ops.malloc import trim_heap

try:
    from axproxy.tokenizer.access import VARIABLE, TokenizerAccess
    from axproxy.tokenizer.peers import SameUser, Siblings
    from axproxy.tokenizer.server import TokenizerServer
    from axproxy.tokenizer.tokenizer import TextTokenizer
except ModuleNotFoundError as missing:
    # An upgrade of the system can make .venv/bin/python another Python while the service runs.
    sys.exit(
        f"tokenizer: {sys.executable} (Python {sys.version_info[0]}.{sys.version_info[1]}) "
        f"lacks {missing.name}; run: sudo ./install.sh again, or ./run_integration.sh in a checkout"
    )

_DESCRIPTION = "Serve a model's tokenizer to the runtime and to the service, over HTTP."

log = logging.getLogger("axproxy.tokenizer")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then exits with 0; 2 if it cannot start."""
    parent, secret = os.getppid(), os.environ.pop(VARIABLE, "")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        level=arguments.log_level.upper(), format="%(levelname)s %(name)s: %(message)s"
    )
    # One text at a time needs no thread pool; without it the library keeps fewer threads around.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        folder = _folder(arguments)
        tokenizer = TextTokenizer.load(folder)
    except TokenizerFolderError as error:
        return _refuse(str(error))
    trim_heap()
    access = TokenizerAccess(secret, Siblings(parent) if arguments.siblings_only else SameUser())
    try:
        server = TokenizerServer((arguments.host, arguments.port), tokenizer, access)
    except (OSError, OverflowError) as error:
        return _refuse(
            f"cannot listen on {arguments.host}:{arguments.port} ({error}); "
            "stop what is using the port, or choose another one with --port"
        )
    log.info("tokenizer of %s", folder)
    print(f"tokenizer listening on {server.address}", flush=True)
    server.serve_forever()
    return 0


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's shape
    # At once: an orderly end would wait for threads that are inside the library or asleep in a
    # read of the trace, and there is nothing to save.
    os._exit(0)


def _refuse(sentence: str) -> int:
    print(f"tokenizer: {sentence}", file=sys.stderr)
    return 2


def _folder(arguments: argparse.Namespace) -> Path:
    if arguments.folder is not None:
        return Path(arguments.folder)
    return (
        SMALL_TOKENIZER
        if arguments.model_path is None
        else find_tokenizer(Path(arguments.model_path))
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m axproxy.tokenizer", description=_DESCRIPTION)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=12345, help="0 picks a free one")
    parser.add_argument("--folder", help="a folder with a tokenizer.json (default: the built-in)")
    parser.add_argument(
        "--model-path",
        help="a model's folder, to search for its tokenizer if --folder is not given",
    )
    parser.add_argument(
        "--siblings-only",
        action="store_true",
        help="take the runtime's calls only from processes that the parent of this one started "
        "(default: from all programs of this user)",
    )
    parser.add_argument(
        "--log-level", default="info", choices=["debug", "info", "warning", "error"]
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
