"""Checks the file of named API keys: whether it can be read, and who may change it."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator

from axproxy.api_keys import BadKeyLine, parse_keys
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding

_NAME = "api-keys"


def check_api_keys(context: CheckContext) -> Iterator[Finding]:
    """Check `AX650_API_KEYS_FILE`, where it is set.

    Nothing here fails: the service goes on with the keys that it has read before.
    """
    path = context.settings.api_keys_file
    if path is None:
        return
    if not path.exists():
        yield Finding(_NAME, "warn", f"{path} does not exist", "make it: ax650 keys add NAME")
        return
    quoted = shlex.quote(str(path))
    if not context.can_access(path, os.R_OK):
        yield Finding(_NAME, "warn", f"this user may not read {path}", f"sudo chmod a+r {quoted}")
        return
    if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        seen = f"other users may write to {path}, and so let anybody in"
        yield Finding(_NAME, "warn", seen, f"sudo chmod go-w {quoted}")
    try:
        keys = parse_keys(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, BadKeyLine) as error:
        what = str(error) if isinstance(error, BadKeyLine) else "it cannot be read as text"
        yield Finding(
            _NAME,
            "warn",
            f"{path}: {what}; the service keeps the keys that it had",
            "correct that line, or remove it",
        )
        return
    yield Finding(_NAME, "ok", f"{path} has {len(keys)} key{'s' * (len(keys) != 1)}")
