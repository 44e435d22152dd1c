"""Going on from what the cache holds: only where it is exactly what the prompt begins with."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.errors import ClientGone, ProxyError
from axproxy.messages import ChatRequest, Limits, Message
from axproxy.prompts.fitting import Prompt, Window
from axproxy.prompts.renderer import TemplateRenderer
from axproxy.runtimes.main_api.kv_cache import (
    CachedPrompt,
    CacheVersion,
    Continuation,
    Segment,
    cache_after,
)
from axproxy.runtimes.main_api.run_log import RunLog
from axproxy.runtimes.main_api.runtime import MainApiRuntime
from tests.support.generators import completed
from tests.support.simulated import HOLE, Card, spell

ESCAPE = CacheVersion("first", 1, 1)
ENDS = ("<|im_end|>",)
WINDOW = Window(context=2559, prefill_limit=2048)

ASKED = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
NEXT = "<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n"
NO_THINKING = "<think>\n\n</think>\n\n"
THOUGHT = "<think>\nHm.\n</think>\n\n"


def held(prompt: str, reply: str) -> CachedPrompt:
    return cache_after(Prompt(prompt, len(prompt)), reply, len(reply), ESCAPE)


@pytest.mark.parametrize(
    ("prompt", "reply", "later", "rest"),
    [
        (ASKED, "Hello", ASKED + "Hello" + NEXT, NEXT),
        (ASKED, "Hello", ASKED + "Hello!" + NEXT, None),
        (ASKED, "Hello", ASKED + "Hell" + NEXT, None),
        (ASKED, "Hello", ASKED + "Hello there" + NEXT, None),
        (ASKED, "Hello", ASKED + "Hello", None),
        (ASKED, "Hello", "<|im_start|>system\nBe kind." + ASKED + "Hello" + NEXT, None),
        (ASKED, "", ASKED + NEXT, NEXT),
        (ASKED, "Hello", ASKED + NEXT, None),
        # The template drops what was thought, and the block that forbids it.
        (ASKED + NO_THINKING, "Hello", ASKED + "Hello" + NEXT, NEXT),
        (ASKED + NO_THINKING, "Hello", ASKED + NO_THINKING + "Hello" + NEXT, NEXT),
        (ASKED, THOUGHT + "Hello", ASKED + "Hello" + NEXT, NEXT),
        (ASKED, THOUGHT + "Hello", ASKED + THOUGHT + "Hello" + NEXT, NEXT),
        (ASKED + "<think>\n", "Hm.\n</think>\n\nHello", ASKED + "Hello" + NEXT, NEXT),
        # Other thoughts than those that were thought are another conversation.
        (ASKED, THOUGHT + "Hello", ASKED + NO_THINKING + "Hello" + NEXT, None),
        (ASKED + "<think>\n", "still at it", ASKED + NEXT, None),
        # A block in the middle of an answer is a part of it.
        (ASKED, "See: " + THOUGHT + "Hello", ASKED + "See: Hello" + NEXT, None),
    ],
)
def test_what_the_cache_lacks(prompt: str, reply: str, later: str, rest: str | None) -> None:
    assert held(prompt, reply).rest_of(later, ENDS) == rest


def test_a_thought_that_a_user_types_is_never_left_out() -> None:
    typed = ASKED.replace("Hi", f"Hi {THOUGHT}")
    assert held(typed, "Hello").rest_of(ASKED + "Hello" + NEXT, ENDS) is None


@pytest.mark.parametrize(
    ("cached", "new", "fits"),
    [
        (100, 2, True),
        (100, 1, False),  # a single token overruns the group of one
        (100, 1920, True),
        (100, 1921, False),  # whole chunks only
        (1921, 2, False),
        (1920, 128, True),
        (1920, 129, False),
    ],
)
def test_beside_a_filled_cache_only_whole_chunks_fit(cached: int, new: int, fits: bool) -> None:
    before = CachedPrompt((Segment("x"),), cached, ESCAPE)
    assert Continuation(before, Prompt("y", new)).fits(WINDOW) is fits


@pytest.mark.parametrize(
    ("cached", "prompt", "asked_for", "enough"),
    [
        (500, 520, None, True),
        (540, 520, None, True),  # blocks that forbid to think
        (1010, 520, None, True),
        (1050, 520, None, False),  # of 2040 tokens more than a quarter would be lost
        (1050, 520, 100, True),
        (1010, 520, 1530, True),
        (1010, 520, 1531, False),
        (1010, 520, 5000, True),  # that would not fit an empty cache either
        (1900, 520, 5000, False),
        (1900, 1920, None, True),
    ],
)
def test_thinking_that_is_still_in_the_cache_does_not_cut_the_next_answer(
    cached: int, prompt: int, asked_for: int | None, enough: bool
) -> None:
    found = Continuation(CachedPrompt((Segment("x"),), cached, ESCAPE), Prompt("y", 20))
    assert found.leaves_room(WINDOW, Prompt("z", prompt), asked_for) is enough


class OneCard:
    """A unit whose runtime is the card; `wait_ready` brings it back."""

    def __init__(self, card: Card) -> None:
        self.card = card

    def until_ready(self, gone: object, hold: float) -> Generator[None, None, None]:
        self.wait_ready(gone, hold)
        yield from ()

    def wait_ready(self, _gone: object, _hold: float) -> None:
        if not self.card.alive:
            self.card.restart()

    def window(self) -> Window:
        return WINDOW

    def pid(self) -> int:
        return 1

    def run_log(self) -> RunLog:
        return RunLog()

    def interruption(self) -> None:
        return None

    def why_gone(self, _pid: object) -> str:
        return "it died"

    def restart(self, _reason: str, _pid: object) -> bool:
        return False


class Talk:
    """Conversations with a card in virtual time, as an engine leads them."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.prompts = TemplateRenderer(card, card.info())
        self.supervisor = OneCard(card)
        self.runtime = MainApiRuntime(
            self.supervisor,
            self.supervisor,
            card,
            lambda: card,
            lambda: self.prompts,
            clock=card.clock,
            sleep=card.sleep,
        )

    def ask(
        self,
        *turns: tuple[str, str],
        gone: Any = lambda: False,
        limits: Any = None,
        client: str = "",
    ) -> str:
        messages = tuple(Message(*turn) for turn in turns)
        request = ChatRequest(messages, limits=limits or Limits(), client=client)
        prepared = self.runtime.prepare(request, lambda: False, wait=False)
        self.wanted = prepared.prompt.text
        texts, self.result = completed(self.runtime.run(prepared, gone))
        return "".join(texts)

    @property
    def hits(self) -> int:
        return self.runtime.cache_health().hits

    @property
    def misses(self) -> int:
        return self.runtime.cache_health().misses

    def rendered(self, request: ChatRequest) -> Prompt:
        return self.prompts.render(request, WINDOW)


