"""Follows one reply of the worker: waits, signs of life, and what ends it from outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

from axproxy.engine.protocol import Gone
from axproxy.engine.runtime import Supervisor, Timeouts
from axproxy.errors import ClientGone, RuntimeStalled
from axproxy.runtimes.axengine.client import WorkerBusy, WorkerReply

LOOK_INTERVAL = 0.1  # seconds between two looks whether the client is still there


class WorkerAttempt:
    """Follows one answer of the worker: waits, heartbeats, and what ends it from outside."""

    def __init__(
        self, timeouts: Timeouts, clock: Callable[[], float], gone: Gone, supervisor: Supervisor
    ) -> None:
        self._timeouts, self._clock = timeouts, clock
        self._gone, self._supervisor = gone, supervisor
        self._yielded = clock()
        self.text = ""  # what has been sent

    @property
    def begun(self) -> bool:
        """Whether text has been sent."""
        return self.text != ""

    def begin(
        self, ask: Callable[[], WorkerReply]
    ) -> Generator[str, None, tuple[WorkerReply, dict[str, Any]]]:
        """Yield until the worker has begun; return its reply, and the first message of it.

        It may be busy with a step that is no longer wanted.
        """
        deadline = self._clock() + self._timeouts.stall
        while True:
            reply = ask()
            try:
                message = yield from self.next(reply)
            except WorkerBusy as error:
                reply.close()
                if self._clock() > deadline:
                    raise RuntimeStalled("the worker does not finish a step") from error
                time.sleep(LOOK_INTERVAL / 2)
            except BaseException:
                reply.close()
                raise
            else:
                return reply, message

    def next(self, reply: WorkerReply) -> Generator[str, None, dict[str, Any]]:
        """Yield `""` as a sign of life until the next message has come; return it."""
        began = self._clock()
        while not reply.comes(LOOK_INTERVAL):
            if self._gone():
                raise ClientGone
            if problem := self._supervisor.interruption():
                raise problem
            now = self._clock()
            if now - began > self._timeouts.stall:
                raise RuntimeStalled(f"no token for {now - began:.0f} s; the worker is restarted")
            if now - self._yielded >= self._timeouts.heartbeat:
                self._yielded = now
                yield ""
        if self._gone():
            raise ClientGone
        return reply.next(self._timeouts.stall)

    def sent(self, text: str) -> str:
        """Note that this text goes to the client, and return it."""
        self._yielded = self._clock()
        self.text += text
        return text
