"""Signs of life for a client that waits, as seldom as they help."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing

from axproxy.messages import Event, Text

PAUSE = 9.0  # seconds; a run that says nothing gives a sign every 10, and all of those shall pass


def paced(
    events: Generator[Event, None, None], clock: Callable[[], float], pause: float = PAUSE
) -> Generator[Event, None, None]:
    """The events, where an empty text, which only says that something moves, passes when nothing
    has for `pause` seconds."""
    told = clock()
    with closing(events):
        for event in events:
            if event != Text("") or clock() - told >= pause:
                yield event
                told = clock()
