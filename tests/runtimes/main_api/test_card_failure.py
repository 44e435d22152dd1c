"""A card that fails in the middle of an answer, told by the runtime's log alone.

The program ignores that and goes on with what the last call has left, so the answer looks complete
(observed on the vendor's binary).
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.errors import CardFailed, ClientGone
from axproxy.messages import Limits, Sampling
from axproxy.prompts.fitting import Prompt, Window
from axproxy.runtimes.main_api.generation import Generation
from axproxy.runtimes.main_api.run_log import RunLog
from tests.support.simulated import END, Card, spell

FAILURE = "[E][inference][526]: AX_ENGINE_Execute"
WINDOW = Window(context=2559, prefill_limit=2048)


class PrintingCard(Card):
    """Prints what the vendor's program prints, and fails after `fails_at` calls for text."""

    fails_at: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.log = RunLog()
        self.calls = 0

    def generate(self, prompt: str, sampling: object) -> bool:
        accepted = super().generate(prompt, sampling)
        if accepted:
            self.calls = 0
            for line in prompt.splitlines():
                self.log.feed(line)
        return accepted

    def _decode(self, ids: Sequence[int]) -> str:
        if self.fails_at is not None and self.calls >= self.fails_at:
            self.log.feed(FAILURE)
        self.calls += 1
        text = super()._decode(ids)
        if len(ids) <= 3:  # streamed; what comes at the end is not printed
            self.log.feed(text)
        return text


def card(text: str, fails_at: int | None = None, traced: bool = True) -> PrintingCard:
    made = PrintingCard([spell(text)], traced=traced)
    made.fails_at = fails_at
    return made


def answer(card: PrintingCard, prompt: str = "why?", most: int | None = None) -> str:
    run = Generation(
        card,
        card,
        WINDOW,
        control_tokens={END},
        gone=lambda: False,
        log=card.log,
        clock=card.clock,
        sleep=card.sleep,
    )
    try:
        return "".join(run.run(Prompt(prompt, len(prompt)), Sampling(), Limits(max_tokens=most)))
    finally:
        run.close()


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("fails_at", [0, 1, 5, 33])
def test_an_answer_of_a_failing_card_is_an_error(fails_at: int, traced: bool) -> None:
    with pytest.raises(CardFailed, match="AX_ENGINE_Execute"):
        answer(card("x" * 100, fails_at, traced))


def test_it_is_stopped_long_before_it_has_filled_the_window() -> None:
    broken = card("x" * 2000, fails_at=3)
    started = broken.now
    with pytest.raises(CardFailed):
        answer(broken)

    assert broken.now - started < 2  # of the 40 s that it would take
    assert broken.idle


def test_an_answer_that_is_cut_short_is_judged_too() -> None:
    with pytest.raises(CardFailed):
        answer(card("x" * 100, fails_at=0), most=3)


@pytest.mark.parametrize("traced", [True, False])
@given(st.lists(st.sampled_from([FAILURE, "device 1 is dead", "abc", " "]), max_size=4))
def test_one_who_makes_the_model_say_it_gets_his_answer(traced: bool, words: list[str]) -> None:
    text = "".join(words)
    talking = card(text, traced=traced)
    for _ in range(2):
        assert answer(talking, prompt=f"Say {text}") == text


def test_what_is_printed_after_the_client_has_gone_is_nobodys_failure() -> None:
    talking = card(FAILURE * 9)
    run = Generation(
        talking,
        talking,
        WINDOW,
        control_tokens={END},
        gone=lambda: talking.calls > 2,
        log=talking.log,
        clock=talking.clock,
        sleep=talking.sleep,
    )
    with pytest.raises(ClientGone):
        list(run.run(Prompt("why?", 4), Sampling(), Limits()))
    run.close()

    assert answer(talking, most=2) == "[E"
    assert not talking.log.proves_while_idle()
