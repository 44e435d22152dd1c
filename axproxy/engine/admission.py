"""Who may use which model: the requests that wait, and the switches that let them go on.

The policy is in `switching`; this is the shell around it.  One lock guards who waits and what is
loaded.  It is never held while something is started or stopped: each switch has a thread for that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from axproxy.engine.protocol import Engine, Gone
from axproxy.engine.switching import ModelState, next_step
from axproxy.errors import ClientGone, OnChange, ProxyError, RuntimeFault, Stopping, Unloadable
from axproxy.models.model import Model

TICK = 0.25  # seconds between two looks of a request that waits

log = logging.getLogger(__name__)


class ManagedEngine(Engine, Protocol):
    """An engine that is started once, and stopped for good."""

    @property
    def unloaded(self) -> bool:
        """Whether its model has left the card, and would be loaded by the next request."""

    def start(self, on_change: OnChange) -> None: ...

    def leave(self, grace: float) -> None: ...

    def stop(self) -> None: ...

    def context_length(self) -> int | None: ...


# Returns an engine for a model, not started, beside those that stay loaded.  Raises `ProxyError`
# where it can be known that the model cannot be loaded.
MakeEngine = Callable[[Model, Sequence[Model]], ManagedEngine]


def key_of(model: Model) -> Hashable:
    """Return what models share that are one on the card: derived models have their base's files."""
    return model.folder, model.runtime


@dataclass
class Slot:
    """A model with its engine, once that is made.

    `active` requests use it.  While it is `pending` a switch starts or stops it.
    """

    model: Model
    engine: ManagedEngine | None = None
    active: int = 0
    last_used: float = 0.0
    pending: bool = False

    @property
    def usable(self) -> bool:
        return self.engine is not None and not self.pending

    @property
    def running(self) -> ManagedEngine:
        """The engine of a usable slot."""
        if self.engine is None:
            raise RuntimeError("the slot has no engine yet")
        return self.engine


@dataclass(eq=False)
class _Waiter:
    """A request that waits for its model."""

    since: float
    slot: Slot | None = None
    problem: ProxyError | None = None