def user(text: str) -> tuple[str, str]:
    return ("user", text)


def said(text: str) -> tuple[str, str]:
    return ("assistant", text)


def test_the_next_turn_of_a_conversation_sends_the_new_turn_only() -> None:
    talk = Talk(Card([spell("Hello"), spell("Well")]))
    talk.ask(user("Hi"))
    talk.ask(user("Hi"), said("Hello"), user("And?"))

    assert talk.card.prompts[1] == NEXT
    assert talk.card.seen[1] == talk.wanted
    assert (talk.hits, talk.misses) == (1, 1)


@pytest.mark.parametrize("thought", ["a secret", "", "\n\n"])
@pytest.mark.parametrize("client", ["alice", "mallory"])
def test_only_the_same_client_goes_on_from_thinking_that_it_leaves_out(
    client: str, thought: str
) -> None:
    talk = Talk(Card([spell(f"<think>{thought}</think>Hello"), spell("Well")]))
    talk.ask(user("Hi"), client="alice")
    talk.ask(user("Hi"), said("Hello"), user("And?"), client=client)

    knows = "a secret" in talk.card.seen[1]
    assert knows == (client == "alice" and thought == "a secret")
    assert talk.hits == (client == "alice" or thought != "a secret")


def test_another_client_that_sends_all_of_a_conversation_goes_on_from_the_cache() -> None:
    talk = Talk(Card([spell("Hello"), spell("Well")]))
    talk.ask(user("Hi"), client="alice")
    talk.ask(user("Hi"), said("Hello"), user("And?"), client="mallory")
    assert talk.hits == 1


