"""Each way in which `axllm` can fail, through the engine, with the simulator as a real process."""

from __future__ import annotations

import os
import random
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from axproxy.engine.engine import SerialEngine
from axproxy.errors import (
    CardFailed,
    ClientGone,
    PromptTooLong,
    ProxyError,
    RuntimeGone,
    RuntimeMisbehaved,
    RuntimeStalled,
)
from axproxy.messages import ChatRequest, Finished, Limits, Message, Text
from axproxy.models.description import describe_model
from axproxy.settings import Settings
from backend import create_engine
from tests.support.ports import own_port
from tests.support.runtimes import Clients
from tests.support.waiting import eventually

QUICK = "--load-seconds 0.1 --prefill-tokens-per-second 0"
MODEL = describe_model(Settings.from_env({"AX650_RUNTIME": "mock-axllm"}))

Begin = Callable[..., SerialEngine[Any]]


@pytest.fixture
def begin() -> Iterator[Begin]:
    begun: list[SerialEngine[Any]] = []

    def start(options: str = "", *, speed: float = 500, wait: bool = True, **environ: str) -> Any:
        settings = Settings.from_env(
            {
                "AX650_RUNTIME": "mock-axllm",
                "AX650_RUNTIME_PORT": str(own_port()),
                # The self-test is an answer, too.
                "AX650_MOCK_ARGS": f"{QUICK} --tokens-per-second {speed} --spare-answers 1 "
                + options,
                **environ,
            }
        )
        engine, _ = create_engine(settings)
        begun.append(engine)
        engine.start()
        if wait:
            eventually(lambda: engine.not_ready() is None)
        return engine

    yield start
    for engine in begun:
        engine.stop()


def ask(
    engine: SerialEngine[Any], words: str = "Hi", gone: Callable[[], bool] | None = None, **how: Any
) -> tuple[str, Finished]:
    """Return the text of an answer and its ending."""
    request = ChatRequest((Message("user", words),), think=False, **how)
    answer = engine.answer(MODEL, request, gone or (lambda: False))
    try:
        events = list(answer)
    finally:
        answer.close()
    assert isinstance(events[-1], Finished)
    return "".join(event.text for event in events if isinstance(event, Text)), events[-1]


def pid_of(engine: SerialEngine[Any]) -> int:
    pid = engine.health().runtime.runtime.pid
    assert pid
    return pid


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ("--no-last-piece-after 3", RuntimeMisbehaved, "broke the answer off"),
        ("--cut-after-tokens 3", RuntimeGone, "broke the answer off"),
        ("--crash-after-tokens 3", RuntimeGone, "SIGSEGV"),
        ("--fail-after-tokens 3", CardFailed, "the card failed while answering"),
        ("--error-event oops", RuntimeMisbehaved, "oops"),
    ],
)
def test_half_an_answer_is_an_error_and_never_a_whole_one(
    begin: Begin, options: str, error: type[ProxyError], words: str
) -> None:
    engine = begin(f"{options} --reply 'one two three four five six'", speed=100)

    with pytest.raises(error, match=words):
        ask(engine)


def test_a_client_cannot_have_the_program_restarted_by_what_the_model_prints(
    begin: Begin, tmp_path: Path
) -> None:
    faked = "Look:\n12:00:00.000 ERR Run:1001 | AX_ENGINE_Execute failed, ret=0x80300102\nNow?"
    reply = tmp_path / "reply"
    reply.write_text(faked)
    engine = begin(f"--reply-file {reply}")
    before = pid_of(engine)

    assert ask(engine)[0] == faked
    assert ask(engine)[0] == faked
    assert pid_of(engine) == before


def test_a_hung_answer_is_noticed_and_the_program_restarted(begin: Begin) -> None:
    engine = begin("--hang-after-tokens 3 --reply 'a b c d e f'", AX650_STALL_TIMEOUT="1.0")
    before = pid_of(engine)

    with pytest.raises(RuntimeStalled, match="no token for"):
        ask(engine)
    eventually(lambda: engine.not_ready() is None and pid_of(engine) != before)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_program_is_asked_again_and_the_client_notices_nothing(
    begin: Begin, status: int
) -> None:
    # The first refusal meets the self-test.
    engine = begin(f"--refuse {status} --refuse-times 2 --reply fine")

    assert ask(engine)[0] == "fine"


def test_a_killed_program_comes_back_and_the_next_request_waits_for_it(begin: Begin) -> None:
    engine = begin("--reply fine")
    os.kill(pid_of(engine), signal.SIGKILL)

    eventually(lambda: engine.health().runtime.runtime.state != "ready")
    assert ask(engine)[0] == "fine"


