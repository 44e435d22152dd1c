"""Import gunicorn's internals, list each one that the service relies on, and check the list.

No other module of the service imports gunicorn, except `api.http.requests` for the exceptions that
reading a body raises.  Our worker is built on the inside of gunicorn's `gthread`, which a release
may change without notice.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

# What is missing here is named by `gunicorn_problem`, and then the service does not start.
with contextlib.suppress(ImportError, AttributeError):
    from gunicorn.arbiter import Arbiter
    from gunicorn.config import Config
    from gunicorn.errors import AppImportError
    from gunicorn.glogging import Logger as GunicornLogger
    from gunicorn.http import errors as http_errors
    from gunicorn.http import get_parser
    from gunicorn.workers.gthread import ThreadWorker

    APP_LOAD_ERROR = Arbiter.APP_LOAD_ERROR  # exit status of a worker that must not be restarted

__all__ = [
    "APP_LOAD_ERROR",
    "AppImportError",
    "GunicornLogger",
    "ThreadWorker",
    "give",
    "gunicorn_problem",
    "http_errors",
    "new_parser",
    "option_parser",
    "runs_under_gunicorn",
    "runs_without_our_settings",
]

_PIECE = 2048  # bytes

ROOT = Path(__file__).resolve().parents[2]

# Owner (`module` or `module:class`) and what we use of it.  Parentheses give the arguments that we
# pass, or take where we override the method.
RELIED_ON: Mapping[str, tuple[str, ...]] = {
    "gunicorn.arbiter:Arbiter": ("APP_LOAD_ERROR", "SIGNALS", "cfg", "signal(number, frame)"),
    "gunicorn.config:Config": ("parser()",),
    "gunicorn.errors": ("AppImportError",),
    "gunicorn.glogging:Logger": ("error_log", "setup(config)"),
    "gunicorn.http": ("get_parser(config, source, address)",),
    "gunicorn.http.errors": (
        "ExpectationFailed",
        "InvalidHTTPVersion",
        "LimitRequestHeaders",
        "LimitRequestLine",
        "NoMoreData",
        "ParseException",
        "UnsupportedTransferCoding",
    ),
    "gunicorn.http.message:Request": ("force_close()",),
    "gunicorn.http.parser:RequestParser": ("__next__()", "finish_body()"),
    "gunicorn.workers.gthread:PollableMethodQueue": ("defer(callback, connection, future)",),
    "gunicorn.workers.gthread:ThreadWorker": (
        "_keepalive_after(connection, reusable)",
        "accept(listener)",
        "alive",
        "cfg",
        "finish_request(connection, future)",
        "handle(connection)",
        "handle_quit(number, frame)",
        "handle_request(request, connection)",
        "init_process()",
        "is_parent_alive()",
        "method_queue",
        "murder_pending()",
        "nr_conns",
        "poller",
        "ppid",
        "run()",
        "tpool",
        "worker_connections",
        "wsgi",
    ),
}

# Methods of the worker that we override, and the method of gunicorn's from which each is called.
CALLED_FROM: Mapping[str, str] = {
    "accept": "set_accept_enabled",
    "is_parent_alive": "run",
    "murder_pending": "run",
    "run": "init_process",
}

PROGRAM = "gunicorn.app.wsgiapp"  # imported only where gunicorn itself is the program

# What gunicorn reads of a connection; ours has it.
READ_OF_CONNECTIONS = frozenset({"client", "parser", "server", "sock"})


def gunicorn_problem() -> str | None:
    """Return a sentence about the first internal that the installed gunicorn lacks, or `None`."""
    for lack in lacking():
        return (
            f"gunicorn {_version()} does not fit this service: {lack}; run: "
            f"{sys.executable} -m pip install -r {ROOT / 'requirements.txt'}"
        )
    return None


def lacking() -> Iterator[str]:
    """Yield, for each internal that is not as we know it, what is different."""
    if not importlib.util.find_spec(PROGRAM):
        yield f"there is no {PROGRAM}"
    for place, entries in RELIED_ON.items():
        module, _, name = place.partition(":")
        try:
            owner: Any = importlib.import_module(module)
            owner = getattr(owner, name) if name else owner
        except (ImportError, AttributeError):
            yield f"there is no {place.replace(':', '.')}"
            continue
        for entry in entries:
            if difference := _difference(owner, entry):
                yield f"{place.replace(':', '.')} {difference}"
        if name == "ThreadWorker":
            for method, caller in CALLED_FROM.items():
                if method not in _names_in(owner, caller):
                    yield f"{place.replace(':', '.')}.{caller} does not call {method}"


def _difference(owner: Any, entry: str) -> str | None:
    name, called, arguments = entry.rstrip(")").partition("(")
    found = getattr(owner, name, None)
    if found is None and (called or name not in _names_in(owner)):
        return f"has no {name}"  # nor is it an attribute that some method of the class sets
    code = getattr(found, "__code__", None)
    if not called or found is None or code is None:
        return None
    is_method = isinstance(owner, type)
    most = code.co_argcount - is_method
    least = most - len(found.__defaults__ or ())
    takes_more = bool(code.co_flags & 0x04)  # *args
    passed = len(arguments.split(", ")) if arguments else 0
    if least <= passed and (passed <= most or takes_more):
        return None
    takes = ", ".join(code.co_varnames[is_method : code.co_argcount])
    return f"has {name}({takes}) where {entry} is expected"


def _names_in(owner: Any, method: str | None = None) -> set[str]:
    """The names that a class's methods use, or one of them does, in all its base classes."""
    found: set[str] = set()
    for each in getattr(owner, "__mro__", (owner,)):
        for name, value in vars(each).items():
            code = getattr(value, "__code__", None)
            if isinstance(code, CodeType) and method in (None, name):
                found |= set(code.co_names)
    return found


def _version() -> str:
    try:
        return str(importlib.import_module("gunicorn").__version__)
    except (ImportError, AttributeError):
        return "of an unknown version"


def runs_without_our_settings() -> bool:
    """Return whether gunicorn runs us and has not read `gunicorn.conf.py`.

    gunicorn executes its configuration file as the module `__config__`.
    """
    hooks = hasattr(sys.modules.get("__config__"), "post_worker_init")
    return runs_under_gunicorn() and not hooks


def runs_under_gunicorn() -> bool:
    """Return whether gunicorn is the program, so that the command line holds its options."""
    return PROGRAM in sys.modules


def option_parser() -> argparse.ArgumentParser:
    """Return gunicorn's parser of its command line; an option that is not given is `None`."""
    parser: argparse.ArgumentParser = Config().parser()
    return parser


class _Pieces:
    """A request in pieces, for a parser that copies all it has at every chunk of a body.

    In one piece, a body of 100 KB in chunks of a byte takes a second, and one of 1 MB minutes.
    """

    def __init__(self) -> None:
        self._rest = memoryview(b"")

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """Return the next piece; empty, and never the end, where there is none at present."""
        piece, self._rest = self._rest[:_PIECE], self._rest[_PIECE:]
        return bytes(piece)

    def give(self, request: bytes) -> None:
        self._rest = memoryview(bytes(self._rest) + request)


def new_parser(config: Any, address: Any) -> Any:
    """Return gunicorn's parser of one connection's requests.

    It reads no socket, so it cannot block: it gets whole requests from `give`.
    """
    pieces = _Pieces()
    parser = get_parser(config, pieces, address)
    parser.pieces = pieces
    return parser


def give(parser: Any, request: bytes) -> None:
    parser.pieces.give(request)
