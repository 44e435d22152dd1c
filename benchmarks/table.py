"""Budgets, measured values, and whether the budgets are kept; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limit:
    """One number and its greatest (or, with `at_least`, smallest) permitted value."""

    value: float
    budget: float
    at_least: bool = False

    @property
    def kept(self) -> bool:
        return self.value >= self.budget if self.at_least else self.value <= self.budget


@dataclass(frozen=True)
class Row:
    """One line of the table: one or two numbers, with budgets or without.

    Without a budget `limits` holds only the measured value.
    """

    what: str
    unit: str
    limits: tuple[Limit, ...]
    note: str = ""

    @property
    def budget(self) -> str:
        if all(limit.budget == float("inf") for limit in self.limits):
            return ""
        sign = "≥" if self.limits[0].at_least else "≤"
        return f"{sign} {' / '.join(_short(limit.budget) for limit in self.limits)} {self.unit}"

    @property
    def measured(self) -> str:
        return f"{' / '.join(_short(limit.value) for limit in self.limits)} {self.unit}"

    @property
    def verdict(self) -> str:
        if not self.budget:
            return ""
        return "ok" if all(limit.kept for limit in self.limits) else "**over**"


def fact(what: str, value: float, unit: str, note: str = "") -> Row:
    """Return a row without a budget."""
    return Row(what, unit, (Limit(value, float("inf")),), note)


@dataclass(frozen=True)
class Curve:
    """How one cost grows with one size; `verdict` says it in words."""

    name: str
    size: str
    cost: str
    points: tuple[tuple[float, float], ...]
    verdict: str = field(default="")


def _short(number: float) -> str:
    """Round to three significant digits."""
    if number == 0:
        return "0"
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def rows_as_text(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns."""
    widths = [max(len(row[at]) for row in (head, *body)) for at in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([line(head), rule, *map(line, body)])


def budget_table(rows: Sequence[Row]) -> str:
    """Return the table of every row with its budget and verdict."""
    return rows_as_text(
        ("what", "budget", "measured", "", "remark"),
        [(row.what, row.budget, row.measured, row.verdict, row.note) for row in rows],
    )


def growth_table(curves: Sequence[Curve]) -> str:
    """Return the table of curves, one per line."""
    body = [
        (curve.name, ", ".join(f"{x:g}: {_short(y)}" for x, y in curve.points), curve.verdict)
        for curve in curves
    ]
    return rows_as_text(("cost", "size: cost", "growth"), body)


BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"


def with_block(document: str, block: str) -> str:
    """Return the document with `block` between the marks.  Raises `ValueError` without them."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the document has no block between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{block}\n\n{END}{after}"
