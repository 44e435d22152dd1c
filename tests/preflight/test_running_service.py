"""How a service that runs beside this program is found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from axproxy.preflight.running_service import RunningService, find_service
from axproxy.settings import Settings
from tests.support.ports import own_port

HEALTH = {"backend_type": "vendor", "runtime": {"state": "ready"}, "tokenizer": {"state": "ready"}}


@responses.activate
def test_the_service_is_found_by_its_health(tmp_path: Path) -> None:
    settings = Settings(runtime_port=own_port())
    responses.get(f"{settings.own_url}/health", json=HEALTH)
    assert find_service(settings, tmp_path) == RunningService(settings.own_url, HEALTH)


@pytest.mark.parametrize(
    "answer",
    [
        {"json": {"status": "ok"}},
        {"json": ["backend_type", "runtime", "tokenizer"]},
        {"body": "<html>"},
        {"body": requests.ConnectionError()},
        {"body": requests.ReadTimeout()},
    ],
    ids=str,
)
@responses.activate
def test_another_program_on_the_port_is_not_taken_for_the_service(
    answer: dict[str, Any], tmp_path: Path
) -> None:
    settings = Settings(runtime_port=own_port())
    responses.get(f"{settings.own_url}/health", **answer)
    assert find_service(settings, tmp_path) is None


@responses.activate
def test_the_key_is_sent_for_what_the_service_shows_to_operators_only(tmp_path: Path) -> None:
    settings = Settings(runtime_port=own_port(), api_key="s3cret")
    key = responses.matchers.header_matcher({"X-Api-Key": b"s3cret"})
    responses.get(f"{settings.own_url}/health", json=HEALTH, match=[key])
    assert find_service(settings, tmp_path)


def test_a_service_without_a_tokenizer_or_without_any_program_is_found_as_well(
    tmp_path: Path,
) -> None:
    program = {"state": "stopped", "pid": None}
    for runtime in (program, {"state": "ready", "pid": os.getpid()}):
        health = {**HEALTH, "runtime": runtime, "tokenizer": None, "model_path": None}
        service = RunningService("http://pi", health)
        assert service.pid() == (os.getppid() if runtime["pid"] else None)
        assert service.other_holders(own_port(), service.pid()) == []
