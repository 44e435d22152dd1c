"""Writes the figures as text for people and as JSON for programs.

python -m benchmarks.report results.json docs/performance.md     writes the tables there
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import Machine
from benchmarks.table import Curve, Limit, Row, budget_table, growth_table, with_block

COMMAND = "python -m benchmarks"


@dataclass(frozen=True)
class Report:
    """One run of the benchmark."""

    machine: Machine
    plan: str
    seconds: float
    rows: tuple[Row, ...]
    curves: tuple[Curve, ...]

    def markdown(self) -> str:
        """Return both tables, with the machine above them."""
        parts = [
            f"Taken on: {self.machine}.  One run of `{COMMAND}{self._flag}`, {self.seconds:.0f} s.",
            budget_table(self.rows),
        ]
        if self.curves:
            parts.append(growth_table(self.curves))
        return "\n\n".join(parts)

    def to_json(self) -> str:
        value = asdict(self)
        for row, found in zip(value["rows"], self.rows, strict=True):
            row["verdict"] = found.verdict.strip("*")
            for limit in row["limits"]:
                if limit["budget"] == float("inf"):
                    limit["budget"] = None  # JSON has no infinity
        return json.dumps(value, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        value = json.loads(text)
        return cls(
            machine=Machine(**value["machine"]),
            plan=value["plan"],
            seconds=value["seconds"],
            rows=tuple(map(_row, value["rows"])),
            curves=tuple(_curve(each) for each in value["curves"]),
        )

    @property
    def _flag(self) -> str:
        return "" if self.plan == "full" else f" --{self.plan}"


def _row(value: dict[str, Any]) -> Row:
    limits = (
        Limit(
            limit["value"],
            float("inf") if limit["budget"] is None else limit["budget"],
            limit["at_least"],
        )
        for limit in value["limits"]
    )
    return Row(value["what"], value["unit"], tuple(limits), value["note"])


def _curve(value: dict[str, Any]) -> Curve:
    points = tuple((x, y) for x, y in value["points"])
    return Curve(value["name"], value["size"], value["cost"], points, value["verdict"])


def read_report(results: Path) -> Report:
    """Read the JSON file of a benchmark.  Raises `OSError`, and `ValueError` for any other file."""
    try:
        return Report.from_json(results.read_text(encoding="utf-8"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{results} holds no figures; run {COMMAND} --out {results}") from error


def write_block(report: Report, document: Path) -> None:
    """Write the tables between the marks.  Raises `ValueError` for a document without them."""
    text = with_block(document.read_text(encoding="utf-8"), report.markdown())
    document.write_text(text, encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    results, document = map(Path, arguments)
    try:
        write_block(read_report(results), document)
    except (OSError, ValueError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
