"""What the dialects ask of an engine: answers, loading and unloading, its state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from axproxy.errors import ProxyError
from axproxy.health import Health
from axproxy.messages import ChatRequest, Embeddings, EmbedRequest, Event
from axproxy.models.model import Model

Gone = Callable[[], bool]  # True once the client has hung up


@dataclass(frozen=True)
class Loaded:
    """A model that is on a card.

    `expires_at` is when it will be unloaded unless it is asked again; while a request uses it, when
    that would be if the request ended now, and a time in the past once it shall be unloaded.  None
    means never.
    """

    model: Model
    expires_at: datetime | None


class Answer(Iterator[Event], Protocol):
    """The events of one answer.

    It holds nothing before the first event is asked for, so a refused request costs nothing.  Every
    step may raise `ProxyError`, or `ClientGone` once `gone` returns True.
    """

    def close(self) -> None:
        """End the answer, wherever it is, and pass the turn on; calling it again is safe.

        It must be called even if no event was asked for.
        """


@dataclass(frozen=True)
class EngineOptions:
    """`max_queue` is how many requests may wait; `keep_alive` is the default in seconds, `math.inf`
    for ever; `warm_prompt` says whether to keep the most used beginning of prompts in the cache.
    `think` says whether a model that can think does so where a request does not say."""

    max_queue: int = 64
    keep_alive: float = math.inf
    warm_prompt: bool = True
    think: bool = True


class Engine(Protocol):
    """What the dialects call, each from the thread of its request."""

    def answer(self, model: Model, request: ChatRequest, gone: Gone) -> Answer:
        """Return the answer to one request; raises `ProxyError` for one that can never run."""

    def embed(self, model: Model, request: EmbedRequest, gone: Gone) -> Embeddings:
        """Return the vectors of some texts, as the model gives them.

        The request takes its turn in the queue, and loads an unloaded model.  Raises `ProxyError`,
        `ClientError` for a text that must not be cut, and `ClientGone`.
        """

    def count_tokens(self, model: Model, request: ChatRequest, gone: Gone) -> int:
        """Return the tokens of the request's prompt, as the usage of its answer would say.

        The card is not touched and the queue not entered.  Raises what `answer` and its first
        event raise for a request that can never run; `Unavailable` before the model's window is
        known, and while the tokenizer is away.
        """

    def render(self, model: Model, request: ChatRequest, gone: Gone) -> str:
        """Return the request's prompt as the model would read it; raises as `count_tokens` does."""

    def load(self, model: Model, gone: Gone, keep_alive: float | None = None) -> None:
        """Return once `model` is loaded; an unloaded model is loaded again.

        `keep_alive` is as in a request.  Raises `ProxyError` if the model cannot be loaded, also
        after the runtime gave up, which only `restart` resolves; `ClientGone` if the client left.
        """

    def unload(self, model: Model) -> None:
        """Free the card once the running answer and those waiting have ended; returns at once."""

    def loaded(self) -> Sequence[Loaded]:
        """Return the models that are on a card now; returns at once, whatever the engine does."""

    def not_ready(self) -> ProxyError | None:
        """Return why a request sent now would not run, None if it would, also after a load."""

    def restart(self) -> None:
        """Start the runtime again, or for the first time after it gave up or was unloaded.

        Returns at once and aborts a running answer.  Raises `ProxyError` if no restart is possible.
        """

    def health(self) -> Health:
        """Return the present state, from memory; answers at once."""
