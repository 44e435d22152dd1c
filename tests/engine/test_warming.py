"""What is worth keeping in the KV cache while no request comes, and when it is read again."""

from __future__ import annotations

import math

import pytest

from axproxy.engine.warming import WarmingPolicy, WarmingTimes
from axproxy.health import CacheHealth
from axproxy.messages import ChatRequest, Finished, Message
from axproxy.prompts.fitting import Prompt
from axproxy.prompts.renderer import TemplateRenderer
from tests.engine.test_engine import Bench, virtual_time  # noqa: F401 - a fixture
from tests.support.simulated import Card, spell
from tests.support.waiting import eventually

HOUSE = Prompt("<system>The lamps of the house", 1500)
TITLES = Prompt("<system>Give it a title", 300)
SHORT = Prompt("<system>Be kind", 20)
POLICY = WarmingTimes()


def after(*used: Prompt | None) -> WarmingPolicy:
    warmth = WarmingPolicy(POLICY)
    for beginning in used:
        warmth.used(beginning)
    return warmth


@pytest.mark.parametrize(
    ("used", "candidate"),
    [
        ((), None),
        ((HOUSE,), None),  # once is no habit
        ((HOUSE, HOUSE), HOUSE),
        ((SHORT, SHORT, SHORT), None),  # read in no time
        ((HOUSE, TITLES, TITLES, HOUSE, HOUSE), HOUSE),
        ((HOUSE, HOUSE, *[TITLES] * 32), TITLES),  # what was is forgotten
        ((*[HOUSE] * 16, TITLES, TITLES), HOUSE),
        ((*[HOUSE] * 16, *[TITLES] * 4), TITLES),  # soon: it may be the new day's
        ((HOUSE, HOUSE, *[None] * 31), None),  # also where no other request has a system prompt
    ],
)
def test_the_candidate_is_what_was_used_most_of_late(
    used: tuple[Prompt | None, ...], candidate: Prompt | None
) -> None:
    assert after(*used).candidate() == candidate


@pytest.mark.parametrize(
    ("cached", "due"),
    [
        ("", 100 + POLICY.after_others),
        ("<system>Give it a title</system>", 100 + POLICY.after_others),
        (HOUSE.text + "</system><user>Hi</user>", 100 + POLICY.after_talk),
        (HOUSE.text, math.inf),
    ],
)
def test_the_cache_is_left_to_a_conversation_for_longer_than_to_other_requests(
    cached: str, due: float
) -> None:
    assert after(HOUSE, HOUSE).due(cached, quiet_since=100) == due
    assert after(HOUSE).due(cached, quiet_since=100) == math.inf


def test_a_conversation_stays_in_the_cache_between_two_of_its_turns() -> None:
    theirs = "<user>Hi</user>Hello"
    assert after(HOUSE, HOUSE).due(theirs, 100, talking=True) == 100 + POLICY.after_talk


def test_a_client_that_sends_a_history_is_in_a_conversation() -> None:
    bench = Bench(Card([spell("Hello")]), AX650_CONTEXT_LENGTH="300")
    policy = WarmingTimes(least_tokens=5, least_uses=1, after_others=0.0)
    warmer = bench.engine._warmer
    warmer._policy = WarmingPolicy(policy)
    bench.supervisor.chunk = 8
    warmer.start()
    try:
        bench.events(ChatRequest((Message("system", "lamps"), Message("user", "on"))))
        turns = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "And?"))
        bench.events(ChatRequest(turns))
        eventually(lambda: not warmer._answered)
        bench.events(ChatRequest((*turns, Message("assistant", "Hello"), Message("user", "So?"))))
    finally:
        warmer.stop()

    assert bench.card.prompts[-1].startswith("<|im_end|>\n<|im_start|>user\nSo?")


def test_a_displaced_system_prompt_is_read_again_in_a_quiet_moment() -> None:
    bench = Bench(Card([spell("Hello")]), AX650_CONTEXT_LENGTH="300")
    policy = WarmingTimes(least_tokens=5, least_uses=1, after_others=0.0)
    bench.engine._warmer._policy = WarmingPolicy(policy)
    bench.supervisor.chunk = 8
    house = Message("system", "lamps")
    bench.engine._warmer.start()
    try:
        for words in ("on", "off"):
            *_, finished = bench.events(ChatRequest((house, Message("user", words))))
            assert isinstance(finished, Finished)
            bench.events(ChatRequest((Message("user", "another client"),)))
            eventually(lambda: bench.card.cache == "<|im_start|>system\nlamps")
            eventually(lambda: not bench.engine.health().queue.answering)
    finally:
        bench.engine._warmer.stop()

    assert bench.card.prompts[2] == (
        "<|im_end|>\n<|im_start|>user\noff<|im_end|>\n<|im_start|>assistant\n"
    )
    assert bench.engine.health().kv_cache == CacheHealth(hits=1, misses=3)


def test_what_is_not_to_be_kept_warm_is_not_kept_at_all() -> None:
    bench = Bench(Card([spell("Hello")]))
    bench.events(ChatRequest((Message("user", "my secret"),)))

    assert not bench.engine._warmer._answered  # its thread was never started


def test_the_warmer_survives_an_unexpected_error() -> None:
    bench = Bench(Card([spell("Hello")]))
    warmer = bench.engine._warmer
    mistakes = [TypeError("what?")]
    remembered: list[ChatRequest] = []

    def beginning(request: ChatRequest) -> None:
        if mistakes:
            raise mistakes.pop()
        remembered.append(request)

    warmer._runtime.beginning = beginning  # type: ignore[method-assign]  # it fails once
    warmer.start()
    try:
        bench.events()
        eventually(lambda: not mistakes)
        bench.events()
        eventually(lambda: remembered)
    finally:
        warmer.stop()


def test_a_template_without_control_tokens_has_no_beginning_that_is_known() -> None:
    card = Card(template="[INST] {{ messages[0].content }} {{ messages[1].content }} [/INST]")
    prompts = TemplateRenderer(card, card.info())

    assert prompts.beginning(ChatRequest((Message("system", "x"), Message("user", "y")))) is None
