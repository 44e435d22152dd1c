"""Whole requests: refused, queued, answered, broken off."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Generator
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from axproxy.engine import queue
from axproxy.errors import (
    Busy,
    CardFailed,
    ClientGone,
    GaveUp,
    PromptTooLong,
    ProxyError,
    Restarting,
    RuntimeGone,
    RuntimeStalled,
    Starting,
    TokenizerGone,
    Unavailable,
    Unloaded,
)
from axproxy.health import CacheHealth, ChildHealth, RuntimeHealth
from axproxy.messages import ChatRequest, Finished, Limits, Message, Text, ToolCall
from axproxy.models.description import describe_model
from axproxy.prompts.fitting import Window
from axproxy.runtimes.main_api.run_log import RunLog
from axproxy.settings import Settings
from tests.support.engines import engine_on
from tests.support.simulated import Card, Times, spell
from tests.support.waiting import eventually


class FakeSupervisor:
    """Processes whose state the test decides."""

    def __init__(self) -> None:
        self.problem: ProxyError | None = None
        self.stopped_from_outside: ProxyError | None = None
        self.wedged: list[str] = []
        self.calls: list[str] = []
        self.log = RunLog()
        self.chunk = 128

    def start(self, tell: object) -> None:
        self.calls.append("start")

    def leave(self) -> None:
        self.calls.append("leave")

    def stop(self) -> None:
        self.calls.append("stop")

    def load(self) -> None:
        self.calls.append("load")

    def order_restart(self) -> None:
        self.calls.append("order_restart")

    def until_ready(self, gone: object, hold: float = math.inf) -> Generator[None, None, None]:
        self.wait_ready(gone, hold)
        yield from ()

    def wait_ready(self, _gone: object, _hold: float = math.inf) -> None:
        self.calls.append("wait")
        if self.problem:
            raise self.problem

    def window(self) -> Window:
        return Window(context=300, prefill_limit=200, prefill_chunk=self.chunk)

    def known_window(self) -> Window | None:
        return self.window()

    def unload(self) -> None:
        self.calls.append("unload")

    def not_ready(self) -> ProxyError | None:
        return self.problem

    def run_log(self) -> RunLog:
        return self.log

    def pid(self) -> int:
        return 4711

    def interruption(self) -> ProxyError | None:
        return self.stopped_from_outside

    def restart(self, reason: str, _pid: int | None) -> bool:
        self.wedged.append(reason)
        return True

    def why_gone(self, pid: int | None) -> str:
        return f"{pid} was killed by SIGSEGV"

    def health(self) -> RuntimeHealth:
        return RuntimeHealth("ok", "vendor", ChildHealth("ready", since=0.0))


class Bench:
    """An engine on a card in virtual time."""

    def __init__(self, card: Card | None = None, **settings: str) -> None:
        self.card = card or Card([spell("Hello")])
        self.supervisor = FakeSupervisor()
        configured = Settings.from_env(settings)
        self.model = describe_model(configured)
        self.supervisor.owns_processes = configured.runtime_kind != "attach"
        self.engine = engine_on(
            configured, self.supervisor, tokenizer=self.card, connect=lambda: self.card
        )

    def events(self, request: ChatRequest | None = None, gone: Any = lambda: False) -> list[Any]:
        answer = self.engine.answer(self.model, request or asking("why?"), gone)
        try:
            return list(answer)
        finally:
            answer.close()


def asking(*turns: str, limits: Limits | None = None) -> ChatRequest:
    roles = itertools.cycle(["user", "assistant"])
    messages = tuple(Message(role, text) for role, text in zip(roles, turns, strict=False))
    return ChatRequest(messages, limits=limits or Limits())


@pytest.fixture(autouse=True)
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generations take their clock from the card that they talk to."""
    from axproxy.runtimes.main_api import runtime

    real = runtime.Generation

    def on_the_cards_clock(card: Card, tokenizer: Card, window: Window, **how: Any) -> Any:
        how |= {"clock": card.clock, "sleep": card.sleep}
        return real(card, tokenizer, window, **how)

    monkeypatch.setattr(runtime, "Generation", on_the_cards_clock)


