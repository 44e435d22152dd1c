"""The state of the whole service at one moment, as `GET /health` shows it.

Each part is made by its owner and may be read on any thread.  `None` always stands for what is not
known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from axproxy import __version__


@dataclass(frozen=True)
class ChildHealth:
    """One program.  `since` is when it entered its state, in seconds since the epoch; `note` says
    what an operator should know about that state.  `restarts` is `None` for a program that is not
    ours to start."""

    state: str
    since: float
    pid: int | None = None
    restarts: int | None = None
    last_exit: str | None = None
    note: str | None = None

    def without_details(self) -> ChildHealth:
        return replace(self, pid=None, last_exit=None, note=None)

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "since": round(self.since, 3)}


@dataclass(frozen=True)
class CardHealth:
    """The card in use; with several the hottest, the busiest, and the sum of their memory.

    CMM is the card's own memory.
    """

    temperature_c: int | None = None
    cmm_total_mb: int | None = None
    cmm_used_mb: int | None = None
    npu_percent: int | None = None


@dataclass(frozen=True)
class HostHealth:
    """The machine around the card.  CMA is the kernel's contiguous memory."""

    temperature_c: float | None = None
    memory_used_mb: int | None = None
    cma_total_mb: int | None = None
    cma_free_mb: int | None = None


@dataclass(frozen=True)
class CheckHealth:
    """The result of one preflight check."""

    name: str
    verdict: str
    seen: str
    remedy: str


@dataclass(frozen=True)
class RuntimeHealth:
    """The program that computes, and what it needs.

    `kind` is `vendor`, `mock` or `attach`; `status` one word for the whole row of programs.
    `tokenizer` is `None` for a runtime that needs no process beside it.  `context_length` is in
    tokens; `load_percent` tells how far the model is loaded.  `pyaxengine` is about that
    library, where it computes: its provider, and the calls and the time outside them of a token.
    """

    status: str
    kind: str
    runtime: ChildHealth
    tokenizer: ChildHealth | None = None
    context_length: int | None = None
    load_percent: int | None = None
    pyaxengine: Mapping[str, Any] | None = None
    card: CardHealth = CardHealth()
    host: HostHealth = HostHealth()
    preflight: Sequence[CheckHealth] = ()

    @property
    def simulated(self) -> bool:
        return self.kind == "mock"

    @property
    def model_loaded(self) -> bool:
        return self.runtime.state == "ready"

    def as_json(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "backend_type": self.kind,
            "model_loaded": self.model_loaded,
            "context_length": self.context_length,
            "runtime": {
                **self.runtime.as_json(),
                "load_percent": self.load_percent,
                **({"pyaxengine": {**self.pyaxengine}} if self.pyaxengine else {}),
            },
            "tokenizer": self.tokenizer and self.tokenizer.as_json(),
            "device": {**vars(self.card)},
            "host": {**vars(self.host)},
            "preflight": [{**vars(check)} for check in self.preflight],
        }


@dataclass(frozen=True)
class QueueHealth:
    """Requests: how many wait, whether one is being answered, and how many may wait.

    A client with none waiting that sends a request now gets `next_position`, where 1 is the next
    turn and 0 means no wait, and expects to wait `expected_wait_s` seconds.
    """

    waiting: int = 0
    answering: bool = False
    places: int = 0
    next_position: int = 0
    expected_wait_s: float | None = None


@dataclass(frozen=True)
class CacheHealth:
    """Prompts that continued from the KV cache (hits), or began with a reset (misses)."""

    hits: int = 0
    misses: int = 0


@dataclass(frozen=True)
class LoadedHealth:
    """One of several models that are on the card, or being loaded."""

    model: str
    status: str
    load_percent: int | None


@dataclass(frozen=True)
class Health:
    """All of it.  `model` is the name that clients use, `model_path` the model's folder.

    Where there are several models, these are of the one used last; `models` has a line for each
    on the card, and `switching_to` is the name of the one for which others leave it.
    """

    model: str
    model_path: str | None
    runtime: RuntimeHealth
    queue: QueueHealth = QueueHealth()
    kv_cache: CacheHealth | None = CacheHealth()
    models: Sequence[LoadedHealth] = ()
    switching_to: str | None = None
    switches: int = 0  # since the start

    def without_details(self) -> Health:
        """Return what anybody may know: no path, no pid, and no sentence that could name them."""
        runtime = self.runtime
        public = replace(
            runtime,
            runtime=runtime.runtime.without_details(),
            tokenizer=runtime.tokenizer and runtime.tokenizer.without_details(),
            preflight=[replace(check, seen="", remedy="") for check in runtime.preflight],
        )
        # Hits would show whether another client has had a conversation.
        return replace(self, model_path=None, runtime=public, kv_cache=None)

    def as_json(self) -> dict[str, Any]:
        """Return the body of `GET /health`."""
        return {
            "model": self.model,
            "model_path": self.model_path,
            **self.runtime.as_json(),
            "queue": {**vars(self.queue)},
            "kv_cache": self.kv_cache and {**vars(self.kv_cache)},
            **self._several(),
            "version": __version__,
        }

    def _several(self) -> dict[str, Any]:
        if len(self.models) < 2 and self.switching_to is None:
            return {}
        models = [{**vars(each)} for each in self.models]
        return {"models": models, "switching_to": self.switching_to}
