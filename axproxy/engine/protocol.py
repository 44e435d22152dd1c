"""What the HTTP layer asks of whatever answers prompts.

The vendor's runtime, driven over HTTP, is one engine; anything else that can answer these calls
can stand in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from axproxy.errors import ProxyError
from axproxy.health import Health
from axproxy.messages import ChatRequest, Event

Gone = Callable[[], bool]  # True once the client has hung up


@dataclass(frozen=True)
class ModelCard:
    """The resident model, as clients list it.  `size` is bytes on disk; `digest` is 64 hex digits
    that stay the same over restarts; `context_length` is in tokens, `None` until it is known.
    Layers, the length of an embedding and the size of the vocabulary are `None` where the model's
    folder does not tell.  `capabilities` are named as Ollama names them."""

    name: str
    path: str | None
    family: str
    parameter_size: str
    quantization: str
    size: int
    digest: str
    modified_at: datetime
    context_length: int | None
    layers: int | None = None
    embedding_length: int | None = None
    vocabulary: int | None = None
    capabilities: tuple[str, ...] = ("completion",)


@dataclass(frozen=True)
class Loaded:
    """The model is on the card.  `expires_at` is when it will be unloaded if nobody asks again;
    `None` means never, or that somebody is asking right now."""

    expires_at: datetime | None


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
        """Why a request sent now would not run; `None` when it would, if need be after a load."""

    def loaded(self) -> Loaded | None:
        """Whether the model is on the card now; answers at once, whatever the engine does."""

    def load(self, gone: Gone, keep_alive: float | None = None) -> None:
        """Returns once the model is loaded, again if it was unloaded; what was given up is for an
        operator to `restart`.

        `keep_alive` is as in a request.  Raises `ProxyError` when it cannot be loaded,
        `ClientGone` when nobody waits any more.
        """

    def unload(self) -> None:
        """Frees the card once the running answer and those waiting have ended; returns at once."""

    def restart(self) -> None:
        """Starts the runtime again, or for the first time after it was given up or unloaded;
        returns at once.  A running answer is broken off.

        Raises `ProxyError` where no restart can be had.
        """

    def health(self) -> Health:
        """Return the present state, from memory; answers at once."""
