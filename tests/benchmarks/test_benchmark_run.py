"""The whole benchmark, with very small numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from axproxy.tokenizer.tokenizer import TextTokenizer
from benchmarks.__main__ import main
from benchmarks.footprint import cpu_seconds
from benchmarks.stack import signals_deferred
from benchmarks.vocabulary import write_folder
from tests.support.service import ROOT
from tests.support.waiting import eventually

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


@pytest.mark.timeout(240)  # measures the whole table of docs/performance.md: half a minute if idle
def test_one_command_measures_every_budget_and_leaves_nothing_behind(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    out = tmp_path / "results.json"
    with begun(scratch, "--out", str(out)) as process:
        output, complaints = process.communicate(timeout=240)

    assert process.returncode in (0, 1), complaints  # 1: a busy machine exceeds budgets
    results = json.loads(out.read_text())
    measured = {row["what"]: row for row in results["rows"]}
    assert all(what in output for what in measured)
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


def test_a_file_that_cannot_be_written_is_reported_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("# No marks\n")
    for arguments, complaint in {
        ("--out", str(tmp_path / "nowhere" / "results.json")): "cannot be written",
        ("--out", str(tmp_path)): "cannot be written",
        ("--markdown", str(page)): "no block between",
        ("--markdown", str(tmp_path / "none.md")): "No such file",
    }.items():
        with pytest.raises(SystemExit) as refusal:
            main(arguments)
        assert refusal.value.code == 2
        assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [page]


def test_a_signal_during_the_stop_of_a_service_takes_effect_afterwards() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    stopped = []

    def stop() -> None:
        with signals_deferred():
            signal.raise_signal(signal.SIGINT)
            stopped.append(True)

    try:
        with pytest.raises(KeyboardInterrupt):
            stop()
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped


def pressed(process: subprocess.Popen[str]) -> str:
    """Press Ctrl-C twice and close the terminal; return the program's stderr.

    It presses again if the program goes on: an exception raised inside a destructor is lost.
    """
    for _ in range(10):
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
        try:
            return process.communicate(timeout=4)[1]
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError("it does not end")


def test_ctrl_c_ends_all_processes_even_if_more_signals_follow(tmp_path: Path) -> None:
    with begun(tmp_path) as process:
        benchmark = psutil.Process(process.pid)
        # The service's two processes and its two children.
        eventually(lambda: len(benchmark.children(recursive=True)) >= 4)
        family = benchmark.children(recursive=True)
        complaints = pressed(process)

    assert process.returncode == 130, complaints
    assert complaints.endswith("interrupted; everything it started has ended\n")
    eventually(lambda: not any(each.is_running() for each in family))
    assert list(tmp_path.iterdir()) == []


def test_an_invented_vocabulary_has_the_requested_size(tmp_path: Path) -> None:
    tokenizer = TextTokenizer.load(write_folder(tmp_path / "vocabulary", 6_000))
    assert tokenizer.info()["vocab_size"] == 6_000
    text = "Why is the sky blue? 你好 🙂"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode("<|im_end|>") == [tokenizer.eos_id]


def test_processor_time_is_finer_than_the_ticks_of_proc() -> None:
    me = psutil.Process()
    before, since = cpu_seconds(me), time.process_time()
    while time.process_time() - since < 0.003:
        pass
    assert 0.003 <= cpu_seconds(me) - before < 1
