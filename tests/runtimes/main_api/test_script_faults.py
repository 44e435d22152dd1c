"""Runs with the vendor's tokenizer script: no trace, a log, and a script that can be spoilt."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.engine.runtime import RunResult
from axproxy.errors import Restarting, RuntimeMisbehaved, SessionLost
from axproxy.messages import ChatRequest, Limits, Message
from axproxy.output.reader import AnswerParser
from axproxy.prompts.fitting import Window
from axproxy.prompts.vendor_script import VendorScriptRenderer
from axproxy.runtimes.main_api.run_log import RunLog
from axproxy.runtimes.main_api.runtime import MainApiRuntime
from tests.support.generators import completed
from tests.support.simulated import Card, Times, spell

WINDOW = Window(context=1023, prefill_limit=896)
PROMPTS = VendorScriptRenderer()


@dataclass
class ScriptedCard(Card):
    """A card whose tokenizer is the vendor's script."""

    traced: bool = False
    spoilt: bool = False  # there is half a character in the script
    misreads: int = 0  # prompts that the script cannot read
    log: RunLog = field(default_factory=RunLog)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.traces = False
        self.systems: list[str] = []

    def reset(self, beginning: str = "", *, system: str = "") -> bool:
        assert not beginning  # which only ours can take
        accepted = super().reset(system=system)
        if accepted:
            self.systems.append(system)
        return accepted

    def _run(self, prompt: str):
        if self.misreads:
            self.misreads -= 1
            self.log.feed("[E][                          Encode][ 820]: encode failed")
            prompt = self.prompts[-1]  # observed on the vendor's binary
        steps = super()._run(prompt)
        yield next(steps)
        yield next(steps)
        self.log.feed("[I][                             Run][1016]: ttft: 40.00 ms")
        yield from steps

    def _decode(self, ids: Sequence[int]) -> str:
        return "" if self.spoilt else super()._decode(ids)

    def restart(self) -> None:
        super().restart()
        self.spoilt = False


class Pair:
    """A unit of a card and its script; what is reported is restarted, if it may be."""

    def __init__(self, card: ScriptedCard, mends: bool = True) -> None:
        self.card = card
        self.mends = mends
        self.wedged: list[str] = []

    def until_ready(self, gone: object, hold: float) -> Generator[None, None, None]:
        self.wait_ready(gone, hold)
        yield from ()

    def wait_ready(self, _gone: object, _hold: float) -> None:
        if self.wedged and not self.mends:
            raise Restarting("it takes long")
        if self.wedged:
            self.card.restart()

    def window(self) -> Window:
        return WINDOW

    def pid(self) -> int:
        return 1

    def run_log(self) -> RunLog:
        return self.card.log

    def interruption(self) -> None:
        return None

    def why_gone(self, _pid: object) -> str:
        return "it died"

    def restart(self, reason: str, _pid: object) -> bool:
        self.wedged.append(reason)
        return True


class Talk:
    def __init__(self, card: ScriptedCard, mends: bool = True) -> None:
        self.card = card
        self.pair = Pair(card, mends)
        self.runtime = MainApiRuntime(
            self.pair,
            self.pair,
            card,
            lambda: card,
            lambda: PROMPTS,
            clock=card.clock,
            sleep=card.sleep,
        )

    def ask(self, *turns: str, limits: Limits | None = None, system: str = "") -> str:
        """The text of the answer; its result is kept."""
        roles = cycle(["user", "assistant"])
        said = [Message(role, text) for role, text in zip(roles, turns, strict=False)]
        messages = (*([Message("system", system)] if system else []), *said)
        prepared = self.runtime.prepare(
            ChatRequest(messages, limits=limits or Limits()), lambda: False, wait=False
        )
        texts, self.result = completed(self.runtime.run(prepared, lambda: False))
        return "".join(texts)


def test_an_answer_is_read_from_the_polls_and_its_counts_are_estimates() -> None:
    talk = Talk(ScriptedCard([spell("Hello, you!")]))

    assert talk.ask("Hi", system="Be kind.") == "Hello, you!"
    assert talk.card.systems == ["Be kind."]
    assert talk.card.prompts == ["Hi"]
    assert isinstance(talk.result, RunResult)
    assert talk.result.reason == "stop"
    assert talk.result.completion_tokens == 12  # four flushes of three, of which one is short


