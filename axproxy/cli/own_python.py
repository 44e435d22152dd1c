"""The doors of a checkout open with any python: what they need lies in its own .venv."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path

VENV = Path(__file__).resolve().parents[2] / ".venv"


def end_quietly_by_ctrl_c() -> None:
    """Until the program has handlers of its own: a traceback of half its imports helps nobody."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def use_own_python() -> None:
    """Goes on as the checkout's own python where the one that was called lacks what we need.

    Ends the process with status 2 and a sentence where there is no such python either.
    """
    end_quietly_by_ctrl_c()
    if importlib.util.find_spec("flask") and importlib.util.find_spec("gunicorn"):
        return
    python = VENV / "bin" / "python"
    if os.access(python, os.X_OK) and Path(sys.prefix) != VENV:
        os.execv(python, [str(python), *sys.argv])  # noqa: S606 - no shell, and our own file
    print(
        f"{Path(sys.argv[0]).stem}: what it needs is not installed; run ./run_integration.sh once",
        file=sys.stderr,
    )
    sys.exit(2)


def no_arguments(manual: str | None) -> None:
    """For a door that takes none: shows the manual for `--help`, refuses anything else."""
    if not sys.argv[1:]:
        return
    if sys.argv[1] in ("-h", "--help"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head` is no trouble
        print(manual)
        sys.exit(0)
    name = Path(sys.argv[0]).name
    print(
        f"{Path(name).stem}: there is no {sys.argv[1]}; try python3 {name} --help", file=sys.stderr
    )
    sys.exit(2)
