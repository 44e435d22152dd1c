"""The command line of backend.py: run a command, or check the settings and become gunicorn."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from axproxy import __version__
from axproxy.api.http.policy import allowed_origins, required_key
from axproxy.cli.commands import COMMANDS, SERVE, run, show_help, unknown, without_pipe_errors
from axproxy.models.store import configured_settings
from axproxy.ops.logs import print_error
from axproxy.settings import SettingsError

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str]) -> int:
    """Run a command and return its exit status, or become gunicorn and not return.

    gunicorn replaces this process, so the pid that was started
    is the server's, and so are its signals.
    """
    word = arguments[0] if arguments else ""
    if word == SERVE[0]:
        arguments = arguments[1:]
    elif word and not word.startswith("-"):
        if word in COMMANDS:
            return without_pipe_errors(lambda: run(word, arguments[1:]))
        print(f"backend: {unknown(word)}", file=sys.stderr)
        return 2
    if word in ("-h", "--help"):
        return without_pipe_errors(show_help)
    if word in ("-v", "--version"):
        print(f"backend {__version__}")
        return 0
    try:
        settings = configured_settings(os.environ)
        required_key(settings)
        allowed_origins(settings)
        if settings.preflight_skip or settings.lacks_model:
            from axproxy.preflight.checks import (  # noqa: PLC0415 - few starts need all of it
                require_known_checks,
                require_model,
            )

            require_known_checks(settings)
            require_model(settings)
    except SettingsError as error:
        print_error("backend", error)
        return 2
    # No --chdir: relative paths in AX650_... settings begin in the user's folder.
    options = ["-c", str(ROOT / "gunicorn.conf.py"), *arguments]
    command = [sys.executable, "-m", "gunicorn", *options, "backend:app"]
    return os.execv(sys.executable, command)  # noqa: S606 - our own interpreter, no shell
