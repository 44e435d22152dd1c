"""A stream sends signs of life as seldom as they help."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from axproxy.api import streaming
from axproxy.api.streaming import Heartbeat
from axproxy.errors import RuntimeStalled
from axproxy.messages import Event, Text
from tests.support.fakes import FakeEngine


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