def test_the_tenth_turn_is_as_short_as_the_second() -> None:
    talk = Talk(Card([spell("Hello")]))
    history: list[tuple[str, str]] = []
    for _ in range(10):
        history.append(user("And?"))
        history.append(said(talk.ask(*history)))

    assert talk.card.prompts[1:] == [NEXT] * 9
    assert talk.card.seen[-1] == talk.wanted


def test_long_thoughts_are_read_out_of_the_cache_by_a_reset() -> None:
    thought = f"<think>\n{'Hm. ' * 200}</think>\n\n"
    talk = Talk(Card([spell(thought + "Hello")], template=FORGETFUL))
    talk.ask(user("Hi"))
    talk.ask(user("Hi"), said("Hello"), user("And?"))
    assert (talk.hits, talk.card.seen[1]) == (0, talk.wanted)

    talk.ask(user("Hi"))
    talk.ask(user("Hi"), said("Hello"), user("And?"), limits=Limits(max_tokens=1500))
    assert talk.hits == 1  # there is room for all that may be said


def test_a_conversation_longer_than_the_window_still_goes_on_from_the_cache() -> None:
    talk = Talk(Card([spell("word " * 12)]))
    history: list[tuple[str, str]] = []
    for number in range(60):
        history.append(user(f"And number {number}?"))
        history.append(said(talk.ask(*history)))
        assert talk.card.seen[-1] == talk.wanted

    assert not talk.wanted.startswith("<|im_start|>user\nAnd number 0?")
    assert talk.misses < 12


def test_another_conversation_begins_with_a_reset() -> None:
    talk = Talk(Card([spell("Hello")]))
    talk.ask(user("Hi"))
    talk.ask(user("Hi"), said("Hello, my dear"), user("And?"))

    assert talk.card.seen[1] == talk.wanted
    assert talk.hits == 0


def test_after_an_answer_that_was_cut_the_cache_is_not_used() -> None:
    for limits in (Limits(max_tokens=2), Limits(stop=("ll",))):
        talk = Talk(Card([spell("Hello"), spell("Well")]))
        heard = talk.ask(user("Hi"), limits=limits)
        talk.ask(user("Hi"), said(heard), user("And?"))

        assert HOLE not in talk.card.seen[1]
        assert talk.card.seen[1] == talk.wanted
        assert talk.hits == 0


def test_a_new_runtime_has_an_empty_cache() -> None:
    talk = Talk(Card([spell("Hello"), spell("Well")]))
    talk.ask(user("Hi"))
    talk.card.restart()
    talk.ask(user("Hi"), said("Hello"), user("And?"))

    assert talk.card.seen[1] == talk.wanted
    assert talk.hits == 0


def test_a_new_tokenizer_makes_a_reset() -> None:
    talk = Talk(Card([spell("Hello"), spell("Well")]))
    talk.ask(user("Hi"))
    talk.card.restart_tokenizer()
    talk.ask(user("Hi"), said("Hello"), user("And?"))

    assert talk.card.seen[1] == talk.wanted
    assert talk.hits == 0