class ModelAdmission:
    """The models that are loaded, and the requests that wait for others; see `EnginePool`."""

    def __init__(
        self,
        make: MakeEngine,
        fits: Callable[[Sequence[Model]], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.switches = 0
        self.switching: Model | None = None  # to this one
        self._make = make
        self._fits = fits
        self._pinned: frozenset[Hashable] = frozenset()
        self._clock = clock
        self._changed = threading.Condition()
        self._slots: dict[Hashable, Slot] = {}
        self._waiting: dict[Hashable, list[_Waiter]] = {}
        self._models: dict[Hashable, Model] = {}  # of those who wait
        self._leaving = False
        self._on_change: OnChange = lambda _problem: None

    def start(self, models: Sequence[Model], on_change: OnChange, *, pin: bool) -> None:
        """Start the engines of the first models that fit together; `pin` lets them leave last."""
        self._on_change = on_change
        self._pinned = frozenset(map(key_of, models)) if pin else frozenset()
        for model in models:
            beside = [slot.model for slot in self._slots.values()]
            if beside and not self._fits([*beside, model]):
                log.warning("%s does not fit on the card beside the others", model.name)
                continue
            try:
                engine = self._make(model, beside)
            except Unloadable as problem:  # not a reason to end: it is looked at again
                log.error("%s", problem)
                continue
            engine.start(on_change)
            self._slots[key_of(model)] = Slot(model, engine, last_used=-float(len(beside)))

    def close(self) -> list[ManagedEngine]:
        """Refuse everything new; return the engines when no switch is under way."""
        with self._changed:
            self._leaving = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.switching is None)
            return self.engines()

    @property
    def closed(self) -> bool:
        return self._leaving

    def engines(self) -> list[ManagedEngine]:
        """Return the engines, the one used last first."""
        slots = sorted(list(self._slots.values()), key=lambda slot: -slot.last_used)
        return [slot.engine for slot in slots if slot.engine]

    def slot_of(self, model: Model) -> Slot | None:
        """Return the model's slot, to look at."""
        return self._slots.get(key_of(model))

    def take(self, model: Model) -> Slot | None:
        """Return the model's slot if a request may use it at once; it must be given back."""
        key = key_of(model)
        with self._changed:
            if self._leaving:
                raise _stopping()
            slot = self._slots.get(key)
            if slot is None or slot.engine is None or slot.pending or self._waiting:
                return None
            if len(self._slots) > 1 and slot.engine.unloaded:
                return None  # its load must not find the card full
            slot.active += 1
            slot.last_used = self._clock()
            return slot

    def give(self, slot: Slot) -> None:
        with self._changed:
            slot.active -= 1
            slot.last_used = self._clock()
            self._advance()

    def until_admitted(self, model: Model, gone: Gone) -> Generator[None, None, Slot]:
        """Yield until a request may use the model's engine; return the slot, to be given back."""
        key = key_of(model)
        waiter = _Waiter(self._clock())
        admitted = False
        with self._changed:
            self._waiting.setdefault(key, []).append(waiter)
            self._models[key] = model
            self._advance()
        try:
            while True:
                with self._changed:
                    if waiter.slot is not None and waiter.slot.usable:
                        admitted = True
                        return waiter.slot
                    if waiter.problem:
                        raise waiter.problem
                    if self._leaving:
                        raise _stopping()
                if gone():
                    raise ClientGone
                yield
                with self._changed:
                    self._changed.wait(TICK)
                    self._advance()
        finally:
            if not admitted:
                with self._changed:
                    self._forget(key, waiter)
                    self._advance()

    def _forget(self, key: Hashable, waiter: _Waiter) -> None:
        waiters = self._waiting.get(key, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            self._waiting.pop(key, None)
        if waiter.slot is not None:
            waiter.slot.active -= 1

    def _advance(self) -> None:
        """Do the next step of the policy; called with the lock held."""
        if self._leaving or not self._waiting:
            return
        if self.switching:
            for key in [key for key in self._waiting if key in self._slots]:
                if self._slots[key].usable:
                    self._admit(key, self._slots[key])
            return
        step = next_step(self._states(), self._fit, self._clock())
        for key in step.admit:
            self._admit(key, self._slots[key])
        if step.load is not None:
            self._begin_switch(step.load, step.evict)
        self._changed.notify_all()

    def _states(self) -> list[ModelState]:
        states = []
        for key in {*self._slots, *self._waiting}:
            slot = self._slots.get(key)
            waiters = self._waiting.get(key)
            states.append(
                ModelState(
                    key,
                    on_card=bool(slot and slot.engine and not slot.engine.unloaded),
                    active=slot.active if slot else 0,
                    waiting=waiters[0].since if waiters else None,
                    last_used=slot.last_used if slot else 0.0,
                    pinned=key in self._pinned,
                )
            )
        return states

    def _fit(self, keys: frozenset[Hashable]) -> bool:
        present = {key: slot.model for key, slot in self._slots.items()}
        return self._fits([present.get(key) or self._models[key] for key in keys])

    def _admit(self, key: Hashable, slot: Slot) -> list[_Waiter]:
        """Let those who wait for a model use its slot, and return them."""
        waiters = self._waiting.pop(key, [])
        for waiter in waiters:
            waiter.slot = slot
            slot.active += 1
            slot.last_used = self._clock()
        return waiters

    def _begin_switch(self, key: Hashable, evict: Sequence[Hashable]) -> None:
        slot = self._slots.setdefault(key, Slot(self._models[key]))
        # Those who wait now have their turn with this load, even if others are asked for next.
        waiters = self._admit(key, slot)
        if slot.engine and not evict:
            return  # its model was unloaded; its engine loads it again by itself
        evicted = [self._slots[key] for key in evict]
        for each in (slot, *evicted):
            each.pending = True
        self.switching = slot.model
        arguments = (slot, evicted, waiters)
        threading.Thread(target=self._switch, args=arguments, name="switch", daemon=True).start()

    def _switch(self, slot: Slot, evicted: Sequence[Slot], waiters: Sequence[_Waiter]) -> None:
        """Stop the engines of some models and start that of another; on a thread of its own."""
        stopped: list[Slot] = []
        problem: ProxyError | None = None
        try:
            staying = [each.model for each in self._slots.values() if not each.pending]
            engine = slot.engine or self._make(slot.model, staying)
            for each in evicted:
                log.info("unloading %s, to load %s", each.model.name, slot.model.name)
                stopped.append(each)
                if each.engine:
                    each.engine.stop()
            if slot.engine is None:
                engine.start(self._on_change)
                slot.engine = engine
        except ProxyError as error:
            problem = error
        except Exception as error:  # those who wait must hear of it
            log.exception("%s could not be started", slot.model.name)
            problem = RuntimeFault(f"{slot.model.name} cannot be started: {error}; see the log")
        with self._changed:
            for each in (slot, *evicted):
                each.pending = False
            for each in [*stopped, *([] if slot.engine else [slot])]:
                self._slots.pop(key_of(each.model), None)
            for waiter in waiters if problem else ():
                waiter.slot, waiter.problem = None, problem
            self.switches += problem is None
            self.switching = None
            self._advance()
            self._changed.notify_all()


def _stopping() -> ProxyError:
    return Stopping("the service is being stopped; try again when it is back")
