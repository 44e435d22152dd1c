"""How the service is started by hand: it looks at the settings, then becomes gunicorn."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from axproxy.api.http.policy import allowed_origins, required_key
from axproxy.settings import Settings, SettingsError

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str], manual: str = "") -> int:
    """The status to exit with; with good settings it does not return.

    There is one server to reason about, and its signals are ours.
    """
    word = arguments[0] if arguments else ""
    if word in ("doctor", "-h", "--help"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `doctor | head` is no trouble
    if word == "doctor":
        from axproxy.preflight import doctor  # noqa: PLC0415 - the service need not wait for it

        return doctor.main(arguments[1:])
    if word in ("-h", "--help"):
        print(manual.strip())
        return 0
    if word and not word.startswith("-"):
        print(f"backend: there is no {word}; try python3 backend.py --help", file=sys.stderr)
        return 2
    try:
        settings = Settings.from_env(os.environ)
        required_key(settings)
        allowed_origins(settings)
        if settings.preflight_skip:
            from axproxy.preflight.checks import (  # noqa: PLC0415 - few starts need all of it
                require_known_checks,
            )

            require_known_checks(settings)
    except SettingsError as error:
        print(f"backend: {error}", file=sys.stderr)
        return 2
    # No --chdir: relative paths in AX650_... settings are meant from where the user stands.
    options = ["-c", str(ROOT / "gunicorn.conf.py"), *arguments]
    command = [sys.executable, "-m", "gunicorn", *options, "backend:app"]
    return os.execv(sys.executable, command)  # noqa: S606 - our own interpreter, no shell
