"""Decides which models are on the card, and whose requests may go on.

It is a pure function of what is loaded, who waits, and what fits together.  A switch costs up to
two minutes on each side, so requests for one model are answered together; but a model that is not
on the card is loaded after a bounded time, however many requests come for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

Key = Hashable

# Seconds after the first request for another model in which requests for the present one still go
# first, as long as it is busy.
STAY = 20.0


@dataclass(frozen=True)
class ModelState:
    """One model at one moment.

    `on_card` also while it loads.  `active` counts the requests that it answers or holds in its
    queue, `waiting` is when the oldest request came that may not go there yet, None without one.
    `last_used` and `waiting` are on the same clock, in seconds.
    """

    key: Key
    on_card: bool = False
    active: int = 0
    waiting: float | None = None
    last_used: float = 0.0
    pinned: bool = False


@dataclass(frozen=True)
class Step:
    """What to do now: let the requests of the models in `admit` go on; when `load` names a model,
    unload those in `evict`, which are idle, and then load it."""

    admit: frozenset[Key] = frozenset()
    evict: tuple[Key, ...] = ()
    load: Key | None = None


def next_step(
    states: Sequence[ModelState],
    fits: Callable[[frozenset[Key]], bool],
    now: float,
    stay: float = STAY,
) -> Step:
    """Return the next step; `fits` says whether some models are on the card together."""
    on_card = [state for state in states if state.on_card]
    asked = frozenset(state.key for state in on_card if state.waiting is not None)
    absent = [state for state in states if state.waiting is not None and not state.on_card]
    if not absent:
        return Step(asked)
    first = min(absent, key=lambda state: state.waiting or 0.0)
    victims = _victims(first.key, on_card, fits)
    # Those who came for a busy victim within `stay` are answered first.
    closing = now >= (first.waiting or 0.0) + stay
    held = frozenset(victim.key for victim in victims if closing or not victim.active)
    if any(victim.active for victim in victims):
        return Step(asked - held)
    return Step(asked - held, tuple(victim.key for victim in victims), first.key)


def _victims(
    key: Key, on_card: Sequence[ModelState], fits: Callable[[frozenset[Key]], bool]
) -> list[ModelState]:
    """Return the models to unload so that the model fits: the least recently used first.

    Pinned ones go last.  A model that does not fit alone gets the whole card, and its load reports
    the reason.
    """
    staying = {state.key for state in on_card}
    victims: list[ModelState] = []
    for state in sorted(on_card, key=lambda state: (state.pinned, state.last_used)):
        if fits(frozenset({key, *staying})):
            break
        staying.discard(state.key)
        victims.append(state)
    return victims
