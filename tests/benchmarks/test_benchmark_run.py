"""The benchmark for real, with tiny numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from axproxy.text_tokenizer import TextTokenizer
from benchmarks.vocabulary import write_folder
from tests.service import ROOT
from tests.waiting import eventually

pytestmark = pytest.mark.integration

COMMAND = [sys.executable, "-m", "benchmarks", "--quick", "--no-growth"]


def begun(scratch: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *more],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def test_one_command_measures_every_budget_and_leaves_nothing_behind(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    out = tmp_path / "results.json"
    with begun(scratch, "--out", str(out)) as process:
        said, complaints = process.communicate(timeout=240)

    assert process.returncode in (0, 1), complaints  # 1: a busy machine keeps no budget
    results = json.loads(out.read_text())
    measured = {row["what"]: row for row in results["rows"]}
    assert all(what in said for what in measured)
    budgeted = [row for row in measured.values() if row["verdict"]]
    assert {row["verdict"] for row in budgeted} <= {"ok", "over"}
    over = any(row["verdict"] == "over" for row in budgeted)
    assert process.returncode == over
    for what in ("first text", "lag", "throughput", "processor", "memory", "listening", "/health"):
        assert any(what in row["what"] for row in budgeted), what
    (sent,) = (row for what, row in measured.items() if "prompt tokens sent" in what)
    assert sent["limits"][0]["value"] > 0
    assert results["machine"]["cores"] == os.cpu_count()
    assert list(scratch.iterdir()) == []


def pressed(process: subprocess.Popen[str]) -> str:
    """Ctrl-C by an impatient person; what the program then says.  It is pressed again if nothing
    comes of it, for an interruption that falls into a destructor is lost."""
    for _ in range(10):
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
        try:
            return process.communicate(timeout=4)[1]
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("it does not end")


def test_ctrl_c_ends_what_it_has_started_whatever_comes_after_it(tmp_path: Path) -> None:
    with begun(tmp_path) as process:
        benchmark = psutil.Process(process.pid)
        # The service and the two that it has started.
        eventually(lambda: len(benchmark.children(recursive=True)) >= 4)
        family = benchmark.children(recursive=True)
        complaints = pressed(process)

    assert process.returncode == 130, complaints
    assert complaints.endswith("interrupted; everything it started has ended\n")
    eventually(lambda: not any(each.is_running() for each in family))
    assert list(tmp_path.iterdir()) == []


def test_a_made_up_vocabulary_has_the_size_that_was_asked_for(tmp_path: Path) -> None:
    tokenizer = TextTokenizer.load(write_folder(tmp_path / "vocabulary", 6_000))
    assert tokenizer.info()["vocab_size"] == 6_000
    text = "Why is the sky blue? 你好 🙂"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode("<|im_end|>") == [tokenizer.eos_id]
