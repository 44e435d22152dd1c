"""A conversation of some turns: how much of it is sent to the runtime each time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import drive
from benchmarks.plan import Plan
from benchmarks.stack import Stack, Started
from benchmarks.table import Curve, Limit, Row

PREFILL = 600  # tokens per second: about what the published times to a first token come to
TURN = 12  # tokens of what the user says
REPLY = 15


def conversation(plan: Plan, folder: Path, starts: list[Started]) -> Iterator[Row | Curve]:
    """The row about the last turn and the curves over all of them; appends to `starts`."""
    sent: list[tuple[float, float]] = []
    first: list[tuple[float, float]] = []
    with Stack(folder, tokens_per_second=200, prefill=PREFILL) as stack:
        starts.append(stack.started)
        reply = stack.text_of(REPLY)
        stack.will_answer(reply)
        said: list[str] = []
        whole = own = 0
        for turn in range(1, plan.turns + 1):
            said.append(f"{turn} {stack.text_of(TURN, turn)}")
            run, last = drive.through_the_service(stack.port, drive.chat(*said))
            sent.append((turn, stack.tokenizer.trace().prompt_tokens))
            first.append((turn, 1000 * run.first_text))
            whole = last["prompt_eval_count"]
            # The end of the answer before, what the user says, and where the model begins.
            own = stack.tokenizer.count(
                f"<|im_end|>\n<|im_start|>user\n{said[-1]}<|im_end|>\n<|im_start|>assistant\n"
            )
            said.append(reply)
        health = stack.service.health().get("kv_cache", {})
    yield Row(
        f"prompt tokens sent to the runtime in turn {plan.turns}",
        "tokens",
        (Limit(sent[-1][1], own),),
        f"the whole prompt has {whole}; cache {health.get('hits', 0)} hits, "
        f"{health.get('misses', 0)} misses",
    )
    yield Curve("tokens sent per turn", "turn of a conversation", "tokens", tuple(sent))
    yield Curve("time to first text per turn", "turn of a conversation", "ms", tuple(first))