def test_an_answer_is_texts_and_one_ending_with_exact_counts() -> None:
    bench = Bench()
    *texts, finished = bench.events()

    assert "".join(text.text for text in texts) == "Hello"
    assert all(isinstance(text, Text) for text in texts)
    assert isinstance(finished, Finished)
    assert finished.reason == "stop"
    assert finished.usage.completion_tokens == 5
    assert finished.usage.prompt_tokens == len(bench.card.prompts[0])


def test_the_prompt_goes_through_the_template_up_to_the_assistants_words() -> None:
    bench = Bench()
    bench.events(asking("why?", "because", "really?"))

    assert bench.card.prompts == [
        "<|im_start|>user\nwhy?<|im_end|>\n<|im_start|>assistant\nbecause<|im_end|>\n"
        "<|im_start|>user\nreally?<|im_end|>\n<|im_start|>assistant\n"
    ]


def test_a_control_token_that_a_client_types_is_not_one_in_the_prompt() -> None:
    bench = Bench()
    bench.events(asking("a<|im_end|>b"))

    assert bench.card.prompts[0].count("<|im_end|>") == 1


def test_raw_prompts_pass_untouched() -> None:
    bench = Bench()
    bench.events(ChatRequest((Message("user", "Once upon"),), raw=True))

    assert bench.card.prompts == ["Once upon"]


def test_the_oldest_turns_go_when_the_window_is_full() -> None:
    bench = Bench()
    bench.events(asking("first" * 10, "second" * 10, "third"))

    assert "first" not in bench.card.prompts[0]
    assert "third" in bench.card.prompts[0]


def test_a_last_message_that_is_too_long_is_cut_where_the_request_allows_it() -> None:
    bench = Bench()
    request = asking("old", "answer", "x" * 10_000)
    *_, finished = bench.events(replace(request, truncate="text"))

    (prompt,) = bench.card.prompts
    assert "old" not in prompt
    assert "x\n[... a part of this text is left out here" in prompt
    assert 180 < finished.usage.prompt_tokens == len(prompt) <= 200


def test_a_conversation_that_is_too_long_is_refused_where_the_request_forbids_to_cut_it() -> None:
    bench = Bench()
    request = asking("first" * 10, "second" * 10, "third")

    with pytest.raises(PromptTooLong):
        bench.events(replace(request, truncate="nothing"))
    context = replace(asking("why?"), context=(ord("x"),) * 190)
    assert bench.events(context)[-1].reason == "stop"
    with pytest.raises(PromptTooLong, match="leave the context out"):
        bench.events(replace(context, truncate="nothing"))


@pytest.mark.parametrize("length", [200, 10_000_000])
def test_a_prompt_that_cannot_fit_never_reaches_the_runtime(length: int) -> None:
    bench = Bench()

    with pytest.raises(PromptTooLong, match="reads at most 200"):
        bench.events(asking("x" * length))
    assert bench.card.prompts == []
    assert bench.card.now == 100.0  # not even called


def test_a_request_waits_for_the_load_and_is_fitted_to_the_window_that_is_then_known() -> None:
    bench = Bench()
    bench.supervisor.problem = Starting("the model is being loaded (42 %)")
    windows = []

    def loads(_gone: object, _hold: float) -> None:
        assert not windows
        bench.supervisor.problem = None

    def window() -> Window:
        windows.append(bench.supervisor.problem)
        return Window(context=300, prefill_limit=200)

    bench.supervisor.wait_ready, bench.supervisor.window = loads, window
    assert bench.events()[-1].reason == "stop"
    assert windows[0] is None


def test_a_restart_that_takes_too_long_is_an_error_with_the_time_to_retry() -> None:
    bench = Bench()
    bench.supervisor.problem = Restarting("the runtime failed and is started again", retry_after=9)

    with pytest.raises(Restarting) as raised:
        bench.events()
    assert raised.value.retry_after == 9
    assert bench.supervisor.calls == ["wait"]
    assert not bench.engine.health().queue.answering


def test_nothing_is_accepted_once_the_runtime_was_given_up() -> None:
    bench = Bench()
    bench.supervisor.problem = GaveUp("fix it, then POST /restart")

    with pytest.raises(GaveUp):
        bench.engine.answer(bench.model, asking("why?"), lambda: False)


def test_a_request_that_waited_looks_again_before_it_runs() -> None:
    bench = Bench()
    answer = bench.engine.answer(bench.model, asking("why?"), lambda: False)
    bench.supervisor.problem = Unavailable("the service is being stopped")

    with pytest.raises(Unavailable):
        next(answer)
    assert bench.card.prompts == []


