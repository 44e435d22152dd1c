"""The result of a check: what it saw, how bad that is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True)
class Finding:
    """The result of one check, also in `/health` under `preflight`.

    `name` is the check's name as `AX650_PREFLIGHT_SKIP` takes it.  `seen` is one sentence about the
    state of the machine.  `remedy` is a command to paste, or a sentence where no command helps.
    """

    name: str
    verdict: Severity
    seen: str
    remedy: str = ""