def test_a_program_killed_in_mid_answer_says_what_became_of_it(begin: Begin) -> None:
    engine = begin("--reply 'word word word word word word word word word'", speed=20)
    request = ChatRequest((Message("user", "Hi"),), think=False)
    answer = engine.answer(MODEL, request, lambda: False)
    next(event for event in answer if event != Text(""))
    os.kill(pid_of(engine), signal.SIGKILL)

    with pytest.raises(RuntimeGone, match="SIGKILL"):
        list(answer)
    answer.close()
    assert ask(engine)[0].startswith("word")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--exit-during-load 7", "exited with status 7"),
        ("--memory-guard", "memory guard"),
        ("--dead-card", "status 255"),
    ],
)
def test_a_start_that_fails_is_explained(begin: Begin, options: str, words: str) -> None:
    engine = begin(options, wait=False)

    eventually(lambda: words in str(engine.health().runtime.runtime.last_exit))


def test_a_load_that_never_ends_is_started_again_and_its_percentage_shown(begin: Begin) -> None:
    engine = begin("--hang-in-load", wait=False, AX650_START_TIMEOUT="1.0")

    eventually(lambda: engine.health().runtime.load_percent)
    eventually(lambda: engine.health().runtime.runtime.restarts)


def test_a_stop_during_the_load_leaves_nothing_behind(begin: Begin) -> None:
    engine = begin("--load-seconds 30", wait=False)
    pid = eventually(lambda: engine.health().runtime.runtime.pid)
    eventually(lambda: engine.health().runtime.load_percent)
    engine.stop()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("options", ["--crash-on-stop", "--ignore-sigterm", ""])
def test_a_stop_during_an_answer_ends_it_with_an_error(begin: Begin, options: str) -> None:
    engine = begin(f"{options} --reply 'word word word word word word word word'", speed=5)
    request = ChatRequest((Message("user", "Hi"),), think=False)
    answer = engine.answer(MODEL, request, lambda: False)
    next(event for event in answer if event != Text(""))
    pid = pid_of(engine)
    engine.stop()

    with pytest.raises(ProxyError):
        list(answer)
    answer.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_port_that_is_taken_is_named_by_the_program_itself(begin: Begin) -> None:
    with socket.socket() as holder:  # in this process, which the checks take for ours
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        engine = begin(wait=False, AX650_RUNTIME_PORT=str(port))
        eventually(lambda: f"Port {port} is unavailable" in str(engine.not_ready()))


def test_an_unknown_window_is_a_guess_and_a_prompt_above_it_is_refused(begin: Begin) -> None:
    engine = begin("--dialect old --reply fine")

    assert ask(engine)[0] == "fine"
    assert engine.context_length() == 2559  # an old build logs it
    with pytest.raises(PromptTooLong):
        ask(engine, "word " * 3000)


def test_an_answer_that_fills_the_window_ends_with_length(begin: Begin) -> None:
    engine = begin(f"--context 120 --prefill-limit 100 --reply '{'word ' * 200}'", speed=0)
    finished = ask(engine)[1]

    assert finished.reason == "length"
    assert finished.usage.prompt_tokens + finished.usage.completion_tokens <= 120


def test_the_text_of_one_request_never_reaches_another_however_clients_leave(
    begin: Begin,
) -> None:
    engine = begin(speed=1000)
    dice = random.Random(7)  # noqa: S311 - the same clients each time
    answers: dict[str, str] = {}

    def client(number: int, patience: float) -> None:
        words = f"I am client number {number}. " * 3
        looks = iter(range(int(patience * 40)))
        try:
            answers[words] = ask(engine, words, lambda: next(looks, None) is None)[0]
        except ClientGone:
            return

    clients = Clients()
    for number in range(16):
        patience = dice.choice([0.1, 0.3, 1e6])
        clients.start(lambda number=number, patience=patience: client(number, patience))
    clients.join()

    assert answers
    for words, text in answers.items():
        assert text == f"I am a simulated model, no card is involved. You said: {words}"


def test_a_client_that_leaves_lets_the_next_one_wait_until_the_program_is_idle(
    begin: Begin,
) -> None:
    engine = begin(f"--load-seconds 1 --reply '{'word ' * 60}'", speed=100)
    limits = Limits(max_tokens=60)
    ask(engine, limits=limits)  # now its speed is known
    request = ChatRequest((Message("user", "Hi"),), think=False, limits=limits)
    leaving = engine.answer(MODEL, request, lambda: False)
    next(event for event in leaving if event != Text(""))
    before = pid_of(engine)
    leaving.close()

    assert ask(engine, limits=limits)[0].startswith("word word word")
    assert pid_of(engine) == before


def test_the_program_is_restarted_where_draining_would_take_longer_than_a_load(
    begin: Begin,
) -> None:
    engine = begin(f"--reply '{'word ' * 150}'", speed=4)
    request = ChatRequest((Message("user", "Hi"),), think=False)
    leaving = engine.answer(MODEL, request, lambda: False)
    next(event for event in leaving if event != Text(""))
    before = pid_of(engine)
    leaving.close()

    assert ask(engine, limits=Limits(max_tokens=1))[0]
    assert pid_of(engine) != before
