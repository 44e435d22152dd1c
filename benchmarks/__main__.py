"""Measures what the service adds to the runtime, on this machine, with a simulated card.

It starts everything itself, on free loopback ports, and stops it again, also on Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.axllm import axllm_rows
from benchmarks.conversation import conversation
from benchmarks.drive import Broken
from benchmarks.growths import growth_figures
from benchmarks.machine import Neighbours, this_machine
from benchmarks.overheads import overhead_rows, start_rows
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.report import Report, write_block
from benchmarks.stack import END_SIGNALS, Started
from benchmarks.table import Curve, Row, with_block

REPEAT_INTERVAL = 1.0  # seconds within which a second Ctrl-C counts as the same


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 if every budget is kept, 1 if one is not, 2 if it could not be measured."""
    arguments = _parser().parse_args(argv)
    interrupt = _Interrupt()
    for number in END_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, interrupt)
    try:
        report = _measured(QUICK if arguments.quick else FULL, growth=not arguments.no_growth)
    except (Broken, OSError, AssertionError) as error:  # AssertionError: a wait timed out
        print(f"benchmark: cannot be measured: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        for number in END_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        print("benchmark: interrupted; everything it started has ended", file=sys.stderr)
        # A normal exit would wait for any lock in a library that the interruption left taken.
        os._exit(130)
    print(report.markdown())
    if arguments.out:
        arguments.out.write_text(report.to_json(), encoding="utf-8")
    if arguments.markdown:
        write_block(report, arguments.markdown)
    return int(any("over" in row.verdict for row in report.rows))


def _measured(plan: Plan, *, growth: bool) -> Report:
    begun = time.monotonic()
    rows: list[Row] = []
    curves: list[Curve] = []
    machine = this_machine(plan.rest_seconds)
    neighbours = Neighbours()
    print(f"measuring on {machine}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="ax650-benchmark-") as scratch:
        for figure in _figures(plan, Path(scratch), growth=growth):
            name = figure.what if isinstance(figure, Row) else figure.name
            print(f"  {time.monotonic() - begun:4.0f} s  {name}", file=sys.stderr, flush=True)
            if isinstance(figure, Row):
                rows.append(figure)
            else:
                curves.append(figure)
    machine = replace(machine, busy=max(machine.busy, neighbours.busy()))
    return Report(machine, plan.name, time.monotonic() - begun, tuple(rows), tuple(curves))


def _figures(plan: Plan, scratch: Path, *, growth: bool) -> Iterator[Row | Curve]:
    starts: list[Started] = []
    yield from overhead_rows(plan, scratch, starts)
    yield from conversation(plan, scratch, starts)
    yield from axllm_rows(plan, scratch)
    if growth:
        yield from growth_figures(plan, scratch, starts)
    yield from start_rows(starts)


class _Interrupt:
    """Raises KeyboardInterrupt, once for several signals at about the same time.

    A second press within a second must not disturb the clean-up.  A later press counts again,
    because an exception raised inside a destructor is lost.
    """

    def __init__(self) -> None:
        self._last = float("-inf")

    def __call__(self, *_: object) -> None:
        before, self._last = self._last, time.monotonic()
        if self._last - before > REPEAT_INTERVAL:
            raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a trial run of a few seconds")
    parser.add_argument("--no-growth", action="store_true", help="skip the growth curves")
    parser.add_argument("--out", type=_writable, help="write the figures to this file, as JSON")
    parser.add_argument(
        "--markdown", type=_document, help="write the tables between the marks of this document"
    )
    return parser


def _writable(name: str) -> Path:
    """Check now that the file can be written, not after minutes of measuring."""
    path = Path(name)
    new = not path.exists()
    try:
        path.open("a").close()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot be written: {error}") from error
    if new:
        path.unlink()
    return path


def _document(name: str) -> Path:
    try:
        with_block(Path(name).read_text(encoding="utf-8"), "")
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return _writable(name)


if __name__ == "__main__":
    sys.exit(main())
