"""One run from reset to idle, against a card in virtual time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.engine.runtime import RunResult, Timeouts
from axproxy.errors import (
    ClientGone,
    PromptTooLong,
    RuntimeGone,
    RuntimeMisbehaved,
    RuntimeStalled,
    Starting,
)
from axproxy.messages import Limits, Sampling
from axproxy.prompts.fitting import Prompt, Window
from axproxy.runtimes.main_api.client import Poll
from axproxy.runtimes.main_api.generation import Generation
from axproxy.runtimes.main_api.run_log import RunLog, RunTimes, with_logged_times
from tests.support.generators import completed
from tests.support.simulated import END, Card, Times, spell

PROMPT = Prompt("why?", 4)
WINDOW = Window(context=2559, prefill_limit=2048)


def generation(card: Card, **how: object) -> Generation:
    how.setdefault("gone", lambda: False)
    how.setdefault("control_tokens", {END})
    return Generation(card, card, WINDOW, clock=card.clock, sleep=card.sleep, **how)


def answer(card: Card, limits: Limits | None = None, prompt: Prompt = PROMPT, **how: object) -> str:
    """The text of one whole answer; leaves its result in `card.result`."""
    run = generation(card, **how)
    try:
        texts, card.result = completed(run.run(prompt, Sampling(), limits or Limits()))
    finally:
        run.close()
    return "".join(texts)


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("text", ["Hello", "a", "ab", "abc", "aaa", "aaaaaa", "abcabc", ""])
def test_an_answer_arrives_whole_whatever_its_length(text: str, traced: bool) -> None:
    card = Card([spell(text)], traced=traced)

    assert answer(card) == text
    assert card.result.reason == "stop"
    assert card.idle


def test_token_counts_are_exact_where_the_tokenizer_is_ours() -> None:
    card = Card([spell("Hello")])
    answer(card)

    assert card.result.completion_tokens == 5


def test_text_streams_while_the_model_still_answers() -> None:
    card = Card([spell("abcdef")])
    run = generation(card)
    steps = run.run(PROMPT, Sampling(), Limits())

    assert next(steps) == "abc"
    assert card.running
    assert "".join(steps) == "def"
    run.close()


def test_text_waits_no_longer_than_a_call_behind_the_tokenizer() -> None:
    card = Card([spell("abcdef" * 20)], times=Times(token=0.02))
    run = generation(card)
    arrivals = [card.now for _ in run.run(PROMPT, Sampling(), Limits())]
    run.close()

    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert max(gaps) < 3 * 0.02 + 0.005


@pytest.mark.parametrize("wanted", range(1, 9))
def test_max_tokens_is_met_exactly_though_text_comes_in_threes(wanted: int) -> None:
    card = Card([spell("abcdefghijklmnop")])

    assert answer(card, Limits(max_tokens=wanted)) == "abcdefghijklmnop"[:wanted]
    assert card.result.reason == "length"
    assert card.result.completion_tokens == wanted
    assert card.idle


def test_the_run_is_stopped_once_the_answer_is_long_enough() -> None:
    card = Card([spell("x" * 1000)])
    started = card.now
    answer(card, Limits(max_tokens=5))

    assert card.stops_in_a_run
    assert card.now - started < 1


def test_a_stop_string_ends_the_answer_before_itself_across_chunks() -> None:
    card = Card([spell("one two STOP three")])

    assert answer(card, Limits(stop=("STOP",))) == "one two "
    assert card.result.reason == "stop"
    assert card.idle


def test_a_control_token_as_first_token_is_an_empty_answer() -> None:
    # The vendor's program does not test its first token and would go on talking.
    card = Card([[END, *spell("nonsense")]])

    assert answer(card) == ""
    assert card.result.completion_tokens == 0
    assert card.idle


def test_half_a_character_at_the_end_is_left_out() -> None:
    assert answer(Card([[*spell("abc"), -1]])) == "abc"


def test_a_full_window_ends_the_answer_as_length() -> None:
    card = Card([spell("abcd")])
    prompt = Prompt("long", WINDOW.context - 3)  # room for four tokens

    assert answer(card, prompt=prompt) == "abcd"
    assert card.result.reason == "length"


def test_text_left_by_an_earlier_run_never_reaches_the_next_answer() -> None:
    card = Card([spell("mine")])
    card.text = "somebody else's"

    assert answer(card) == "mine"


def test_done_right_after_an_accepted_run_is_not_its_end() -> None:
    card = Card([spell("late")], times=Times(pick_up=0.3))

    assert answer(card) == "late"


def test_busy_after_a_reset_is_waited_out() -> None:
    card = Card([spell("ok")], times=Times(pick_up=0.0005, encode=0.4))

    assert answer(card) == "ok"


def test_a_run_that_never_begins_is_an_error_and_not_an_empty_answer() -> None:
    card = Card(times=Times(pick_up=3600))

    with pytest.raises(RuntimeMisbehaved):
        answer(card, timeouts=Timeouts(stop=1))


def test_context_full_text_is_an_error_and_not_an_answer() -> None:
    card = Card([[]])
    run = generation(card)
    steps = run.run(PROMPT, Sampling(), Limits())
    card.text = ""
    original = card._run

    def refused(prompt: str):
        yield card.times.encode
        card.prompts.append(prompt)
        card.text += "error: SetKVCache failed: %d,the context may be full,please reset"
        yield 0.0

    card._run = refused
    with pytest.raises(PromptTooLong):
        list(steps)
    card._run = original
    run.close()
    assert card.idle


def test_context_full_text_that_comes_after_done_is_not_missed() -> None:
    card = Card()

    def refused(prompt: str):
        yield card.times.encode
        card.prompts.append(prompt)
        card.trace_of_runs.encoded(len(prompt), hashlib.sha256(prompt.encode()).hexdigest())
        card.running = False
        yield 0.02
        card.text += "error: SetKVCache failed: %d,the context may be full,please reset"

    card._run = refused
    with pytest.raises(PromptTooLong):
        answer(card)


def test_a_run_that_vanishes_in_mid_answer_is_half_an_answer_and_an_error() -> None:
    card = Card([spell("abcdefghijkl")])
    run = generation(card)
    steps = run.run(PROMPT, Sampling(), Limits())
    next(steps)
    card.running, card._steps, card.text = False, None, ""  # another process answers, idle

    with pytest.raises(RuntimeMisbehaved, match="broke the answer off"):
        list(steps)
    run.close()


def test_a_window_made_smaller_by_settings_ends_the_answer() -> None:
    card = Card([spell("x" * 200)])
    run = Generation(
        card,
        card,
        Window(context=20, prefill_limit=20),
        control_tokens={END},
        gone=lambda: False,
        clock=card.clock,
        sleep=card.sleep,
    )
    texts, result = completed(run.run(Prompt("why?", 10), Sampling(), Limits()))
    run.close()

    assert len("".join(texts)) == 11
    assert result.reason == "length"


def test_a_death_in_mid_answer_is_an_error_after_the_text_so_far() -> None:
    card = Card([spell("abcdef")], dies_at_token=4)
    run = generation(card)
    heard = []

    with pytest.raises(RuntimeGone):
        heard.extend(run.run(PROMPT, Sampling(), Limits()))
    with pytest.raises(RuntimeGone):
        run.close()


def test_a_few_bad_polls_cost_nothing_while_the_tokenizer_sees_everything() -> None:
    assert answer(Card([spell("abcdefgh")], bad_polls=3)) == "abcdefgh"


def test_a_bad_poll_is_an_error_where_only_polls_carry_the_text() -> None:
    with pytest.raises(RuntimeMisbehaved, match="status 500"):
        answer(Card([spell("abcdefgh")], bad_polls=1, traced=False))


def test_polls_that_stay_bad_are_an_error() -> None:
    with pytest.raises(RuntimeMisbehaved, match="status 500"):
        answer(Card([spell("abc")], bad_polls=10_000, times=Times(prefill=5)))


def test_silence_beyond_the_patience_is_a_stall() -> None:
    card = Card([spell("abcdef")], hangs_at_token=4)

    with pytest.raises(RuntimeStalled):
        answer(card, timeouts=Timeouts(stall=5, stop=1))


def test_a_long_prompt_is_given_time_to_be_read() -> None:
    card = Card([spell("ok")], times=Times(prefill=20))

    assert answer(card, prompt=Prompt("long", 2000), timeouts=Timeouts(stall=5)) == "ok"


def test_a_stream_that_waits_long_for_its_first_token_gives_signs_of_life() -> None:
    card = Card([spell("ok")], times=Times(prefill=35))
    run = generation(card)
    texts = list(run.run(Prompt("long", 2000), Sampling(), Limits()))
    run.close()

    assert texts == ["", "", "", "ok"]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (RunTimes(), (2.0, 8.0)),
        (RunTimes(first_token=1.5), (1.5, 8.5)),
        (RunTimes(first_token=1.5, speed=10.0), (1.5, 3.0)),
        (RunTimes(first_token=1.5, speed=0.1), (1.5, 8.5)),  # slower than all the time there was
        (RunTimes(first_token=99.0, speed=10.0), (2.0, 8.0)),  # a model can print such lines, too
    ],
)
def test_the_programs_own_times_are_taken_where_they_can_be_true(
    times: RunTimes, expected: tuple[float, float]
) -> None:
    result = RunResult("stop", 4, 30, prompt_eval=2.0, eval=8.0)
    refined = with_logged_times(result, times)

    assert (refined.prompt_eval, refined.eval) == expected


def test_a_stranger_on_the_runtime_is_noticed() -> None:
    card = Card([spell("for somebody else")])
    run = generation(card)
    steps = run.run(PROMPT, Sampling(), Limits())
    real = card.generate
    card.generate = lambda prompt, sampling: real("another prompt", sampling)

    with pytest.raises(RuntimeMisbehaved, match="another program"):
        list(steps)


@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("limit", [None, 7])
@pytest.mark.parametrize(
    "forge",
    [
        lambda card, sent: card.trace_of_runs.decoded(sent or [1]),
        lambda card, sent: card.trace_of_runs.decoded([*sent, ord("!")]),
        lambda card, _: card.trace_of_runs.decoded(spell("!!!")),
        lambda card, _: card.trace_of_runs.decoded(spell("!!!!!")),
        lambda card, _: card.trace_of_runs.decoded([]),
        lambda card, _: card.trace_of_runs.reset(),
        lambda card, _: card.trace_of_runs.encoded(4, hashlib.sha256(b"why?").hexdigest()),
    ],
    ids=["ids so far", "one id more", "three ids", "five ids", "no ids", "reset", "encode"],
)
def test_an_answer_that_another_program_feeds_is_an_error_and_never_whole(
    forge: Callable[[Card, list[int]], object], limit: int | None, tokens: int
) -> None:
    text = "abcdefghijklmnop"
    card = Card([spell(text)])
    original, calls = card.trace_of_runs.decoded, []

    def decoded(ids: Sequence[int]) -> str:
        told = original(ids)
        calls.extend(ids)
        if len(calls) >= tokens and card.trace_of_runs.decoded is decoded:
            del card.trace_of_runs.decoded
            forge(card, list(calls))
        return told

    card.trace_of_runs.decoded = decoded
    run = generation(card)
    try:
        completed(run.run(PROMPT, Sampling(), Limits(max_tokens=limit)))
    except RuntimeMisbehaved as error:
        run.disturbed = "another program" in error.message
    finally:
        run.close()
    assert run.disturbed


@pytest.mark.parametrize("after", [0.03, *(0.07 + 0.01 * n for n in range(12))])
def test_an_answer_that_another_program_stops_is_an_error_and_never_whole(after: float) -> None:
    card = Card([spell("abcdefghijklmnop")], log=RunLog())

    def gone() -> bool:
        if card.now > 100 + after and card.running and not card.stop_asked:
            card.stop()
        return False

    with pytest.raises(RuntimeMisbehaved, match="another program has stopped"):
        answer(card, gone=gone, log=card.log)


def test_an_answer_survives_a_tokenizer_that_is_restarted_in_the_middle() -> None:
    card = Card([spell("abcdefghi")])
    run = generation(card)
    steps = run.run(PROMPT, Sampling(), Limits())
    text = next(steps)
    card.restart_tokenizer()

    assert text + "".join(steps) == "abcdefghi"
    run.close()


def test_an_ending_forced_from_outside_is_never_called_complete() -> None:
    card = Card([spell("abcdefghi")])
    ended = []
    run = generation(card, interrupted=lambda: ended[0] if ended else None)
    steps = run.run(PROMPT, Sampling(), Limits())
    next(steps)
    ended.append(Starting("the runtime was restarted"))
    card.stop_asked = True

    with pytest.raises(Starting):
        list(steps)
    run.close()


@pytest.mark.parametrize("after", [0.0, 0.0045, 0.01, 0.03, 0.07, 0.1, 0.2, 1.0])
@pytest.mark.parametrize("traced", [True, False])
def test_a_client_that_leaves_frees_the_card_within_two_seconds(after: float, traced: bool) -> None:
    card = Card([spell("x" * 10_000)], traced=traced, times=Times(pick_up=0.02))
    leaves_at = card.now + after
    run = generation(card, gone=lambda: card.now >= leaves_at)

    with pytest.raises(ClientGone):
        list(run.run(PROMPT, Sampling(), Limits()))
    run.close()

    assert card.now - leaves_at < 2
    card.advance(0.03)  # the reset, if that was all that had begun
    assert card.idle
    assert card.poll().response == ""


@given(
    first=st.text("ab", max_size=20),
    second=st.text("yz", max_size=20),
    limits=st.builds(
        Limits,
        max_tokens=st.none() | st.integers(1, 25),
        stop=st.lists(st.text("ab", min_size=1, max_size=3), max_size=2).map(tuple),
    ),
    leaves=st.none() | st.floats(0, 0.6),
    times=st.builds(
        Times,
        pick_up=st.sampled_from([0.0001, 0.002, 0.03]),
        encode=st.sampled_from([0.0005, 0.01]),
        prefill=st.sampled_from([0.001, 0.1]),
        token=st.sampled_from([0.0005, 0.02]),
        final=st.sampled_from([0.0001, 0.05]),
    ),
    traced=st.booleans(),
)
def test_no_answer_ever_holds_text_of_the_one_before_it(
    first: str, second: str, limits: Limits, leaves: float | None, times: Times, traced: bool
) -> None:
    card = Card([spell(first), spell(second)], times=times, traced=traced)
    leaves_at = None if leaves is None else card.now + leaves
    run = generation(card, gone=lambda: leaves_at is not None and card.now >= leaves_at)
    try:
        heard = "".join(run.run(PROMPT, Sampling(), limits))
        assert first.startswith(heard)
    except ClientGone:
        pass
    finally:
        run.close()
    begun = len(card.prompts)
    card.answers = [spell(second)]

    assert answer(card, prompt=Prompt("next", 4)) == second
    assert card.prompts[begun:] == ["next"]


def test_a_runtime_whose_trace_moves_on_is_not_polled_for_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = Card([spell("abcdefghi" * 5)])
    polls: list[float] = []
    poll = card.poll

    def counted() -> Poll:
        polls.append(card.now)
        return poll()

    monkeypatch.setattr(card, "poll", counted)
    assert answer(card) == "abcdefghi" * 5
    # One to drain before the run, one or two to see its end: each costs a loopback call.
    assert len(polls) <= 4


def test_a_runtime_that_is_slow_to_accept_a_prompt_gives_signs_of_life() -> None:
    class Busy(Card):
        def reset(self, system: str = "") -> bool:
            return self.now > 135.0 and super().reset(system)

    card = Busy([spell("Hello")])
    run = generation(card)
    texts, _ = completed(run.run(PROMPT, Sampling(), Limits()))
    run.close()

    assert texts[:3] == [""] * 3
    assert "".join(texts) == "Hello"
