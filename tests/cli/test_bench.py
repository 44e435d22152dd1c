"""`ax650 bench`: its figures, its verdict, and the published ones."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import responses

from axproxy.cli.bench import (
    LENGTHS,
    PUBLISHED,
    Speed,
    measure,
    outside,
    published_for,
    render,
    verdict,
)
from axproxy.cli.commands import run
from axproxy.cli.service import CommandFailed, ServiceClient
from axproxy.preflight.finding import Finding
from axproxy.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
URL = Settings().own_url
LAST = {
    "response": "",
    "done": True,
    "eval_count": 5,
    "eval_duration": 10**9,
    "prompt_eval_count": 40,
    "prompt_eval_duration": 5 * 10**8,
}


def answers(*pieces: dict[str, object]) -> None:
    responses.post(f"{URL}/api/generate", body="".join(json.dumps(p) + "\n" for p in pieces))


def test_the_published_figures_are_those_of_the_manual() -> None:
    rows = re.findall(
        r"^\| ([\w.-]+) \| ([\d.]+) \| ([\d.]+) s \| (\d+) s \|",
        (ROOT / "docs" / "performance.md").read_text(),
        re.MULTILINE,
    )
    manual = {
        name.lower(): {"tokens": float(tokens), "first": float(first), "load": int(load)}
        for name, tokens, first, load in rows
    }
    assert tomllib.loads(PUBLISHED.read_text()) == manual


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("qwen3:1.7b", "qwen3-1.7b"),
        ("Qwen3-4B:latest", "qwen3-4b"),
        ("qwen3:1.7b-int4", None),
        ("mock:latest", None),
    ],
)
def test_a_model_is_compared_with_its_own_build_only(model: str, name: str | None) -> None:
    found = published_for(model)
    assert (found[0] if found else None) == name


@responses.activate
def test_an_answer_is_measured_from_its_counts_and_the_clock() -> None:
    answers({"response": "a"}, LAST)
    ticks = iter([10.0, 10.75])
    speed = measure(ServiceClient(Settings()), "m", 16, lambda: next(ticks))
    assert speed == Speed(prompt=40, first=0.75, prefill=80.0, decode=4.0)
    sent = json.loads(responses.calls[0].request.body or b"")
    assert sent["options"]["num_predict"] == 48
    responses.replace("POST", f"{URL}/api/generate", body='{"response": "", "done": true}\n')
    with pytest.raises(CommandFailed, match="too few to measure"):
        measure(ServiceClient(Settings()), "m", 16)


def speeds(decode: float) -> list[Speed]:
    return [Speed(20, 0.8, 100, decode), Speed(300, 2.0, 150, decode - 0.1)]


def test_a_card_that_is_as_fast_as_published_is_well() -> None:
    said, slow = verdict("qwen3:1.7b", speeds(7.2))
    assert not slow
    assert said[-1] == "The card is as fast as it should be."


def test_a_slow_card_gets_its_likely_causes() -> None:
    link = Finding("pcie", "warn", "the link runs at 2.5 GT/s", "")
    other = Finding("ports", "warn", "no matter", "")
    said, slow = verdict("qwen3:1.7b", speeds(4.0), [link, other])
    assert slow
    assert said[-1].endswith("Likely: the PCIe link: the link runs at 2.5 GT/s.")
    assert "nothing that the doctor knows of" in verdict("qwen3:1.7b", speeds(4.0))[0][-1]


def test_the_projects_target_is_judged_by_what_is_published() -> None:
    assert "is not reached, nor by what is published" in verdict("qwen3:4b", speeds(3.7))[0][1]
    assert verdict("qwen3:4b", speeds(3.7))[1] is False
    assert "tokens/s is reached" in verdict("qwen3:4b", speeds(4.4))[0][1]


def test_a_result_is_kept_and_compared(tmp_path: Path) -> None:
    before = {"speeds": [{"decode": 7.0}, {"decode": 6.0}]}
    first, _, third = render(speeds(7.4), before).splitlines()
    assert first.split() == ["PROMPT", "FIRST", "TEXT", "READING", "ANSWER", "BEFORE"]
    assert third.split()[-2:] == ["6.00", "tokens/s"]
    assert "BEFORE" not in render(speeds(7.4))


def test_the_cost_of_pyaxengines_calls_is_shown_where_it_computes() -> None:
    work = {"provider": "AXCLRTExecutionProvider"}
    assert outside({"runtime": {"pyaxengine": work}}) == ""
    measured = {**work, "calls_per_token": 37.0, "outside_share": 0.0088}
    assert outside({"runtime": {"pyaxengine": measured}}) == (
        "PyAXEngine: 37 calls for each token, 0.9 % of its time outside them."
    )


@responses.activate
def test_a_simulator_is_named_and_never_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    health = {"backend_type": "mock", "model": "qwen3:4b", "status": "ok"}
    responses.get(f"{URL}/health", json=health)
    responses.post(f"{URL}/api/generate", json={"done": True})  # the load
    answers({"response": "a"}, LAST)
    kept = tmp_path / "kept.json"
    assert run("bench", ["--out", str(kept)]) == 0
    assert "a SIMULATOR: the figures say nothing" in capsys.readouterr().out
    assert len(json.loads(kept.read_text())["speeds"]) == len(LENGTHS)
    assert run("bench", ["--compare", str(tmp_path / "none")]) == 1
    assert "is no result that --out has kept" in capsys.readouterr().err
