"""The body of `GET /health`, to the letter."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from axproxy import __version__
from axproxy.health import (
    CacheHealth,
    CardHealth,
    CheckHealth,
    ChildHealth,
    Health,
    HostHealth,
    QueueHealth,
    RuntimeHealth,
)
from axproxy.settings import Settings
from backend import create_engine

READY = Health(
    model="qwen3-0.6b:latest",
    model_path="/models/qwen3-0.6b",
    runtime=RuntimeHealth(
        status="ok",
        kind="vendor",
        runtime=ChildHealth("ready", 1795657498.7254, 4712, 1, "killed by SIGSEGV", None),
        tokenizer=ChildHealth("ready", 1795657490.0, 4711, 0),
        context_length=2559,
        load_percent=100,
        card=CardHealth(41, 7040, 1018, 35),
        host=HostHealth(48.312, 611, 64, 56),
        preflight=(CheckHealth("cma", "warn", "16 MB of CMA are free", "sudo reboot"),),
    ),
    queue=QueueHealth(3, True, 64, 2, 12.5),
    kv_cache=CacheHealth(hits=5, misses=2),
)

AS_JSON = (
    '{"model": "qwen3-0.6b:latest", "model_path": "/models/qwen3-0.6b", "status": "ok", '
    '"backend_type": "vendor", "model_loaded": true, "context_length": 2559, '
    '"runtime": {"state": "ready", "since": 1795657498.725, "pid": 4712, "restarts": 1, '
    '"last_exit": "killed by SIGSEGV", "note": null, "load_percent": 100}, '
    '"tokenizer": {"state": "ready", "since": 1795657490.0, "pid": 4711, "restarts": 0, '
    '"last_exit": null, "note": null}, '
    '"device": {"temperature_c": 41, "cmm_total_mb": 7040, "cmm_used_mb": 1018, '
    '"npu_percent": 35}, '
    '"host": {"temperature_c": 48.312, "memory_used_mb": 611, "cma_total_mb": 64, '
    '"cma_free_mb": 56}, '
    '"preflight": [{"name": "cma", "verdict": "warn", "seen": "16 MB of CMA are free", '
    '"remedy": "sudo reboot"}], '
    '"queue": {"waiting": 3, "answering": true, "places": 64, "next_position": 2, '
    '"expected_wait_s": 12.5}, '
    '"kv_cache": {"hits": 5, "misses": 2}, "version": "' + __version__ + '"}'
)

# What the running programs decide about it; the rest is compared to the letter.
_VARIES = re.compile(r'("since"|"memory_used_mb"): [0-9.]+')

NOT_STARTED = (
    '{"model": "mock:latest", "model_path": null, "status": "%s", "backend_type": "mock", '
    '"model_loaded": false, "context_length": null, '
    '"runtime": {"state": "stopped", "since": _, "pid": null, "restarts": 0, "last_exit": null, '
    '"note": null, "load_percent": null}, '
    '"tokenizer": {"state": "stopped", "since": _, "pid": null, "restarts": 0, '
    '"last_exit": null, "note": null}, %s'
)
ATTACHED = (
    '{"model": "mock:latest", "model_path": null, "status": "loading", '
    '"backend_type": "attach", "model_loaded": false, "context_length": 1023, '
    '"runtime": {"state": "stopped", "since": _, "pid": null, "restarts": null, '
    '"last_exit": null, "note": "%s", "load_percent": null}, '
    '"tokenizer": {"state": "stopped", "since": _, "pid": null, "restarts": null, '
    '"last_exit": null, "note": "%s"}, %s'
)
NO_TOKENIZER = (
    "the tokenizer does not answer on http://127.0.0.1:12345; start it with ./start_tokenizer.sh "
    "before the runtime"
)
REST = (
    '"device": {"temperature_c": null, "cmm_total_mb": null, "cmm_used_mb": null, '
    '"npu_percent": null}, '
    '"host": {"temperature_c": null, "memory_used_mb": _, "cma_total_mb": null, '
    '"cma_free_mb": null}, "preflight": [], '
    '"queue": {"waiting": 0, "answering": false, "places": 64, "next_position": 0, '
    '"expected_wait_s": null}, '
    '"kv_cache": {"hits": 0, "misses": 0}, "version": "' + __version__ + '"}'
)


@pytest.fixture(autouse=True)
def a_host_that_reports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("axproxy.card.host._lines", lambda _path: [])


def body(health: Health) -> str:
    return _VARIES.sub(r"\1: _", json.dumps(health.as_json()))


def test_everything_known_is_shown_to_the_letter() -> None:
    assert json.dumps(READY.as_json()) == AS_JSON


@pytest.mark.parametrize("status", ["loading", "unloaded", "failed"])
def test_a_model_that_is_not_loaded_has_no_pid_and_a_note(status: str) -> None:
    runtime = replace(
        READY.runtime,
        status=status,
        runtime=ChildHealth(status, 0.0, None, 8, "exited with status 129", "no card"),
        load_percent=None,
    )
    shown = json.loads(json.dumps(replace(READY, runtime=runtime).as_json()))
    assert shown["status"] == status
    assert shown["model_loaded"] is False
    assert shown["runtime"] == {
        "state": status,
        "since": 0.0,
        "pid": None,
        "restarts": 8,
        "last_exit": "exited with status 129",
        "note": "no card",
        "load_percent": None,
    }


def test_a_runtime_without_a_tokenizer_shows_null_in_its_place() -> None:
    alone = replace(READY, runtime=replace(READY.runtime, tokenizer=None))
    before, rest = AS_JSON.split('"tokenizer": ')
    after = rest[rest.index('"device"') :]
    assert json.dumps(alone.as_json()) == f'{before}"tokenizer": null, {after}'


def test_a_service_that_has_not_been_started_yet() -> None:
    engine, _ = create_engine(Settings())
    assert body(engine.health()) == NOT_STARTED % ("loading", REST)


def test_an_attached_service_that_finds_nothing() -> None:
    engine, _ = create_engine(Settings(runtime="attach"))
    assert body(engine.health()) == ATTACHED % (NO_TOKENIZER, NO_TOKENIZER, REST)
