"""What one look before the start has found, and what a person can do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True)
class Finding:
    """`name` is the check's, as `AX650_PREFLIGHT_SKIP` takes it; `seen` is one sentence about what
    is there; `remedy` is a command to paste, or one more sentence where no command helps."""

    name: str
    verdict: Severity
    seen: str
    remedy: str = ""
