"""The benchmark's tables, and its way through JSON and into a document."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from benchmarks import plots
from benchmarks.machine import Machine, Neighbours
from benchmarks.report import Report, main
from benchmarks.table import BEGIN, END, Curve, Limit, Row, budget_table, fact, with_block

MACHINE = Machine("a board", 4, 8.0, "Linux 6", "3.11.2", "2026-01-02T03:04:05+00:00", busy=0.05)
ROWS = (
    Row("first text", "ms", (Limit(9.5, 10), Limit(31.0, 30)), "of 3"),
    Row("speed", "%", (Limit(99.4, 99, at_least=True),)),
    fact("memory", 41.27, "MB"),
)
CURVES = (Curve("cost by size", "size", "ms", ((1.0, 2.0), (10.0, 20.0)), "linear or less"),)
REPORT = Report(MACHINE, "full", 240.4, ROWS, CURVES)


def test_a_row_is_over_budget_as_soon_as_one_of_its_numbers_is() -> None:
    assert [row.verdict for row in ROWS] == ["**over**", "ok", ""]
    assert [row.budget for row in ROWS] == ["≤ 10 / 30 ms", "≥ 99 %", ""]
    assert [row.measured for row in ROWS] == ["9.5 / 31 ms", "99.4 %", "41.3 MB"]


def test_exactly_the_budget_is_within_it() -> None:
    assert Limit(99, 99, at_least=True).kept
    assert Limit(10, 10).kept
    assert not Limit(98.9, 99, at_least=True).kept


def test_the_table_is_markdown_whose_columns_line_up() -> None:
    lines = budget_table(ROWS).splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert len({len(line) for line in lines}) == 1
    assert set(lines[1]) == {"|", "-"}


def test_a_report_is_unchanged_after_writing_and_reading() -> None:
    assert Report.from_json(REPORT.to_json()) == REPORT


def test_a_busy_machine_is_reported_as_not_quiet() -> None:
    assert "NOT QUIET" not in REPORT.markdown()
    busy = Machine("a board", 4, 8.0, "Linux 6", "3.11.2", "2026-01-02", busy=0.9)
    assert "NOT QUIET, 90% busy" in str(busy)


def test_the_tables_replace_the_text_between_the_marks(tmp_path: Path) -> None:
    document, results = tmp_path / "page.md", tmp_path / "results.json"
    document.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter\n")
    results.write_text(REPORT.to_json())
    assert main([str(results), str(document)]) == 0
    once = document.read_text()
    assert main([str(results), str(document)]) == 0
    assert document.read_text() == once
    assert once.startswith("# Before\n")
    assert once.endswith("\n\nAfter\n")
    assert "old" not in once
    assert REPORT.markdown() in once


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END} {BEGIN}"])
def test_a_document_without_the_marks_is_left_alone(text: str) -> None:
    with pytest.raises(ValueError, match="no block"):
        with_block(text, "x")


def test_the_page_about_performance_has_the_marks() -> None:
    page = Path(__file__).parents[2] / "docs" / "performance.md"
    assert "first text" in with_block(page.read_text(), REPORT.markdown())


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"rows": 1}'])
@pytest.mark.parametrize("reader", [main, plots.main], ids=["report", "plots"])
def test_a_file_that_no_benchmark_has_written_gets_one_sentence(
    reader: Callable[[list[str]], int],
    text: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    results = tmp_path / "results.json"
    results.write_text(text)
    assert reader([str(results), str(tmp_path)]) == 2
    assert "results.json holds no figures; run python -m benchmarks" in capsys.readouterr().err


def test_only_processes_that_we_did_not_start_count_as_other_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = 0.0

    def all_of_it() -> SimpleNamespace:
        ours = (
            resource.getrusage(resource.RUSAGE_SELF),
            resource.getrusage(resource.RUSAGE_CHILDREN),
        )
        used = sum(each.ru_utime + each.ru_stime for each in ours)
        return SimpleNamespace(user=used + noise, nice=0, system=0, steal=0)

    monkeypatch.setattr(psutil, "cpu_times", all_of_it)
    neighbours, begun = Neighbours(), time.monotonic()
    subprocess.run(
        [sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True
    )
    cores = os.cpu_count() or 1
    assert neighbours.busy() * cores * (time.monotonic() - begun) < 0.1
    noise = 5.0
    assert 4.5 < neighbours.busy() * cores * (time.monotonic() - begun) < 5.5
