"""Several models: an engine for each that is on the card, and the switches between them."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from axproxy.engine.admission import MakeEngine, ManagedEngine, ModelAdmission
from axproxy.engine.answer import signs_of_life
from axproxy.engine.protocol import Answer, Gone, Loaded
from axproxy.errors import (
    ClientGone,
    NoModelYet,
    OnChange,
    ProxyError,
    RuntimeFault,
    Stopping,
    Unloadable,
)
from axproxy.health import ChildHealth, Health, LoadedHealth, RuntimeHealth
from axproxy.messages import ChatRequest, Embeddings, EmbedRequest, Event
from axproxy.models.model import Model

NO_MODEL = "there is no model yet; get one with: ax650 pull qwen3:1.7b"
NO_MODEL_INTERVAL = 1.0  # seconds between two reports while there is no engine to report


log = logging.getLogger(__name__)


class EnginePool:
    """The engine of many models, of which some are on the card.

    `make` returns the engine of a model; `fits` says whether some models are on the card together.
    What `preload` returns is loaded at the start, and with `pin` leaves the card last.
    """

    def __init__(
        self,
        make: MakeEngine,
        fits: Callable[[Sequence[Model]], bool],
        preload: Callable[[], Sequence[Model]],
        pin: bool = False,
    ) -> None:
        self._preload = preload
        self._pin = pin
        self._make = make
        self._admission = ModelAdmission(self._checked, fits)
        self._unloadable: Unloadable | None = None  # why the last engine could not be made
        self._on_change: OnChange = lambda _problem: None
        self._began = time.time()

    # The life of the pool.

    def start(self, on_change: OnChange = lambda _problem: None) -> None:
        """Start the engines of the preloaded models; raises what their supervisors raise."""
        self._on_change = on_change
        models = self._preload()
        if not models:
            log.warning(NO_MODEL)
        self._admission.start(models, on_change, pin=self._pin)
        threading.Thread(target=self._report_without_engine, name="pool", daemon=True).start()

    def leave(self, grace: float) -> None:
        """Refuse what is new, let running answers go on for `grace` seconds, then stop."""
        self._end(lambda engine: engine.leave(grace))

    def stop(self) -> None:
        """Return when the processes of all engines are gone."""
        self._end(lambda engine: engine.stop())

    def _end(self, how: Callable[[ManagedEngine], None]) -> None:
        threads = [
            threading.Thread(target=how, args=(engine,)) for engine in self._admission.close()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _checked(self, model: Model, beside: Sequence[Model]) -> ManagedEngine:
        try:
            engine = self._make(model, beside)
        except Unloadable as problem:
            self._unloadable = problem
            raise
        self._unloadable = None
        return engine

    # What the dialects ask.

    def answer(self, model: Model, request: ChatRequest, gone: Gone) -> Answer:
        slot = self._admission.take(model)
        if slot is None:
            return self._later(model, request, gone)
        try:
            answer = slot.running.answer(model, request, gone)
            return _HeldAnswer(answer, functools.partial(self._admission.give, slot))
        except BaseException:
            self._admission.give(slot)
            raise

    def _later(
        self, model: Model, request: ChatRequest, gone: Gone
    ) -> Generator[Event, None, None]:
        """Answer when the model has its turn on the card."""
        slot = yield from signs_of_life(self._admission.until_admitted(model, gone))
        try:
            answer = slot.running.answer(model, request, gone)
            try:
                yield from answer
            finally:
                answer.close()
        finally:
            self._admission.give(slot)

    def embed(self, model: Model, request: EmbedRequest, gone: Gone) -> Embeddings:
        with self._engine_for(model, gone) as engine:
            return engine.embed(model, request, gone)

    def count_tokens(self, model: Model, request: ChatRequest, gone: Gone) -> int:
        with self._engine_for(model, gone) as engine:
            return engine.count_tokens(model, request, gone)

    def render(self, model: Model, request: ChatRequest, gone: Gone) -> str:
        with self._engine_for(model, gone) as engine:
            return engine.render(model, request, gone)

    def load(self, model: Model, gone: Gone, keep_alive: float | None = None) -> None:
        with self._engine_for(model, gone) as engine:
            engine.load(model, gone, keep_alive)

    def unload(self, model: Model) -> None:
        slot = self._admission.slot_of(model)
        if slot and slot.engine:
            slot.engine.unload(model)

    def loaded(self) -> Sequence[Loaded]:
        return [each for engine in self._admission.engines() for each in engine.loaded()]

    def context_length(self, model: Model) -> int | None:
        """Return the window of a model whose engine is here, in tokens; None if it is not known."""
        slot = self._admission.slot_of(model)
        return slot.engine.context_length() if slot and slot.engine else None

    def not_ready(self) -> ProxyError | None:
        if self._admission.closed:
            return Stopping("the service is being stopped; try again when it is back")
        engines = self._admission.engines()
        if engines:
            return engines[0].not_ready()
        if self._unloadable:
            return self._unloadable
        if self._admission.switching or self._preload():
            return None  # the next request loads a model
        return NoModelYet(NO_MODEL)

    def restart(self) -> None:
        engines = self._admission.engines()
        if not engines:
            raise RuntimeFault("no model is loaded; ask one, and it is loaded", status=409)
        for engine in engines:
            engine.restart()

    def health(self) -> Health:
        """Return the state of the model used last, with a line for each one on the card."""
        engines = self._admission.engines()
        healths = [engine.health() for engine in engines]
        switching = self._admission.switching
        if not healths:
            status, note = "loading" if switching else "no model", None
            if self._unloadable:
                status, note = "blocked", self._unloadable.message
            child = ChildHealth("stopped", self._began, note=note)
            nothing = RuntimeHealth(status, "vendor", child)
            return Health(switching.name if switching else "", None, nothing)
        models = tuple(
            LoadedHealth(each.model, each.runtime.status, each.runtime.load_percent)
            for each in healths
        )
        return replace(
            healths[0],
            models=models,
            switching_to=switching.name if switching else None,
            switches=self._admission.switches,
        )

    @contextmanager
    def _engine_for(self, model: Model, gone: Gone) -> Iterator[ManagedEngine]:
        slot = self._admission.take(model)
        if slot is None:
            waiting = self._admission.until_admitted(model, gone)
            while slot is None:
                try:
                    next(waiting)
                except StopIteration as end:
                    slot = end.value
        try:
            yield slot.running
        finally:
            self._admission.give(slot)

    def _report_without_engine(self) -> None:
        """Report the state while no supervisor does, so that a watchdog hears of it.

        A model that could not be loaded is looked at again: its program or files may come late.
        """
        while not self._admission.closed:
            if not self._admission.engines():
                self._on_change(self.not_ready())
                if self._unloadable:
                    self._try_again()
            time.sleep(NO_MODEL_INTERVAL)

    def _try_again(self) -> None:
        try:
            for model in self._preload()[:1]:
                with self._engine_for(model, lambda: self._admission.closed):
                    log.info("%s can be loaded now", model.name)
        except (ProxyError, ClientGone):  # as before; the state says why
            pass


class _HeldAnswer:
    """An answer that keeps its model on the card until it is closed."""

    def __init__(self, answer: Answer, release: Callable[[], None]) -> None:
        self._answer = answer
        self._release: Callable[[], None] | None = release

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        return next(self._answer)

    def close(self) -> None:
        release, self._release = self._release, None
        try:
            self._answer.close()
        finally:
            if release:
                release()