class Meddled(Card):
    """A stranger on the port does `mischief` just before a run of ours is accepted, once."""

    mischief: Callable[[], object] | None = None

    def generate(self, prompt: str, sampling: object) -> bool:
        mischief, self.mischief = self.mischief, None
        if mischief:
            mischief()
        return super().generate(prompt, sampling)


def test_a_cache_that_a_stranger_empties_at_the_last_moment_is_not_gone_on_from() -> None:
    card = Meddled([spell("Hello"), spell("Well")])
    talk = Talk(card)
    talk.ask(user("Hi"))

    def empty() -> None:
        card.reset()
        card.advance(1)

    card.mischief = empty
    talk.ask(user("Hi"), said("Hello"), user("And?"))

    assert card.seen[-1] == talk.wanted
    assert talk.hits == 0


def test_a_reset_of_ours_that_gets_lost_is_noticed() -> None:
    card = Meddled([spell("Hello"), spell("Well")])
    talk = Talk(card)
    talk.ask(user("Secret"))

    def lose_reset() -> None:  # as the vendor's program does when a chat comes first
        card.advance(1)
        card.cache = card.seen[0]
        card.trace_of_runs._resets -= 1

    card.mischief = lose_reset
    assert talk.ask(user("Hi")) == "Well"

    assert card.seen[-1] == talk.wanted


def test_a_reset_between_the_end_of_an_answer_and_our_last_look_is_noticed() -> None:
    card = Card([spell("Hello"), spell("Well")])
    talk = Talk(card)
    trace = card.trace

    def emptied_after_the_answer(*args: Any, **kwargs: Any) -> Any:
        if card.idle and card.seen and card.cache:
            card.reset()
            card.advance(1)
        return trace(*args, **kwargs)

    card.trace = emptied_after_the_answer  # type: ignore[method-assign]  # a stranger, this once
    talk.ask(user("Hi"))
    card.trace = trace  # type: ignore[method-assign]  # and the stranger is gone
    talk.ask(user("Hi"), said("Hello"), user("And?"))

    assert card.seen[-1] == talk.wanted


def test_half_a_character_in_the_cache_is_no_text() -> None:
    talk = Talk(Card([[*spell("He"), 0, *spell("y")], spell("Well")]))
    heard = talk.ask(user("Hi"))
    assert heard == "Hey"  # the runtime would have cut the text at the NUL
    talk.ask(user("Hi"), said(heard), user("And?"))

    assert talk.hits == 0


def test_the_whole_prompt_counts_whatever_the_cache_has() -> None:
    talk = Talk(Card([spell("Hello"), spell("Well")]))
    talk.ask(user("Hi"))
    talk.ask(user("Hi"), said("Hello"), user("And?"))

    assert talk.hits == 1
    assert talk.result.prompt_tokens == len(talk.wanted)


def test_an_answer_on_a_filled_cache_ends_where_the_program_would_end_it() -> None:
    talk = Talk(Card([spell("Hello"), spell("x" * 3000)]))
    talk.ask(user("Hi"))
    talk.ask(user("Hi"), said("Hello"), user("And?"))

    assert talk.hits == 1
    assert talk.result.reason == "length"
    assert talk.result.completion_tokens == WINDOW.context - len(talk.card.seen[1]) + 1


def test_what_died_before_it_said_anything_is_tried_once_more() -> None:
    talk = Talk(Card([spell("Hello")], dies_at_token=0))
    with pytest.raises(ProxyError, match="it died"):
        talk.ask(user("Hi"))
    assert len(talk.card.prompts) == 2

    talk.card.restart()
    died = talk.card.prompts.copy()
    talk.card.dies_at_token = 0

    def mends(_gone: object, _hold: float) -> None:
        talk.card.dies_at_token = None
        talk.card.restart()

    talk.supervisor.wait_ready = mends  # type: ignore[method-assign]  # this once, it helps
    assert talk.ask(user("Hi")) == "Hello"
    assert len(talk.card.prompts) == len(died) + 2