def test_every_request_begins_with_a_reset() -> None:
    talk = Talk(ScriptedCard([spell("Hello")]))
    talk.ask("Hi")
    talk.ask("Hi", "Hello", "How are you?")

    assert talk.card.systems == ["", ""]
    assert talk.runtime.cache_health().hits == 0
    assert talk.runtime.cached() == ""


def test_the_empty_thought_that_the_script_makes_a_model_begin_with_vanishes() -> None:
    talk = Talk(ScriptedCard([spell("<think>\n\n</think>\n\nHello")]))
    reader = AnswerParser(inside=False, think=False, tools=False)
    events = [*reader.feed(talk.ask("Hi")), *reader.finish()]

    assert "".join(event.text for event in events) == "Hello"


@given(
    st.lists(st.tuples(st.text("abc", min_size=1, max_size=9), st.integers(1, 9)), min_size=2),
    st.floats(0.0005, 0.05),
)
def test_no_answer_holds_text_of_another_one(answers: list[tuple[str, int]], token: float) -> None:
    texts = [f"{number}:{text}" for number, (text, _) in enumerate(answers)]
    talk = Talk(ScriptedCard([spell(text) for text in texts], times=Times(token=token)))

    for text, (_, most) in zip(texts, answers, strict=True):
        answer = talk.ask("Hi", limits=Limits(max_tokens=most))
        assert text.startswith(answer)
        assert talk.card.idle


@pytest.mark.parametrize("length", [5, 2000], ids=["a short answer", "an endless one"])
def test_a_spoilt_script_is_restarted_with_the_runtime_and_asked_again(length: int) -> None:
    talk = Talk(ScriptedCard([spell("x" * length), spell("Hello")], spoilt=True))

    assert talk.ask("Hi") == "Hello"
    assert len(talk.pair.wedged) == 1
    assert "returns no text for tokens" in talk.pair.wedged[0]
    assert talk.card.now < 100 + 15  # it is not waited for as long as for a card that hangs


def test_who_asked_a_spoilt_script_is_told_when_that_takes_long() -> None:
    with pytest.raises(Restarting):
        Talk(ScriptedCard(spoilt=True), mends=False).ask("Hi")


def test_a_script_that_is_spoilt_for_ever_is_not_restarted_for_ever() -> None:
    talk = Talk(ScriptedCard())
    talk.card.restart = lambda: Card.restart(talk.card)
    talk.card.spoilt = True

    with pytest.raises(SessionLost, match="try again in a few minutes"):
        talk.ask("Hi")
    assert len(talk.pair.wedged) == 2


def test_a_character_in_several_pieces_is_no_spoilt_script() -> None:
    talk = Talk(ScriptedCard([[-1, -1, -1, -1, -2, *spell("Hello")]], times=Times(token=0.8)))

    assert talk.ask("Hi") == "éHello"
    assert talk.pair.wedged == []


def test_nobody_gets_the_answer_to_a_prompt_that_was_not_his() -> None:
    talk = Talk(ScriptedCard([spell("a secret"), spell("a secret"), spell("Hello")]))
    assert talk.ask("my secret") == "a secret"
    talk.card.misreads = 1
    assert talk.ask("Hi") == "Hello"
    assert talk.card.prompts == ["my secret", "my secret", "Hi"]


def test_a_prompt_that_cannot_be_read_at_all_is_an_error() -> None:
    talk = Talk(ScriptedCard([spell("a secret")]))
    talk.ask("my secret")
    talk.card.misreads = 2

    with pytest.raises(RuntimeMisbehaved, match="could not encode the prompt"):
        talk.ask("Hi")
    assert talk.card.idle


def test_a_run_that_never_was_is_an_error() -> None:
    talk = Talk(ScriptedCard([[]]))
    talk.card.log = RunLog()
    talk.card.log.feed = lambda _line: None  # as with a runtime that somebody else has started

    with pytest.raises(RuntimeMisbehaved, match="without any text"):
        talk.ask("Hi")
