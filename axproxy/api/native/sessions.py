"""Conversations that the service keeps, for clients that send only their newest sentence.

They are in memory only, bounded in number, age and size, and each belongs to one client.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from axproxy.engine.protocol import Answer
from axproxy.messages import Event, Finished, Message, Text

MOST_SESSIONS = 64
LONGEST_PAUSE = 3600.0  # seconds after which a conversation is forgotten
LONGEST_TALK = 1 << 16  # characters; the oldest turns go first, and no window holds as many

_Key = tuple[str, str]  # who, and the name of the session


@dataclass
class _Talk:
    used: float
    system: str = ""
    turns: list[Message] = field(default_factory=list)


class Sessions:
    """The conversations of all clients, by the client and a name.  Any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._talks: OrderedDict[_Key, _Talk] = OrderedDict()  # the longest unused first

    def before(self, client: str, name: str, system: str) -> tuple[Message, ...]:
        """Return the turns before the next question; a `system` prompt takes the place of its own.

        A session begins with its first question.
        """
        with self._lock:
            self._forget_old()
            talk = self._talks.setdefault((client, name), _Talk(self._clock()))
            talk.system = system or talk.system
            self._use((client, name), talk)
            first = (Message("system", talk.system),) if talk.system else ()
            return (*first, *talk.turns)

    def add(self, client: str, name: str, question: str, answer: str) -> None:
        """Keep a question and its whole answer, unless the session has been forgotten meanwhile."""
        with self._lock:
            if (talk := self._talks.get((client, name))) is None:
                return
            talk.turns += [Message("user", question), Message("assistant", answer)]
            while sum(len(turn.content) for turn in talk.turns) > LONGEST_TALK:
                del talk.turns[:2]
            self._use((client, name), talk)

    def forget(self, client: str, name: str) -> bool:
        """Forget a session; return whether there was one."""
        with self._lock:
            self._forget_old()
            return self._talks.pop((client, name), None) is not None

    def _use(self, key: _Key, talk: _Talk) -> None:
        talk.used = self._clock()
        self._talks.move_to_end(key)
        while len(self._talks) > MOST_SESSIONS:
            self._talks.popitem(last=False)

    def _forget_old(self) -> None:
        oldest = self._clock() - LONGEST_PAUSE
        for key in [key for key, talk in self._talks.items() if talk.used < oldest]:
            del self._talks[key]


class RememberedAnswer:
    """An answer that is kept once it is whole; `keep` gets its text."""

    def __init__(self, answer: Answer, keep: Callable[[str], None]) -> None:
        self._answer, self._keep = answer, keep
        self._text: list[str] = []

    def __iter__(self) -> RememberedAnswer:
        return self

    def __next__(self) -> Event:
        event = next(self._answer)
        if isinstance(event, Text):
            self._text.append(event.text)
        elif isinstance(event, Finished):
            self._keep("".join(self._text))
        return event

    def close(self) -> None:
        self._answer.close()