def test_one_address_cannot_keep_others_out_of_the_queue() -> None:
    bench = Bench(Card([spell("first" * 100)]), AX650_MAX_QUEUE="2")
    greedy, other = (replace(asking("one"), address=name) for name in ("10.0.0.1", "10.0.0.2"))
    answers = [
        bench.engine.answer(bench.model, request, lambda: False)
        for request in (greedy, greedy, greedy, other)
    ]
    running, first, second, late = answers
    next(running)
    for answer in (first, second, late):
        assert next(answer) == Text("")

    with pytest.raises(Busy):
        next(second)
    assert bench.engine.health().queue.waiting == 2
    assert next(first) == next(late) == Text("")
    for answer in answers:
        answer.close()


TOOLS = ({"type": "function", "function": {"name": "lamp", "parameters": {}}},)
CALL = '<tool_call>\n{"name": "lamp", "arguments": {}}\n</tool_call>'


def test_the_result_of_a_tool_goes_on_before_another_clients_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The prompt of the call is in the cache, and another's turn would empty it."""
    monkeypatch.setattr(FakeSupervisor, "window", lambda _self: Window(8000, 6000, 128))
    bench = Bench(Card([spell(CALL), spell("It is on."), spell("Hello")]))
    first = replace(asking("light! " * 50), address="house", tools=TOOLS)
    answer = bench.engine.answer(bench.model, first, lambda: False)
    next(answer)
    other = bench.engine.answer(bench.model, replace(asking("hi"), address="ann"), lambda: False)
    assert next(other) == Text("")
    events = list(answer)
    answer.close()
    assert any(isinstance(event, ToolCall) for event in events)
    # The small template writes no calls, but text as it is.
    said = (Message("assistant", CALL), Message("user", "done"))
    second = replace(first, messages=(*first.messages, *said))
    assert next(other) == Text("")  # the card is kept
    bench.events(second)
    assert list(other)[-1].reason == "stop"
    assert ["hi" in prompt for prompt in bench.card.prompts] == [False, False, True]
    cache = bench.engine.health().kv_cache
    assert cache
    assert (cache.hits, cache.misses) == (1, 2)


def test_closing_an_answer_that_was_never_begun_holds_nothing_up() -> None:
    bench = Bench()
    bench.engine.answer(bench.model, asking("one"), lambda: False).close()

    assert bench.events()[-1].reason == "stop"


def test_closing_in_mid_answer_frees_the_card_for_the_next() -> None:
    bench = Bench(Card([spell("first" * 100), spell("second")]))
    answer = bench.engine.answer(bench.model, asking("one"), lambda: False)
    next(answer)
    answer.close()
    answer.close()

    assert bench.card.idle
    assert "".join(event.text for event in bench.events()[:-1]) == "second"


def test_the_turn_is_free_before_the_last_line_is_written() -> None:
    bench = Bench()
    answer = bench.engine.answer(bench.model, asking("one"), lambda: False)
    while not isinstance(next(answer), Finished):
        pass

    assert not bench.engine.health().queue.answering


def test_a_full_line_is_busy_and_the_others_are_served_in_order() -> None:
    bench = Bench(Card([spell(letter * 3) for letter in "abc"]), AX650_MAX_QUEUE="1")
    first = bench.engine.answer(bench.model, asking("1"), lambda: False)
    next(first)
    second: list[Any] = []
    waiting = threading.Thread(target=lambda: second.extend(bench.events(asking("2"))))
    waiting.start()
    eventually(lambda: bench.engine.health().queue.waiting == 1)

    with pytest.raises(Busy, match="maximum pending requests"):
        bench.events(asking("3"))
    list(first)
    waiting.join(60)
    assert second[-1].reason == "stop"
    assert len(bench.card.prompts) == 2


def test_a_client_that_leaves_the_line_does_not_run() -> None:
    bench = Bench()
    first = bench.engine.answer(bench.model, asking("1"), lambda: False)
    next(first)
    with pytest.raises(ClientGone):
        bench.events(asking("2"), gone=lambda: True)
    first.close()

    assert len(bench.card.prompts) == 1


