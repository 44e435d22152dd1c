"""Measures what the service adds to an answer, at several speeds, for one client and for many."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import drive
from benchmarks.figures import percentile
from benchmarks.footprint import cpu_seconds, footprint_rows
from benchmarks.plan import Pace, Plan
from benchmarks.stack import Stack, Started
from benchmarks.table import Limit, Row, fact
from benchmarks.timing import Overhead, Run, chained, overhead

QUESTION = "Why is the sky blue?"
# The same question as the small tokenizer's template renders it; checked below.
PROMPT = f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"


def overhead_rows(plan: Plan, folder: Path, starts: list[Started]) -> Iterator[Row]:
    """Yield the rows of every speed and of the footprint; append to `starts`."""
    differences: list[float] = []
    for pace in plan.paces:
        with Stack(folder, tokens_per_second=pace.tokens_per_second) as stack:
            starts.append(stack.started)
            differences.append(_first_request(stack))
            yield from _alone(stack, pace, count_cpu=pace.tokens_per_second == plan.cpu_pace)
            yield from _crowd(stack, plan, pace)
            if pace is plan.paces[-1]:
                yield from footprint_rows(stack, plan)
    what = "time to first text added to the first request after a start"
    note = f"beside the second, median of {len(differences)} starts"
    yield fact(what, 1000 * percentile(differences, 0.5), "ms", note)


def _first_request(stack: Stack) -> float:
    """Return the extra seconds of the first request, which start-up should have spent."""
    first, second = (
        drive.through_the_service(stack.port, drive.chat(QUESTION))[0].first_text for _ in range(2)
    )
    _check_prompt(stack)
    return first - second


def _check_prompt(stack: Stack) -> None:
    """Check that both ways send the model the same number of tokens."""
    through = stack.tokenizer.trace().prompt_tokens
    stack.idle()
    drive.directly(stack.runtime_port, PROMPT)
    if (direct := stack.tokenizer.trace().prompt_tokens) != through:
        raise drive.Broken(f"prompts of {through} and {direct} tokens cannot be compared")


def _alone(stack: Stack, pace: Pace, *, count_cpu: bool) -> Iterator[Row]:
    stack.will_answer(stack.text_of(pace.tokens))
    direct: list[Run] = []
    service: list[Run] = []
    used = beside = 0.0  # by the service, by its tokenizer
    tokens = 0
    for number in range(pace.repeats):  # in turns, so that other load affects both
        direct.append(drive.directly(stack.runtime_port, PROMPT))
        # A different request each time: a cached conversation would save the service a reset.
        request = drive.chat(QUESTION, temperature=0.5 + number / 100)
        ours = stack.processes.master, stack.processes.worker
        before, before_beside = cpu_seconds(*ours), cpu_seconds(stack.processes.tokenizer)
        run, last = drive.through_the_service(stack.port, request)
        used += cpu_seconds(*ours) - before
        beside += cpu_seconds(stack.processes.tokenizer) - before_beside
        tokens += last["eval_count"]
        service.append(run)
        stack.idle()
    yield from added_rows(
        _compared(service, direct), f"{pace.tokens_per_second} tokens/s, 1 client"
    )
    if count_cpu:
        speed, per_token = f"at {pace.tokens_per_second} tokens/s", 1000 * used / tokens
        what = f"processor time of the service per token {speed}"
        yield Row(what, "ms", (Limit(per_token, 2.0),), f"{tokens} tokens, requests included")
        what = f"processor time of the tokenizer per token {speed}"
        yield fact(what, 1000 * beside / tokens, "ms", "the runtime's calls and the service's")


def _crowd(stack: Stack, plan: Plan, pace: Pace) -> Iterator[Row]:
    stack.will_answer(stack.text_of(pace.crowd_tokens))
    direct = [drive.directly(stack.runtime_port, PROMPT) for _ in range(plan.crowd_repeats + 1)]
    runs: list[Run] = []
    broken: list[BaseException] = []

    def ask() -> None:
        try:
            runs.append(drive.through_the_service(stack.port, drive.chat(QUESTION))[0])
        except (drive.Broken, OSError) as error:
            broken.append(error)

    clients = [threading.Thread(target=ask, daemon=True) for _ in range(plan.crowd)]
    for client in clients:
        client.start()
        time.sleep(0.001)
    for client in clients:
        client.join()
    if broken:
        raise broken[0]
    label = f"{pace.tokens_per_second} tokens/s, {plan.crowd} clients"
    added = _compared(chained(runs), chained(direct))
    yield from added_rows(added, label)
    yield fact(
        f"the same from answer to answer, {label}",
        100 * added.kept_in_all,
        "%",
        f"answers of {pace.crowd_tokens} tokens; longer ones keep more",
    )


def _compared(service: list[Run], direct: list[Run]) -> Overhead:
    try:
        return overhead(service, direct)
    except ValueError as error:
        raise drive.Broken(str(error)) from error


def added_rows(added: Overhead, label: str) -> Iterator[Row]:
    def milliseconds(seconds: float) -> float:
        return round(1000 * seconds, 2)

    first, lag = added.first_text, added.lag
    steady = added.direct_first_text
    yield Row(
        f"time to first text added, {label}: median / p99",
        "ms",
        (Limit(milliseconds(first.median), 10), Limit(milliseconds(first.p99), 30)),
        f"directly {milliseconds(steady.median):g} / {milliseconds(steady.p99):g} ms",
    )
    yield Row(
        f"lag added per piece, {label}: median / p99",
        "ms",
        (Limit(milliseconds(lag.median), 15), Limit(milliseconds(lag.p99), 40)),
        f"{lag.count} pieces",
    )
    yield Row(f"throughput kept, {label}", "%", (Limit(100 * added.kept, 99, at_least=True),))


def start_rows(starts: list[Started]) -> Iterator[Row]:
    """Yield the medians over every service that was started for other measurements."""
    middle = len(starts) // 2
    listening = sorted(started.listening for started in starts)[middle]
    note = f"median of {len(starts)} starts, slowest {max(s.listening for s in starts):.2f} s"
    yield Row("service listening after start", "s", (Limit(listening, 1.5),), note)
    ready = sorted(started.ready for started in starts)[middle]
    yield fact("service ready after start", ready, "s", "with a model that loads in no time")
