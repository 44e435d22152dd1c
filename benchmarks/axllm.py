"""Measures what the service adds to an answer of the vendor's `axllm`, for one client."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import psutil

from benchmarks import drive
from benchmarks.footprint import cpu_seconds, own_mb, resident_mb
from benchmarks.overheads import QUESTION, added_rows
from benchmarks.plan import Pace, Plan
from benchmarks.table import Limit, Row
from benchmarks.timing import Run, overhead
from tests.support.service import Service
from tests.support.waiting import eventually

TEXT = "the sun rises over a small house near the river and people walk to work " * 40


class AxllmStack:
    """A running service with the simulator of `axllm`, whose answers are `TEXT`."""

    def __init__(self, folder: Path, tokens_per_second: int) -> None:
        reply = folder / "axllm-reply.txt"
        reply.write_text(TEXT)
        mock = (
            f"--load-seconds 0 --tokens-per-second {tokens_per_second} "
            f"--prefill-tokens-per-second 0 --reply-file '{reply}'"
        )
        settings = {"AX650_RUNTIME": "mock-axllm", "AX650_MOCK_ARGS": mock}
        self.service = Service(settings, folder / f"axllm-{time.monotonic_ns()}.log")
        try:
            eventually(self.service.ready)
        except BaseException:
            self.service.stop()
            raise
        master = psutil.Process(self.service.process.pid)
        pid = self.service.health()["runtime"]["pid"]
        self.ours = (master, psutil.Process(pid).parent() or master)

    def __enter__(self) -> AxllmStack:
        return self

    def __exit__(self, *_: object) -> None:
        self.service.stop()


def axllm_rows(plan: Plan, folder: Path) -> Iterator[Row]:
    """Yield the rows of every speed, of processor time and of memory."""
    for pace in plan.paces:
        with AxllmStack(folder, pace.tokens_per_second) as stack:
            yield from _alone(stack, pace, count_cpu=pace.tokens_per_second == plan.cpu_pace)
            if pace is plan.paces[-1]:
                master, worker = stack.ours
                whole = resident_mb(worker) + own_mb(master)
                yield Row("axllm: resident memory of the service", "MB", (Limit(whole, 70),))


def directly(port: int, tokens: int) -> Run:
    """Answer on the program itself, reading its events as they come."""
    body: dict[str, Any] = {
        "model": "AXERA-TECH/Qwen3-Simulated",
        "messages": [{"role": "user", "content": QUESTION}],
        "stream": True,
        "max_tokens": tokens,
        "thinking_mode": "no_think",
    }
    begun = time.monotonic()
    arrivals: list[tuple[float, int]] = []
    characters = 0
    with drive.asked(port, "POST", "/v1/chat/completions", body) as connection:
        reply = HTTPResponse(connection)
        reply.begin()
        while line := reply.readline():
            if line.startswith(b"data: {"):
                delta = json.loads(line[6:])["choices"][0]["delta"]
                if text := delta.get("content"):
                    characters += len(text)
                    arrivals.append((time.monotonic(), characters))
    if not arrivals:
        raise drive.Broken("the simulator sent no text")
    return Run(begun, tuple(arrivals))


def _alone(stack: AxllmStack, pace: Pace, *, count_cpu: bool) -> Iterator[Row]:
    direct: list[Run] = []
    service: list[Run] = []
    used, tokens = 0.0, 0
    request = {**drive.chat(QUESTION, num_predict=pace.tokens), "think": False}
    for _ in range(pace.repeats):  # in turns, so that other load affects both
        direct.append(directly(stack.service.runtime_port, pace.tokens))
        before = cpu_seconds(*stack.ours)
        run, last = drive.through_the_service(stack.service.port, request)
        used += cpu_seconds(*stack.ours) - before
        tokens += last["eval_count"]
        service.append(run)
    try:
        added = overhead(service, direct)
    except ValueError as error:
        raise drive.Broken(str(error)) from error
    yield from added_rows(added, f"axllm at {pace.tokens_per_second} tokens/s, 1 client")
    if count_cpu:
        what = (
            f"axllm: processor time of the service per token at {pace.tokens_per_second} tokens/s"
        )
        yield Row(what, "ms", (Limit(1000 * used / tokens, 2.0),), f"{tokens} tokens")