def test_an_error_names_why_the_runtime_died() -> None:
    bench = Bench(Card([spell("abcdef")], dies_at_token=4))

    with pytest.raises(RuntimeGone, match="4711 was killed by SIGSEGV"):
        bench.events()
    assert not bench.engine.health().queue.answering


def test_a_stall_is_reported_to_the_supervisor_at_once() -> None:
    bench = Bench(Card([spell("abcdef")], hangs_at_token=4), AX650_STALL_TIMEOUT="5")

    with pytest.raises(RuntimeStalled):
        bench.events()
    assert len(bench.supervisor.wedged) == 1
    assert not bench.engine.health().queue.answering


def test_a_card_that_failed_has_the_runtime_restarted_and_the_answer_is_an_error() -> None:
    bench = Bench(Card([spell("abcdef")]))
    bench.supervisor.log.feed("[2025-11-09 08:46:00.029][1][W][device manager]: device 1 is dead")

    with pytest.raises(CardFailed, match="device 1 is dead"):
        bench.events()
    assert "the card failed while answering" in bench.supervisor.wedged[0]
    assert bench.card.idle
    assert not bench.engine.health().queue.answering


def test_a_run_that_cannot_be_stopped_is_reported_too() -> None:
    bench = Bench(Card([spell("abcdef" * 10)], times=Times(final=1e9)))
    answer = bench.engine.answer(bench.model, asking("one"), lambda: False)
    next(answer)
    answer.close()

    assert "did not stop" in bench.supervisor.wedged[0]


def test_an_answer_cut_by_our_own_stop_is_an_error() -> None:
    bench = Bench(Card([spell("abcdef" * 10)]))
    answer = bench.engine.answer(bench.model, asking("one"), lambda: False)
    next(answer)
    bench.supervisor.stopped_from_outside = Unavailable("the service is being stopped")

    with pytest.raises(Unavailable):
        list(answer)


def test_load_brings_an_unloaded_model_back_but_not_what_was_given_up() -> None:
    bench = Bench()
    bench.supervisor.problem = Unloaded("not on the card")

    def loads(_gone: object, _hold: float) -> None:
        bench.supervisor.problem = None

    bench.supervisor.wait_ready = loads
    bench.engine.load(bench.model, lambda: False)
    assert bench.supervisor.calls == ["load"]

    bench = Bench()
    bench.supervisor.problem = GaveUp("fix it, then POST /restart")
    with pytest.raises(GaveUp):
        bench.engine.load(bench.model, lambda: False)
    assert "load" not in bench.supervisor.calls


def test_a_restart_recycles_a_runtime_that_is_ready() -> None:
    bench = Bench()
    bench.engine.restart()

    assert bench.supervisor.wedged == []  # that would count as a failure
    assert bench.supervisor.calls == ["order_restart"]


@pytest.mark.parametrize(
    "problem",
    [
        GaveUp("fix it"),
        Unloaded("not on the card"),
        Starting("it loads"),
        Restarting("it is started again"),
    ],
)
def test_a_restart_starts_what_is_not_being_started(problem: ProxyError) -> None:
    bench = Bench()
    bench.supervisor.problem = problem
    bench.engine.restart()

    assert bench.supervisor.calls == ["order_restart"]
    assert bench.supervisor.wedged == []


def test_a_restart_says_why_there_can_be_none() -> None:
    bench = Bench()
    bench.supervisor.problem = Unavailable("the service is being stopped")
    with pytest.raises(Unavailable):
        bench.engine.restart()
    with pytest.raises(ProxyError, match="not ours to restart") as raised:
        Bench(AX650_RUNTIME="attach").engine.restart()
    assert raised.value.status_hint == 409


def test_a_request_waits_for_a_tokenizer_that_is_away_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    away = iter([True, True, True])

    def count(text: str) -> int:
        if next(away, False):
            raise TokenizerGone("refused")
        return len(text)

    monkeypatch.setattr(bench.card, "count", count)

    assert bench.events()[-1].reason == "stop"
    assert len(bench.card.prompts) == 1  # nothing was asked of the runtime, which would die of it


def test_a_request_does_not_wait_for_ever_for_the_tokenizer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()

    def count(_text: str) -> int:
        raise TokenizerGone("refused")

    monkeypatch.setattr(bench.card, "count", count)
    monkeypatch.setattr("axproxy.runtimes.main_api.runtime.RESTART_HOLD", 0.1)

    with pytest.raises(TokenizerGone):
        bench.events()
    assert bench.card.prompts == []
    assert not bench.engine.health().queue.answering


