"""Ollama's own JavaScript client, as browsers and editors use it, against the whole stack."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.service import Service
from tests.waiting import eventually

HERE = Path(__file__).parent / "js"
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(NODE is None, reason="there is no node on the PATH"),
    pytest.mark.skipif(
        not (HERE / "node_modules" / "ollama").is_dir(),
        reason="the client is not installed; run npm install in tests/clients/js",
    ),
]


def run(service: Service, scenario: str) -> dict:
    environ = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    command = [str(NODE), str(HERE / "scenarios.mjs"), service.base, scenario]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=40, check=False, env=environ
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_handshake(shared: Service) -> None:
    told = run(shared, "handshake")

    assert told["listed"] == told["running"] == ["mock:latest"]
    assert told["capabilities"] == ["completion", "tools", "thinking"]
    assert told["version"] == "0.32.0"


def test_chat_and_generate_stream_and_do_not(shared: Service) -> None:
    told = run(shared, "answers")

    assert told["chat"] == told["chatStreamed"]
    assert told["generate"] == told["generateStreamed"]
    assert told["chunks"] > 3
    assert told["last"]["done_reason"] == "stop"
    assert told["last"]["eval_count"] > 0


def test_refusals_are_thrown(shared: Service) -> None:
    assert run(shared, "refusals") == {
        "unknown": "model 'nope' not found",
        "thinking": 'invalid think value: "banana" '
        '(must be "high", "medium", "low", "max", true, or false)',
        "embed": '"mock" does not support embeddings',
        "pull": "pull model manifest: file does not exist",
        "pulled": "success",
    }


def test_an_abort_frees_the_card(shared: Service) -> None:
    assert run(shared, "abort") == {"error": "AbortError"}
    eventually(lambda: not shared.health()["queue"]["answering"], seconds=5)
