"""The benchmark's tables, and its way through JSON and into a document."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.machine import Machine
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


def test_a_report_survives_being_written_and_read() -> None:
    assert Report.from_json(REPORT.to_json()) == REPORT


def test_a_busy_machine_is_named_as_such() -> None:
    assert "NOT QUIET" not in REPORT.markdown()
    busy = Machine("a board", 4, 8.0, "Linux 6", "3.11.2", "2026-01-02", busy=0.9)
    assert "NOT QUIET, 90% busy" in str(busy)


def test_the_tables_replace_what_stood_between_the_marks(tmp_path: Path) -> None:
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