def test_an_unloaded_model_is_loaded_by_the_next_request() -> None:
    bench = Bench()
    bench.supervisor.problem = Unloaded("not on the card")

    def loads(_gone: object, _hold: float) -> None:
        bench.supervisor.calls.append("wait")
        bench.supervisor.problem = None

    bench.supervisor.wait_ready = loads
    assert bench.engine.not_ready() is None
    assert bench.engine.loaded() == ()
    assert bench.events()[-1].reason == "stop"
    assert bench.supervisor.calls == ["load", "wait"]


def test_a_request_that_waited_through_an_unload_has_it_loaded_again() -> None:
    bench = Bench()
    answer = bench.engine.answer(bench.model, asking("why?"), lambda: False)
    bench.supervisor.problem = Unloaded("not on the card")

    def loads(_gone: object, _hold: float) -> None:
        bench.supervisor.problem = None

    bench.supervisor.wait_ready = loads
    assert list(answer)[-1].reason == "stop"


def test_keep_alive_zero_unloads_after_the_answer() -> None:
    bench = Bench()
    bench.engine.start()
    bench.events(replace(asking("why?"), keep_alive=0.0))

    eventually(lambda: "unload" in bench.supervisor.calls)
    bench.engine.stop()


def test_unloading_waits_for_the_answer_that_runs() -> None:
    bench = Bench()
    bench.engine.start()
    answer = bench.engine.answer(bench.model, asking("why?"), lambda: False)
    next(answer)
    bench.engine.unload(bench.model)
    (loaded,) = bench.engine.loaded()
    assert loaded.expires_at
    assert loaded.expires_at <= datetime.now(UTC)  # `ollama ps` then prints "Stopping..."
    list(answer)

    eventually(lambda: "unload" in bench.supervisor.calls)
    bench.engine.stop()


def test_a_loaded_model_has_the_time_of_its_unloading() -> None:
    bench = Bench()
    assert [loaded.expires_at for loaded in bench.engine.loaded()] == [None]
    bench.events(replace(asking("why?"), keep_alive=300.0))

    (loaded,) = bench.engine.loaded()
    assert loaded.model == replace(bench.model, context_length=300)
    assert loaded.expires_at
    assert 290 < (loaded.expires_at - datetime.now(UTC)).total_seconds() <= 300


def test_a_loaded_model_has_the_name_that_was_used_last() -> None:
    bench = Bench()
    pirate = replace(bench.model, name="pirate:latest", base=bench.model.name)

    list(bench.engine.answer(pirate, asking("why?"), lambda: False))
    assert [loaded.model.name for loaded in bench.engine.loaded()] == ["pirate:latest"]
    bench.engine.load(bench.model, lambda: False)
    assert [loaded.model.name for loaded in bench.engine.loaded()] == [bench.model.name]
    bench.engine.load(pirate, lambda: False)
    assert [loaded.model.name for loaded in bench.engine.loaded()] == ["pirate:latest"]


def test_leaving_lets_the_running_answer_end_within_its_grace() -> None:
    bench = Bench(Card([spell("abc")], times=Times()))
    bench.engine.start()
    bench.engine.leave(grace=0.2)

    orders = [call for call in bench.supervisor.calls if call != "wait"]
    assert orders == ["start", "leave", "stop"]


def test_the_context_length_is_the_one_that_the_runtime_logged() -> None:
    assert Bench().engine.context_length() == 300


def test_a_context_goes_before_the_prompt_and_comes_back_longer() -> None:
    bench = Bench(Card([spell("Hello"), spell("Well")]))
    first = replace(asking("Hi"), wants_context=True)
    context = bench.events(first)[-1].context
    second = replace(asking("And?"), context=context, wants_context=True)
    longer = bench.events(second)[-1].context

    assert bench.card.detokenize(context).endswith("<|im_start|>assistant\nHello")
    assert bench.card.detokenize(longer) == (
        f"{bench.card.detokenize(context)}<|im_end|>\n"
        "<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\nWell"
    )
    assert bench.engine.health().kv_cache == CacheHealth(hits=1, misses=1)


def test_a_context_that_leaves_no_room_is_forgotten() -> None:
    bench = Bench()
    bench.events(replace(asking("why?"), context=tuple(spell("x" * 190))))

    assert "x" not in bench.card.prompts[0]


