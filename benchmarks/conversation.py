"""Measures how much of a growing conversation is sent to the runtime in each turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import drive
from benchmarks.plan import Plan
from benchmarks.stack import Stack, Started
from benchmarks.table import Curve, Limit, Row

PREFILL = 600  # tokens per second; about what the published times to the first token imply
TURN = 12  # tokens of the user's message
REPLY = 15


def conversation(plan: Plan, folder: Path, starts: list[Started]) -> Iterator[Row | Curve]:
    """Yield the row about the last turn and the curves over all turns; append to `starts`."""
    sent: list[tuple[float, float]] = []
    first: list[tuple[float, float]] = []
    with Stack(folder, tokens_per_second=200, prefill=PREFILL) as stack:
        starts.append(stack.started)
        reply = stack.text_of(REPLY)
        stack.will_answer(reply)
        messages: list[str] = []
        whole = own = 0
        for turn in range(1, plan.turns + 1):
            messages.append(f"{turn} {stack.text_of(TURN, turn)}")
            run, last = drive.through_the_service(stack.port, drive.chat(*messages))
            sent.append((turn, stack.tokenizer.trace().prompt_tokens))
            first.append((turn, 1000 * run.first_text))
            whole = last["prompt_eval_count"]
            # The end of the last answer, the user's message, and the start of the model's turn.
            own = stack.tokenizer.count(
                f"<|im_end|>\n<|im_start|>user\n{messages[-1]}<|im_end|>\n<|im_start|>assistant\n"
            )
            messages.append(reply)
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
