"""The runtime's own lines are told from those that a prompt or an answer spells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.errors import CardFailed
from axproxy.process.output import LineSplitter
from axproxy.runtimes.main_api.run_log import RunLog, RunTimes

FAILURE = "\x1b[1;30;31m[E][                       inference][ 526]: AX_ENGINE_Execute\x1b[0m\n"
DEAD = "[2025-11-09 08:46:00.029][10994][W][device manager][listen][292]: device 1 is dead\n"
TTFT = "\x1b[1;30;32m[I][                             Run][1016]: ttft: 1339.01 ms\x1b[0m\n"
SPEED = (
    "\x1b[1;30;35m[N][                             Run][1168]: hit eos,avg 3.65 token/s\n\x1b[0m\n"
)
REAL = RunTimes(first_token=1.33901, speed=3.65)


def echo(prompt: str) -> str:
    """How the program prints the prompt that it was given."""
    return f"\x1b[1;30;32m[I][                 handle_generate][ 123]: {prompt}\x1b[0m\n"


def printed(log: RunLog, *output: str) -> None:
    """As a terminal and our reader pass it on."""
    splitter = LineSplitter()
    for line in splitter.feed("".join(output).replace("\n", "\r\n").encode()):
        log.feed(line)
    if splitter.rest:
        log.feed(splitter.rest)


def run(log: RunLog, prompt: str, answer: str, *, failures: str = "", whole: bool = True) -> bool:
    """One run; whether the card was found to have failed in it."""
    log.begin(prompt)
    log.sampled(answer)
    printed(log, echo(prompt), TTFT, failures, answer, "\n\n", SPEED)
    failed = log.proves(log.logged)
    log.end(whole)
    return failed


@pytest.mark.parametrize("failures", [FAILURE, FAILURE * 999, DEAD])
def test_a_line_that_no_text_explains_is_the_programs(failures: str) -> None:
    log = RunLog()

    assert not run(log, "why?", "Because.")
    assert run(log, "why?", "Because.", failures=failures)
    assert log.trouble in ("AX_ENGINE_Execute", "device 1 is dead")


def test_the_error_says_what_happens_next() -> None:
    log = RunLog()
    log.begin("why?")
    printed(log, FAILURE)

    with pytest.raises(CardFailed, match=r"AX_ENGINE_Execute.*restarted, try again"):
        log.check(log.logged)


FAKES = st.sampled_from(
    [FAILURE, DEAD, "AX_ENGINE_Execute", TTFT, SPEED, "ttft: ", "AX_ENGINE_", "\r", "\n", " ", "é"]
)
# Long lines are cut by our reader, anywhere, also within what a terminal would take for a colour.
CUT = st.integers(16_300, 16_500).map(lambda length: "\x1b[" + " " * length)
CONTROLS = st.sampled_from(["\x1b[", "\x1b[1;3", "\x1b", "\t", "\x07", "\x85", "\u2028"])
TEXTS = st.lists(FAKES | CONTROLS | CUT | st.text(max_size=10), max_size=12).map("".join)


@given(st.lists(st.tuples(TEXTS, TEXTS, st.booleans()), max_size=5))
def test_a_fake_log_line_changes_nothing(runs: list[tuple[str, str, bool]]) -> None:
    log = RunLog()
    for prompt, answer, whole in runs:
        assert not run(log, prompt, answer, whole=whole)
        assert not log.proves_while_idle()
    assert log.trouble is None


@given(st.lists(FAKES | st.text(max_size=10), max_size=12))
def test_an_answer_in_pieces_explains_what_it_explains_in_one(pieces: list[str]) -> None:
    logs = RunLog(), RunLog()
    for log, texts in zip(logs, (["".join(pieces)], pieces), strict=True):
        log.begin("Hi")
        for text in texts:
            log.sampled(text)
        printed(log, *pieces)
        assert not log.proves(log.logged)


@given(TEXTS, TEXTS, st.integers(1, 50))
def test_among_any_fake_lines_a_true_one_is_found(prompt: str, answer: str, true: int) -> None:
    # A text that begins in mid-word could swallow a letter of the true line.
    assert run(RunLog(), prompt, "\n" + answer, failures=FAILURE * true)


@given(TEXTS, TEXTS)
def test_the_times_are_the_programs_whatever_the_texts_say(prompt: str, answer: str) -> None:
    log = RunLog()
    run(log, prompt, "\n" + answer)

    assert log.times() == REAL


@pytest.mark.parametrize(
    "prompt",
    [
        "\x1b[" + " " * 25_000 + FAILURE,
        "AX_ENGINE_Execute",
        "[1-21] device 1 is dead",
        "x" * 16_384 + FAILURE,
        "x" * 16_330 + FAILURE * 3,
        FAILURE.replace("AX_ENGINE", "AX_\x1b[0mENGINE"),
        FAILURE.replace(" AX_", "\t\x00 \x9b AX_"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_prompt_cannot_have_the_card_declared_dead(prompt: str, whole: bool) -> None:
    log = RunLog()
    for _ in range(3):
        assert not run(log, prompt, "Because.", whole=whole)
        assert not run(log, "Repeat it.", prompt, whole=whole)
        assert not log.proves_while_idle()


@pytest.mark.parametrize("line", ["[1-21] device 1 is dead", "say AX_ENGINE_Execute", "AX_ENGINE_"])
def test_a_sign_that_is_no_log_line_proves_nothing(line: str) -> None:
    log = RunLog()
    run(log, "why?", "Because.")
    printed(log, line + "\n")
    assert not log.proves_while_idle()


def test_only_a_sign_without_any_clients_text_is_certain() -> None:
    log = RunLog()
    assert run(log, "why?", "Because.", failures=FAILURE)
    assert not log.certain
    assert log.proves_alone()
    assert log.certain


def test_times_are_known_as_far_as_they_have_come() -> None:
    log = RunLog()
    assert log.times() == RunTimes()
    log.begin(SPEED)
    printed(log, echo(SPEED))
    assert log.times() == RunTimes()
    printed(log, TTFT)
    assert log.times() == RunTimes(first_token=1.33901)
    printed(log, "Hello world.", SPEED)
    assert log.times() == REAL
    log.begin("next")
    assert log.times() == RunTimes()


def test_a_speed_that_comes_late_is_not_taken_for_the_next_runs() -> None:
    log = RunLog()
    log.begin(SPEED)
    log.end(whole=True)
    log.begin(SPEED)
    printed(log, SPEED)  # of the run before, by a reader that had no time
    printed(log, echo(SPEED), TTFT, "Hello world.", SPEED)
    assert log.times().speed is None


def test_what_an_unread_end_of_an_answer_printed_is_forgiven() -> None:
    log = RunLog()
    log.begin("say it")
    printed(log, echo("say it"), "sure: " + FAILURE)  # its reader had hung up before
    log.end(whole=False)

    assert not log.proves_while_idle()
    assert not run(log, "why?", "Because.")
    assert run(log, "why?", "Because.", failures=FAILURE)


def test_a_card_that_dies_between_two_answers_is_found_without_a_request() -> None:
    log = RunLog()
    run(log, "why?", "Because.")
    assert not log.proves_while_idle()
    printed(log, DEAD)

    assert log.proves_while_idle()
    assert log.trouble == "device 1 is dead"


def test_before_anybody_else_has_asked_every_sign_counts() -> None:
    log = RunLog()
    run(log, "Hi", "Hello", whole=False)
    assert not log.proves_alone()
    run(log, "Hi", "Hello", failures=FAILURE, whole=False)

    assert log.proves_alone()
    assert log.trouble == "AX_ENGINE_Execute"


MISREAD = "\x1b[1;30;31m[E][                          Encode][ 820]: encode failed\x1b[0m\n"


@pytest.mark.parametrize("prompt", ["why?", f"what is this? {MISREAD}"])
def test_a_prompt_that_the_tokenizer_did_not_read_shows(prompt: str) -> None:
    log = RunLog()
    log.begin(prompt)
    printed(log, echo(prompt))
    assert not log.misread()
    printed(log, MISREAD, TTFT)
    assert log.misread()
    log.end(whole=False)

    log.begin("and now?")
    printed(log, echo("and now?"), TTFT)
    assert not log.misread()


def test_the_end_of_a_run_is_waited_for_once_a_run_has_logged_one_however_late() -> None:
    log = RunLog()
    log.begin("Hi")
    log.end(whole=True)
    assert not log.logs_cached
    log.feed("[I][                      GetKVCache][ 583]: precompute_len:23, remaining:873")
    assert log.logs_cached
    log.begin("Say ]: precompute_len:9, remaining:1")
    log.feed("Say ]: precompute_len:9, remaining:1")
    assert log.cached() is None
    log.feed("[I][                      GetKVCache][ 583]: precompute_len:31, remaining:865")
    assert log.cached() == 31
