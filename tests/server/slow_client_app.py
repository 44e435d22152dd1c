"""The HTTP side of the service on a fake engine, for tests of our gunicorn worker."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

from flask import Flask

from axproxy.engine.protocol import Gone
from axproxy.errors import ClientGone
from axproxy.messages import ChatRequest, Event, Text
from axproxy.models.model import Model
from axproxy.server.worker import Worker
from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import FakeAnswer, FakeEngine, FakeModels

THREADS = 4


class ImpatientWorker(Worker):
    SEND_TIMEOUT = 0.5


class ScriptedEngine(FakeEngine):
    """Answers "wait" with nothing until the client has gone, and "endless" without an end."""

    def answer(self, model: Model, request: ChatRequest, gone: Gone) -> FakeAnswer:
        answer = super().answer(model, request, gone)
        match request.messages[-1].content:
            case "wait":
                return RecordedAnswer(self._silence(gone))
            case "endless":
                return RecordedAnswer(map(Text, itertools.repeat("much " * 200)))
        return answer

    def _silence(self, gone: Gone) -> Iterator[Event]:
        while not gone():
            time.sleep(0.01)
        raise ClientGone


class RecordedAnswer(FakeAnswer):
    """Records when it is closed, which is when the card would be free for the next request."""

    def close(self) -> None:
        if not self.closed:
            with Path(os.environ["RECORD"]).open("a") as diary:
                diary.write("closed\n")
        super().close()


def make_app() -> Flask:
    return create_app(Settings(), ScriptedEngine(), FakeModels())
