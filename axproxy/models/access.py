"""Finds out why a folder or a file cannot be used, and the command that helps."""

from __future__ import annotations

import os
import pwd
import shlex
from collections.abc import Callable
from pathlib import Path

CanAccess = Callable[[Path, int], bool]


def why_closed(path: Path, can_access: CanAccess | None = None) -> str | None:
    """Return what keeps this user from reading `path`, and the command that lets it in.

    That is the first folder above it that cannot be entered, else `path` itself; a home folder of
    Debian's is closed to other users.  Return `None` if nothing does, or nothing is there.
    """
    can_access = can_access or os.access
    for way in dict.fromkeys((Path(os.path.abspath(path)), Path(os.path.realpath(path)))):
        for folder in reversed(way.parents):
            if _exists(folder) and not can_access(folder, os.X_OK):
                return f"{_user()} may not enter {folder}; sudo chmod a+x {_quote(folder)}"
        if _exists(way):
            needed = os.R_OK | os.X_OK if way.is_dir() else os.R_OK
            if not can_access(way, needed):
                return f"{_user()} may not read {way}; sudo chmod -R a+rX {_quote(way)}"
    return None


def why_no_folder(path: Path) -> str | None:
    """Return why the model's folder `path` cannot be used, and what helps; `None` if it can."""
    if closed := why_closed(path):
        return closed
    if not _exists(path):
        return (
            f"{path} does not exist; mount its disk, or set AX650_MODEL_PATH to the model's folder"
        )
    if not path.is_dir():
        return f"{path} is not a folder; set AX650_MODEL_PATH to the model's"
    return None


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True


def _user() -> str:
    try:
        return f"the user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:  # in a container, a user may have a number only
        return f"the user {os.geteuid()}"


def _quote(path: Path) -> str:
    return shlex.quote(str(path))
