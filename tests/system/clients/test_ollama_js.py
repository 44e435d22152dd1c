"""Ollama's own JavaScript client, as browsers and editors use it, against the whole stack."""

from __future__ import annotations

import pytest

from tests.support.service import Service
from tests.support.waiting import eventually
from tests.system.clients.conftest import RunJs

pytestmark = pytest.mark.integration


def test_the_handshake(shared: Service, run_js: RunJs) -> None:
    result = run_js(shared, "handshake")

    assert result["listed"] == result["running"] == ["mock:latest"]
    assert result["capabilities"] == ["completion", "tools", "thinking"]
    assert result["version"] == "0.33.0"


def test_chat_and_generate_with_and_without_streaming(shared: Service, run_js: RunJs) -> None:
    result = run_js(shared, "answers")

    assert result["chat"] == result["chatStreamed"]
    assert result["generate"] == result["generateStreamed"]
    assert result["chunks"] > 3
    assert result["last"]["done_reason"] == "stop"
    assert result["last"]["eval_count"] > 0


def test_models_are_made_copied_shown_used_and_deleted(shared: Service, run_js: RunJs) -> None:
    assert run_js(shared, "derived") == {
        "made": "success",
        "system": "You are a pirate.",
        "done": True,
        "running": 1,
        "left": ["mock:latest"],
    }


def test_refusals_are_thrown(shared: Service, runtime: str, run_js: RunJs) -> None:
    refusals = run_js(shared, "refusals")
    if runtime == "axengine":  # it has a store, which could pull another model
        assert "'nope' is not a model that is known here" in refusals["pull"]
        refusals["pull"] = "pull model manifest: file does not exist; this service has mock:latest"
    assert refusals == {
        "unknown": "model 'nope' not found; this service has 'mock:latest'",
        "thinking": 'invalid think value: "banana" '
        '(must be "high", "medium", "low", "max", true, or false)',
        "embed": '"mock" does not support embeddings',
        "pull": "pull model manifest: file does not exist; this service has mock:latest",
        "pulled": "success",
    }


def test_an_abort_frees_the_card(shared: Service, run_js: RunJs) -> None:
    assert run_js(shared, "abort") == {"error": "AbortError"}
    eventually(lambda: not shared.health()["queue"]["answering"])
