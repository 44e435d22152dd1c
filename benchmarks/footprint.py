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

HEALTH_INTERVAL = 0.005  # seconds between two requests to /health
QUEUE_DEADLINE = 30.0  # seconds until a thousand clients are in the queue, at most
ENDLESS = " a" * 2300  # one token per two characters; as long as the simulator's context allows


def cpu_seconds(*processes: psutil.Process) -> float:
    """Return the processor time of the processes in seconds, the kernel's part included.

    It reads their own clocks: /proc counts hundredths of a second, too coarse for a process at
    rest.
    """
    # The clock id that clock_getcpuclockid(3) makes of a pid; Python has no function for it.
    return sum(time.clock_gettime(~process.pid << 3 | 2) for process in processes)


def resident_mb(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6


def own_mb(process: psutil.Process) -> float:
    """Return the resident memory in MB that no other process shares."""
    return float(process.memory_full_info().uss) / 1e6


def footprint_rows(stack: Stack, plan: Plan) -> Iterator[Row]:
    """Yield the rows of a service that has answered some requests; leave it idle."""
    yield from _memory(stack)
    yield _at_rest(stack, plan.rest_seconds)
    yield _health(stack, plan)


def _memory(stack: Stack) -> Iterator[Row]:
    found = stack.processes
    # Memory that the two share counts as the worker's.  Shares of it (PSS) would be wrong: other
    # Python programs map the same libraries, and a test machine runs more of them than a user's.
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
    """Queue `count` clients behind a client with a very long answer; yield its connection.

    All of them leave at the end.
    """
    stack.will_answer(ENDLESS)
    with contextlib.ExitStack() as clients:

        def ask(number: int) -> socket.socket:
            request = {**drive.chat(f"Client {number}"), "stream": True}
            return clients.enter_context(drive.ask(stack.port, request))

        answered = ask(0)
        eventually(lambda: stack.service.health()["queue"]["answering"], QUEUE_DEADLINE)
        for number in range(count):
            ask(number + 1)
        eventually(lambda: stack.service.health()["queue"]["waiting"] == count, QUEUE_DEADLINE)
        yield answered


def health_milliseconds(stack: Stack, count: int) -> Spread:
    """Measure /health `count` times, in ms, each on a new connection.  Raises `Broken`."""
    times = []
    for _ in range(count):
        before = time.monotonic()
        status, _ = drive.call(stack.port, "GET", "/health")
        times.append(1000 * (time.monotonic() - before))
        if status != 200:
            raise drive.Broken(f"/health answered with status {status}")
        time.sleep(HEALTH_INTERVAL)
    return Spread.of(times)