def test_half_an_answer_is_never_begun_again() -> None:
    talk = Talk(Card([spell("Hello")], dies_at_token=4))
    with pytest.raises(ProxyError, match="it died"):
        talk.ask(user("Hi"))

    assert len(talk.card.prompts) == 1


def test_a_beginning_that_was_warmed_is_not_sent_again() -> None:
    talk = Talk(Card([spell("Hello")]))
    before = ("system", "Be kind.")
    request = ChatRequest((Message(*before), Message("user", "Hi")))
    beginning = talk.prompts.beginning(request)
    assert beginning
    assert beginning.text == "<|im_start|>system\nBe kind."
    talk.runtime.warm(beginning)
    talk.ask(before, user("Hi"))

    assert talk.card.prompts[0].startswith("<|im_end|>\n<|im_start|>user\nHi")
    assert talk.card.seen[0] == talk.wanted
    assert talk.hits == 1


def test_a_beginning_that_somebody_displaced_is_not_believed_in() -> None:
    talk = Talk(Card([spell("Hello")]))
    talk.runtime.warm(Prompt("<|im_start|>system\nBe kind.", 27))
    talk.card.reset()
    talk.card.advance(1)
    talk.ask(("system", "Be kind."), user("Hi"))

    assert talk.card.seen[0] == talk.wanted
    assert talk.hits == 0


def test_requests_without_system_and_tools_have_no_beginning_in_common() -> None:
    prompts = Talk(Card()).prompts
    hi = Message("user", "Hi")

    assert prompts.beginning(ChatRequest((hi,))) is None
    assert prompts.beginning(ChatRequest((Message("system", "x"), hi), raw=True)) is None


TURN = "<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1].lstrip() }}<|im_end|>\n"
FORGETFUL = f"{{% for m in messages %}}{TURN}{{% endfor %}}<|im_start|>assistant{{{{ '\\n' }}}}"
WORDS = st.text("ab", max_size=3)
STEP = st.fixed_dictionaries(
    {
        "says": WORDS,
        "answer": st.tuples(st.sampled_from(["", THOUGHT]), WORDS.filter(bool)),
        "goes_on": st.integers(0, 3).map(bool),
        "limits": st.sampled_from([Limits()] * 4 + [Limits(max_tokens=2), Limits(stop=("b",))]),
        "leaves_after": st.sampled_from([None] * 4 + [0.02, 0.09]),
        "before": st.sampled_from([None] * 6 + ["runtime", "tokenizer", "stranger", "warmth"]),
    }
)


def without_thoughts(text: str) -> str:
    return re.sub(r"<think>.*?</think>\s*", "", text, flags=re.DOTALL)


@given(steps=st.lists(STEP, min_size=2, max_size=6))
def test_the_model_always_sees_the_prompt_of_the_request(steps: list[dict[str, Any]]) -> None:
    card = Card([spell("Hello")], template=FORGETFUL)
    talk = Talk(card)
    history: list[tuple[str, str]] = []
    for step in steps:
        match step["before"]:
            case "runtime":
                card.restart()
            case "tokenizer":
                card.restart_tokenizer()
            case "warmth":
                talk.runtime.warm(Prompt("<|im_start|>user\na", 17))
            case "stranger":
                card.generate("somebody else", None)
                card.advance(10)
        thought, words = step["answer"]
        card.answers = [spell(thought + words)]
        history = [*history, user(step["says"])] if step["goes_on"] else [user(step["says"])]
        leaves_at = card.now + (step["leaves_after"] or 1e9)
        runs, heard = len(card.seen), ""
        with contextlib.suppress(ClientGone):
            heard = talk.ask(
                *history, limits=step["limits"], gone=lambda at=leaves_at: card.now >= at
            )
        if len(card.seen) > runs:
            assert without_thoughts(card.seen[-1]) == talk.wanted
        history.append(said(heard.split("</think>")[-1].lstrip()))