def test_a_context_comes_only_with_an_answer_whose_request_wants_it() -> None:
    assert Bench().events()[-1].context == ()


def test_the_keeper_waits_patiently_where_the_line_has_no_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(AX650_MAX_QUEUE="0", AX650_KEEP_ALIVE="0")
    ticket = bench.engine._queue.admit_at_once()
    assert ticket
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        ticket.give_back()  # the cache is warm

    its_time = SimpleNamespace(sleep=sleep, monotonic=time.monotonic)
    monkeypatch.setattr("axproxy.engine.engine.time", its_time)
    bench.engine.load(bench.model, lambda: False)
    bench.engine.start()
    try:
        eventually(lambda: "unload" in bench.supervisor.calls)
    finally:
        bench.engine.stop()

    assert pauses == [0.25]


@pytest.fixture
def alert_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "DISCONNECT_CHECK_INTERVAL", 0.005)


def test_a_request_in_line_gives_signs_of_life_and_then_its_answer(alert_queue: None) -> None:
    bench = Bench(Card([spell("first"), spell("second")]))
    first, second = (
        bench.engine.answer(bench.model, asking("why?"), lambda: False) for _ in range(2)
    )
    next(first)
    assert [next(second) for _ in range(5)] == [Text("")] * 5
    assert bench.engine.health().queue.waiting == 1

    list(first)
    assert "".join(event.text for event in second if isinstance(event, Text)) == "second"


@pytest.mark.parametrize("leave", ["close", "hang up"])
def test_a_request_that_has_given_signs_of_life_can_still_leave_the_line(
    leave: str, alert_queue: None
) -> None:
    bench, gone = Bench(), threading.Event()
    first = bench.engine.answer(bench.model, asking("why?"), lambda: False)
    second = bench.engine.answer(bench.model, asking("why?"), gone.is_set)
    next(first)
    next(second)
    if leave == "close":
        second.close()
    else:
        gone.set()
        with pytest.raises(ClientGone):
            next(second)

    assert bench.engine.health().queue.waiting == 0
    assert list(first)[-1].reason == "stop"
    assert bench.events()[-1].reason == "stop"


def test_a_full_queue_is_refused_before_any_sign_of_life() -> None:
    bench = Bench(AX650_MAX_QUEUE="0")
    running = bench.engine.answer(bench.model, asking("why?"), lambda: False)
    next(running)

    with pytest.raises(Busy):
        next(bench.engine.answer(bench.model, asking("why?"), lambda: False))
    running.close()


def test_a_load_gives_signs_of_life_and_so_does_a_load_that_fails() -> None:
    bench = Bench()
    bench.supervisor.problem = Unloaded("not on the card")
    failure: ProxyError | None = None

    def loads(_gone: object, _hold: float) -> Generator[None, None, None]:
        yield
        yield
        if failure:
            raise failure
        bench.supervisor.problem = None

    bench.supervisor.until_ready = loads
    assert bench.events()[:2] == [Text("")] * 2

    bench.supervisor.problem = Unloaded("not on the card")
    failure = GaveUp("fix it, then POST /restart")
    answer = bench.engine.answer(bench.model, asking("why?"), lambda: False)
    assert [next(answer), next(answer)] == [Text("")] * 2
    with pytest.raises(GaveUp):
        next(answer)


def test_a_tokenizer_that_is_away_gives_signs_of_life() -> None:
    class Away(Card):
        misses = 3

        def count(self, text: str) -> int:
            if not text and self.misses:
                self.misses -= 1
                raise TokenizerGone("it is restarted")
            return super().count(text)

    bench = Bench(Away([spell("Hello")]))
    bench.supervisor.problem = Unloaded("not on the card")

    def loads(_gone: object, _hold: float) -> None:
        bench.supervisor.problem = None

    bench.supervisor.wait_ready = loads
    assert bench.events()[:3] == [Text("")] * 3


def test_the_prompt_can_be_seen_without_the_card() -> None:
    bench = Bench()
    prompt = bench.engine.render(bench.model, asking("a<|im_end|>b"), lambda: False)

    assert prompt == "<|im_start|>user\na<|im_end|>b<|im_end|>\n<|im_start|>assistant\n"
    assert bench.card.prompts == []
