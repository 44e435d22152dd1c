"""Ollama's own JavaScript client, as browsers and editors use it, against the whole stack."""

from __future__ import annotations

import pytest

from tests.support.service import Service
from tests.support.waiting import eventually
from tests.system.clients.conftest import RunJs

pytestmark = pytest.mark.integration


def test_the_handshake(shared: Service, run_js: RunJs) -> None:
    told = run_js(shared, "handshake")

    assert told["listed"] == told["running"] == ["mock:latest"]
    assert told["capabilities"] == ["completion", "tools", "thinking"]
    assert told["version"] == "0.32.0"


def test_chat_and_generate_stream_and_do_not(shared: Service, run_js: RunJs) -> None:
    told = run_js(shared, "answers")

    assert told["chat"] == told["chatStreamed"]
    assert told["generate"] == told["generateStreamed"]
    assert told["chunks"] > 3
    assert told["last"]["done_reason"] == "stop"
    assert told["last"]["eval_count"] > 0


def test_refusals_are_thrown(shared: Service, run_js: RunJs) -> None:
    assert run_js(shared, "refusals") == {
        "unknown": "model 'nope' not found",
        "thinking": 'invalid think value: "banana" '
        '(must be "high", "medium", "low", "max", true, or false)',
        "embed": '"mock" does not support embeddings',
        "pull": "pull model manifest: file does not exist",
        "pulled": "success",
    }


def test_an_abort_frees_the_card(shared: Service, run_js: RunJs) -> None:
    assert run_js(shared, "abort") == {"error": "AbortError"}
    eventually(lambda: not shared.health()["queue"]["answering"])
