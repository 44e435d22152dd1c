"""Memory, processor time at rest, and /health while many wait."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import psutil

from benchmarks import drive
from benchmarks.figures import Spread
from benchmarks.plan import Plan
from benchmarks.stack import Stack
from benchmarks.table import Limit, Row, fact
from tests.support.waiting import eventually

BETWEEN = 0.005  # seconds between two looks at /health
ALL_IN_LINE = 30.0  # seconds until a thousand clients are, at worst
ENDLESS = " a" * 2300  # a token for every two characters; as long as the simulator's context allows


def cpu_seconds(*processes: psutil.Process) -> float:
    """Processor time that the processes have used, on behalf of the kernel too.

    From their own clocks: /proc counts in hundredths of a second, too coarse for one at rest.
    """
    # What clock_getcpuclockid(3) makes of a pid; Python has no name for it.
    return sum(time.clock_gettime(~process.pid << 3 | 2) for process in processes)


def resident_mb(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


def own_mb(process: psutil.Process) -> float:
    """Resident memory that no other process shares."""
    return float(process.memory_full_info().uss) / 1e6


def footprint_rows(stack: Stack, plan: Plan) -> Iterator[Row]:
    """Of a service that has answered some; it is left idle."""
    yield from _memory(stack)
    yield _at_rest(stack, plan.rest_seconds)
    yield _health(stack, plan)


def _memory(stack: Stack) -> Iterator[Row]:
    found = stack.processes
    # What the two share is in the worker's.  Halves would be wrong: other Pythons, of which a user
    # has fewer than we, share the same libraries.
    worker, more = resident_mb(found.worker), own_mb(found.master)
    note = f"worker {worker:.1f} + the master's own {more:.1f}"
    yield Row("resident memory of the service", "MB", (Limit(worker + more, 70),), note)
    yield fact("resident: gunicorn's master", resident_mb(found.master), "MB")
    yield fact("resident: worker", resident_mb(found.worker), "MB")
    small = resident_mb(found.tokenizer)
    yield fact("resident: tokenizer, small vocabulary", small, "MB", "ships with the project")
    yield fact("resident: simulator", resident_mb(found.mock), "MB", "not needed with a card")


def _at_rest(stack: Stack, seconds: float) -> Row:
    stack.idle()
    before = cpu_seconds(stack.processes.master, stack.processes.worker)
    time.sleep(seconds)
    used = cpu_seconds(stack.processes.master, stack.processes.worker) - before
    return fact("processor time of the service at rest", 1000 * used / seconds, "ms/s")


def _health(stack: Stack, plan: Plan) -> Row:
    with waiting_clients(stack, plan.crowd):
        spread = health_milliseconds(stack, plan.health_samples)
    stack.idle()
    what = f"/health p99 with {plan.crowd} streams waiting"
    note = f"median {spread.median:.1f} ms, {spread.count} looks"
    return Row(what, "ms", (Limit(spread.p99, 50),), note)


@contextlib.contextmanager
def waiting_clients(stack: Stack, count: int) -> Iterator[socket.socket]:
    """`count` clients in line behind one more, whose connection this is and whose answer has
    hardly an end; all of them leave."""
    stack.will_answer(ENDLESS)
    with contextlib.ExitStack() as clients:

        def ask(number: int) -> socket.socket:
            request = {**drive.chat(f"Client {number}"), "stream": True}
            return clients.enter_context(drive.ask(stack.port, request))

        answered = ask(0)
        eventually(lambda: stack.service.health()["queue"]["answering"], ALL_IN_LINE)
        for number in range(count):
            ask(number + 1)
        eventually(lambda: stack.service.health()["queue"]["waiting"] == count, ALL_IN_LINE)
        yield answered


def health_milliseconds(stack: Stack, count: int) -> Spread:
    """How long /health takes, each time on a new connection.  Raises `Broken`."""
    times = []
    for _ in range(count):
        before = time.monotonic()
        status, _ = drive.call(stack.port, "GET", "/health")
        times.append(1000 * (time.monotonic() - before))
        if status != 200:
            raise drive.Broken(f"/health answered with status {status}")
        time.sleep(BETWEEN)
    return Spread.of(times)
