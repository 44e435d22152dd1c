"""What the HTTP layer asks of whatever answers prompts.

The vendor's runtime, driven over HTTP, is one engine; anything else that can answer these calls
can stand in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from axproxy.errors import ProxyError
from axproxy.messages import ChatRequest, Event

Gone = Callable[[], bool]  # True once the client has hung up


@dataclass(frozen=True)
class ModelCard:
    """The resident model, as clients list it.  `size` is bytes on disk; `digest` is 64 hex digits
    that stay the same over restarts; `context_length` is in tokens, `None` until it is known."""

    name: str
    path: str | None
    family: str
    parameter_size: str
    quantization: str
    size: int
    digest: str
    modified_at: datetime
    context_length: int | None


class Answer(Iterator[Event], Protocol):
    """The events of one answer.

    Nothing is held before the first event is asked for, so a request that is refused costs
    nothing.  Every step may raise `ProxyError`, or `ClientGone` once `gone` says so.
    """

    def close(self) -> None:
        """Ends the answer, wherever it is, and gives the turn away; calling it again is safe.

        Must be called also when no event was ever asked for.
        """


class Engine(Protocol):
    def answer(self, request: ChatRequest, gone: Gone) -> Answer:
        """The answer to one request; raises `ProxyError` for one that can never run."""

    def card(self) -> ModelCard:
        """The resident model; answers at once, whatever the engine does."""

    def not_ready(self) -> ProxyError | None:
        """Why a request sent now would not run; `None` when it would."""

    def load(self, gone: Gone) -> None:
        """Returns once the model is loaded, starting it again if it was given up.

        Raises `ProxyError` when it cannot be, `ClientGone` when nobody waits any more.
        """

    def health(self) -> dict[str, Any]:
        """The body of `GET /health`, from memory."""
