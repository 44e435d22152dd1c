"""Measures how cost grows with prompts, histories, waiting clients and vocabularies."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from axproxy.tokenizer.client import TokenizerClient
from benchmarks import drive
from benchmarks.figures import growth, percentile
from benchmarks.footprint import cpu_seconds, health_milliseconds, resident_mb, waiting_clients
from benchmarks.plan import Plan
from benchmarks.stack import Stack, Started, lone_tokenizer
from benchmarks.table import Curve, Limit, Row, fact
from benchmarks.vocabulary import write_folder

FAST = 200  # tokens per second
GROUP = 3  # tokens in one piece of the runtime's text
BEAT = 50  # tokens per second while clients wait
BACKLOG = 0.1  # seconds; enough to read the text that came before the measurement


def curve(name: str, size: str, cost: str, points: Sequence[tuple[float, float]]) -> Curve:
    """Return the curve with its verdict."""
    return Curve(name, size, cost, tuple(points), growth(points).verdict)


def growth_figures(plan: Plan, folder: Path, starts: list[Started]) -> Iterator[Row | Curve]:
    """Yield every curve and the rows about the largest vocabulary; append to `starts`."""
    yield from _prompts(plan, folder, starts)
    yield from _too_long(plan, folder, starts)
    yield from _waiting(plan, folder, starts)
    yield from _vocabularies(plan, folder)


def _prompts(plan: Plan, folder: Path, starts: list[Started]) -> Iterator[Curve]:
    with Stack(folder, tokens_per_second=FAST, context=32_768, prefill_limit=32_640) as stack:
        starts.append(stack.started)
        # Prefill takes no time here, so only the work on the text grows.
        stack.will_answer(stack.text_of(GROUP))

        def by_length(tokens: int, number: int) -> float:
            return _first_text(stack, [stack.text_of(tokens, number)])

        repeats = plan.growth_repeats
        points = _medians(plan.prompts, repeats, by_length)
        yield curve("time to first text by prompt", "tokens of the prompt", "ms", points)
        yield _by_history("time to first text by history", stack, plan.histories, repeats)


def _too_long(plan: Plan, folder: Path, starts: list[Started]) -> Iterator[Curve]:
    with Stack(folder, tokens_per_second=FAST) as stack:
        starts.append(stack.started)
        stack.will_answer(stack.text_of(GROUP))
        what = "time to first text by history that is too long"
        yield _by_history(what, stack, plan.long_histories, plan.growth_repeats)


def _by_history(name: str, stack: Stack, sizes: tuple[int, ...], repeats: int) -> Curve:
    def cost(messages: int, number: int) -> float:
        return _first_text(stack, [stack.text_of(10, number + each) for each in range(messages)])

    return curve(name, "messages of 10 tokens", "ms", _medians(sizes, repeats, cost))


def _first_text(stack: Stack, messages: list[str]) -> float:
    run, _ = drive.through_the_service(stack.port, drive.chat(*messages))
    stack.idle()
    return 1000 * run.first_text


def _medians(
    sizes: tuple[int, ...], repeats: int, cost: Callable[[int, int], float]
) -> list[tuple[float, float]]:
    return [
        (size, percentile([cost(size, number) for number in range(repeats)], 0.5)) for size in sizes
    ]


def _waiting(plan: Plan, folder: Path, starts: list[Started]) -> Iterator[Curve]:
    """Measure the cost of waiting clients: to the running answer, to /health and to the worker."""
    _allow_files(max(plan.waiting) + 500)
    health, late, used, memory = [], [], [], []
    with Stack(folder, tokens_per_second=BEAT, max_queue=max(plan.waiting)) as stack:
        starts.append(stack.started)
        worker = stack.processes.worker
        for count in plan.waiting:
            with waiting_clients(stack, count) as answered:
                before, since = cpu_seconds(worker), time.monotonic()
                late.append((count, _lateness(answered, since + plan.waiting_seconds)))
                seconds = time.monotonic() - since
                used.append((count, 1000 * (cpu_seconds(worker) - before) / seconds))
                memory.append((count, resident_mb(worker)))
                spread = health_milliseconds(stack, max(plan.health_samples // 2, 1))
                health.append((count, spread.p99))
            stack.idle()
    size = "waiting clients"
    yield curve("/health p99 by waiting clients", size, "ms", health)
    yield curve("lateness of a piece by waiting clients, p99", size, "ms", late)
    yield curve("processor time by waiting clients", size, "ms/s", used)
    yield curve("memory of the worker by waiting clients", size, "MB", memory)


def _lateness(answered: socket.socket, until: float) -> float:
    """Return by how many milliseconds the pieces of a long answer lag behind its pace (p99)."""
    behind: list[float] = []
    begun, characters = time.monotonic(), 0
    for now, line in drive.lines(answered):
        characters += len(line["message"]["content"])
        if now - begun > BACKLOG:
            behind.append(now - characters / 2 / BEAT)
        if now > until and behind:
            break
    return 1000 * percentile([each - min(behind) for each in behind], 0.99)


def _vocabularies(plan: Plan, folder: Path) -> Iterator[Row | Curve]:
    repeats = plan.start_repeats
    found = [_of_vocabulary(folder, tokens, repeats) for tokens in plan.vocabularies]
    largest = found[-1]
    what = f"resident: tokenizer, {largest.size / 1000:.0f} k vocabulary"
    yield Row(what, "MB", (Limit(largest.memory, 150),), "a made-up vocabulary")
    yield fact("tokenizer ready, same vocabulary", largest.ready, "s")

    def over(cost: str, unit: str, values: list[float]) -> Curve:
        points = [(each.size, value) for each, value in zip(found, values, strict=True)]
        return curve(f"{cost} by vocabulary", "tokens in the vocabulary", unit, points)

    yield over("tokenizer's start", "s", [each.ready for each in found])
    yield over("tokenizer's memory", "MB", [each.memory for each in found])
    yield over("counting 1,000 words", "ms", [each.count for each in found])
    yield over("decoding 300 tokens", "ms", [each.decode for each in found])


@dataclass(frozen=True)
class _Vocabulary:
    size: int
    ready: float  # seconds
    memory: float  # MB
    count: float  # milliseconds
    decode: float  # milliseconds


def _of_vocabulary(folder: Path, tokens: int, repeats: int) -> _Vocabulary:
    made = write_folder(folder / f"vocabulary-{tokens}", tokens)
    starts = [_start_seconds(made) for _ in range(repeats)]
    with lone_tokenizer(made) as (process, port, _):
        client = TokenizerClient(f"http://127.0.0.1:{port}")
        size = client.info().vocab_size
        text = "the sun rises over a small house near the river " * 100
        call = {"uid": "benchmark", "token_ids": client.tokenize(text)[:300]}
        count = _milliseconds(lambda: client.count(text))
        decode = _milliseconds(lambda: drive.call(port, "POST", "/decode", call))
        return _Vocabulary(size, percentile(starts, 0.5), resident_mb(process), count, decode)


def _start_seconds(folder: Path) -> float:
    with lone_tokenizer(folder) as (_process, _port, ready):
        return ready


def _milliseconds(action: Callable[[], object], repeats: int = 15) -> float:
    times = []
    for _ in range(repeats):
        before = time.monotonic()
        action()
        times.append(1000 * (time.monotonic() - before))
    return percentile(times, 0.5)


def _allow_files(wanted: int) -> None:
    """Raise the limit of open files for a thousand clients.

    Child processes inherit it, as from a systemd unit with LimitNOFILE.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        top = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
