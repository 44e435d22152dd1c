"""Draws the growth curves.

    python -m benchmarks.plots results.json docs/        writes docs/growth.png

Needs matplotlib: pip install -r benchmarks/requirements.txt
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import Report, read_report

COLUMNS = 3


def draw(report: Report, picture: Path) -> None:
    """Draw one panel per curve.  Raises ImportError without matplotlib."""
    from matplotlib import pyplot  # noqa: PLC0415 - the usage is printed without it

    pyplot.switch_backend("Agg")

    count = -(-len(report.curves) // COLUMNS)
    figure, axes = pyplot.subplots(count, COLUMNS, figsize=(4.2 * COLUMNS, 3.1 * count))
    panels = list(axes.flat)
    for panel, curve in zip(panels, report.curves, strict=False):
        sizes, costs = zip(*curve.points, strict=True)
        panel.plot(sizes, costs, marker="o", linewidth=1.2, color="#1f6f8b")
        panel.set_title(curve.name, fontsize=9)
        panel.set_xlabel(curve.size, fontsize=8)
        panel.set_ylabel(curve.cost, fontsize=8)
        panel.set_ylim(0, 1.15 * max(costs))
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.3)
    for panel in panels[len(report.curves) :]:
        panel.remove()
    figure.suptitle(str(report.machine), fontsize=8)
    figure.tight_layout(rect=(0, 0, 1, 0.97))
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    results, folder = map(Path, arguments)
    picture = folder / "growth.png"
    try:
        draw(read_report(results), picture)
    except ImportError:
        command = f"{sys.executable} -m pip install -r benchmarks/requirements.txt"
        print(f"plots: matplotlib is missing; install it with: {command}", file=sys.stderr)
        return 2
    except (OSError, ValueError) as error:
        print(f"plots: {error}", file=sys.stderr)
        return 2
    print(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
