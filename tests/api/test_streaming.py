"""A stream sends signs of life as seldom as they help."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from axproxy.api import streaming
from axproxy.api.streaming import Heartbeat
from axproxy.errors import RuntimeStalled
from axproxy.messages import Event, QueuePlace, Text
from tests.support.fakes import HELLO, FakeEngine


def test_a_stream_that_begins_in_the_queue_tells_its_place(
    client: FlaskClient, engine: FakeEngine
) -> None:
    body = {"prompt": "Hi", "stream": True}
    at_once = client.post("/generate", json=body)
    assert "X-Queue-Position" not in at_once.headers
    engine.script = [Text("", lambda: QueuePlace(3, 41.2)), *HELLO]
    waited = client.post("/generate", json=body)
    assert (waited.headers["X-Queue-Position"], waited.headers["X-Queue-Wait"]) == ("3", "42")
    engine.script = [Text("", lambda: QueuePlace(1)), *HELLO]
    unmeasured = client.post("/generate", json=body)
    assert unmeasured.headers["X-Queue-Position"] == "1"
    assert "X-Queue-Wait" not in unmeasured.headers


def test_signs_of_life_are_spaced_and_never_missing() -> None:
    now = 0.0
    heartbeat = Heartbeat(9.0, lambda: now)
    sent: list[tuple[float, Event]] = []
    events = [*[(1.0, Text(""))] * 40, (0.0, Text("a")), (10.0, Text(""))]

    for pause, event in events:
        now += pause
        if heartbeat.passes(event):
            sent.append((now, event))

    assert sent == [
        (9, Text("")),
        (18, Text("")),
        (27, Text("")),
        (36, Text("")),
        (40, Text("a")),
        (50, Text("")),
    ]


def test_an_error_after_nothing_but_early_signs_of_life_still_has_a_status(
    client: FlaskClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "HEARTBEAT_INTERVAL", 60.0)
    engine.script = [Text(""), Text(""), RuntimeStalled("nothing came for a minute")]
    reply = client.post("/generate", json={"prompt": "Hi", "stream": True})

    assert reply.status_code == 504
