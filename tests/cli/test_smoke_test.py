"""What the smoke test makes of the service's replies."""

from __future__ import annotations

import io
import json
import math
import shutil
import sys

import pytest
import requests
import responses

from axproxy.cli.smoke_test import Progress, SmokeTestFailed, ask, get_health, wait_until_ready

BASE = "http://127.0.0.1:5000"
PIECE = {"message": {"content": "one "}, "done": False}
LAST = {
    "message": {"content": "two"},
    "done": True,
    "prompt_eval_count": 7,
    "prompt_eval_duration": 250_000_000,
    "eval_count": 4,
    "eval_duration": 500_000_000,
}


def stream(*lines: dict[str, object]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


@responses.activate
def test_it_prints_the_answer_with_its_speed(capsys: pytest.CaptureFixture[str]) -> None:
    responses.post(f"{BASE}/api/chat", body=stream(PIECE, LAST))
    ask(BASE, "mock", "Are you there?")
    out = capsys.readouterr().out
    assert "> Are you there?\none two\n" in out
    assert "7 prompt tokens, first text after 0.25 s, 4 tokens, 8.0 tokens/s" in out


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (stream(PIECE, {"error": "the card has failed"}), "the card has failed"),
        (stream(PIECE), "broke off"),
        ("", "broke off"),
    ],
)
@responses.activate
def test_it_fails_with_an_answer_that_does_not_end_well(body: str, problem: str) -> None:
    responses.post(f"{BASE}/api/chat", body=body)
    with pytest.raises(SmokeTestFailed, match=problem):
        ask(BASE, "mock", "Are you there?")


@pytest.mark.parametrize("body", [requests.ConnectionError(), "<html>"], ids=repr)
@responses.activate
def test_a_service_that_does_not_answer_yet_has_no_health(body: str | Exception) -> None:
    responses.get(f"{BASE}/health", body=body)
    assert get_health(BASE) is None


def blocked(note: str | None) -> dict[str, object]:
    waiting = {"state": "stopped", "pid": None, "restarts": 0, "note": None, "load_percent": None}
    return {"status": "loading", "runtime": {**waiting, "note": note}, "tokenizer": waiting}


class Runs:
    def poll(self) -> None:
        return None


@responses.activate
def test_it_fails_with_what_stands_in_the_way_of_the_start() -> None:
    responses.get(f"{BASE}/health", json=blocked("the driver is missing; run: sudo dkms"))
    with pytest.raises(SmokeTestFailed, match="the driver is missing; run: sudo dkms"):
        wait_until_ready(Runs(), BASE, patience=0)


@responses.activate
def test_serving_waits_until_nothing_stands_in_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    ready = {**blocked(None), "status": "ok"}
    for body in (blocked("no card"), blocked("no card"), ready):
        responses.get(f"{BASE}/health", json=body)
    wait_until_ready(Runs(), BASE, patience=math.inf)

    assert capsys.readouterr().out.count("no card") == 1


def test_a_terminal_gets_one_line_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", terminal)
    progress = Progress()
    for percent in range(100):
        progress.show(f"model loaded to {percent} %, {'and more ' * 20}")
    progress.end()

    assert terminal.getvalue().count("\n") == 1
    width = shutil.get_terminal_size().columns
    assert max(map(len, terminal.getvalue().replace("\x1b[K", "").split("\r"))) <= width
