"""The routes for operators: they answer whatever the engine does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from axproxy.errors import GaveUp, Starting
from tests.support.fakes import FakeEngine


def test_health_is_answered_whatever_the_engine_does(
    client: FlaskClient, engine: FakeEngine
) -> None:
    engine.problem = Starting("the model is being loaded")
    reply = client.get("/health")

    assert reply.status_code == 200
    assert reply.get_json() == engine.health().as_json()


@pytest.mark.parametrize(
    ("problem", "status", "body", "retry_after"),
    [
        (None, 200, {"ready": True}, None),
        (Starting("loading", 12), 503, {"ready": False, "error": "loading"}, "12"),
        (GaveUp("broken"), 503, {"ready": False, "error": "broken"}, None),
    ],
)
def test_ready_means_that_a_request_would_run(
    client: FlaskClient,
    engine: FakeEngine,
    problem: Any,
    status: int,
    body: dict[str, Any],
    retry_after: str | None,
) -> None:
    engine.problem = problem
    reply = client.get("/ready")

    assert (reply.status_code, reply.get_json()) == (status, body)
    assert reply.headers.get("Retry-After") == retry_after


def test_ready_says_when_a_request_would_wait_for_a_load(
    client: FlaskClient, engine: FakeEngine
) -> None:
    engine.on_card = ()
    reply = client.get("/ready")

    assert reply.status_code == 200  # or a balancer would never send the request that loads it
    assert reply.get_json()["loaded"] is False
    assert "a request loads it and waits" in reply.get_json()["note"]


def test_ready_tells_that_a_simulator_answers(
    client: FlaskClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = engine.health()
    simulated = replace(health, runtime=replace(health.runtime, kind="mock"))
    monkeypatch.setattr(engine, "health", lambda: simulated)

    assert client.get("/ready").get_json() == {"ready": True, "simulated": True}
