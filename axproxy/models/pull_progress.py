"""What is reported of a pull."""

from __future__ import annotations

from dataclasses import dataclass

LAST_STATUSES = ("verifying sha256 digest", "writing manifest", "success")  # Ollama's


class PullFailed(Exception):
    """A pull has ended without a model; the message says why and what to do.

    With `unknown` the name means no model that could be fetched.
    """

    def __init__(self, message: str, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.unknown = unknown


@dataclass(frozen=True)
class PullProgress:
    """How far a pull is; `total` and `completed` are in bytes, of the model as a whole."""

    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0
