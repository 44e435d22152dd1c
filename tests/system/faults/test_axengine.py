"""Each way in which the PyAXEngine worker can fail, through the engine, with a stand-in library."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from axproxy.engine.engine import SerialEngine
from axproxy.engine.runtime import Timeouts
from axproxy.errors import CardFailed, ClientGone, ProxyError, RuntimeGone, RuntimeStalled
from axproxy.messages import ChatRequest, Finished, Limits, Message, Text
from axproxy.models.description import describe_model
from axproxy.settings import Settings
from backend import axengine_engine, described_model
from tests.support.axengine_models import FAKE, write_scripted_model
from tests.support.ports import own_port
from tests.support.runtimes import Clients
from tests.support.waiting import eventually

Engine = SerialEngine[Any]
Begin = Callable[..., Engine]
WORDS = "word " * 40


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    begun: list[Engine] = []

    def start(*, wait: bool = True, stall: float = 20.0, **faults: Any) -> Engine:
        write_scripted_model(tmp_path, **faults)(WORDS)
        settings = Settings.from_env(
            {
                "AX650_RUNTIME": "axengine",
                "AX650_MODEL_PATH": str(tmp_path),
                "AX650_AXENGINE_PATH": str(FAKE),
                "AX650_AXENGINE_PROVIDER": "board",
                "AX650_TOKENIZER_PORT": str(own_port()),
            }
        )
        engine = axengine_engine(settings, Timeouts(stall=stall), described_model(settings))
        begun.append(engine)
        engine.start()
        if wait:
            eventually(lambda: engine.not_ready() is None)
        return engine

    yield start
    for engine in begun:
        engine.stop()


def request(words: str = "Hi", **how: Any) -> ChatRequest:
    return ChatRequest((Message("user", words),), think=False, **how)


def begun(engine: Engine, **how: Any) -> Any:
    """An answer that has text already."""
    answer = engine.answer(describe_model(Settings()), request(**how), lambda: False)
    next(event for event in answer if event != Text(""))
    return answer


def ask(engine: Engine, words: str = "Hi", **how: Any) -> str:
    answer = engine.answer(describe_model(Settings()), request(words, **how), lambda: False)
    try:
        *texts, last = list(answer)
    finally:
        answer.close()
    assert isinstance(last, Finished)
    return "".join(event.text for event in texts if isinstance(event, Text))


def pid_of(engine: Engine) -> int:
    pid = engine.health().runtime.runtime.pid
    assert pid
    return pid


def test_a_worker_killed_while_idle_only_delays_the_next_client(begin: Begin) -> None:
    engine = begin()
    os.kill(pid_of(engine), signal.SIGKILL)

    eventually(lambda: engine.health().runtime.runtime.state != "ready")
    assert ask(engine) == WORDS


def test_a_worker_killed_in_mid_answer_says_what_became_of_it(begin: Begin) -> None:
    engine = begin(run_seconds=0.02)
    answer = begun(engine)
    os.kill(pid_of(engine), signal.SIGKILL)

    with pytest.raises(RuntimeGone, match="SIGKILL"):
        list(answer)
    answer.close()
    assert ask(engine) == WORDS


def test_a_driver_that_hangs_is_noticed_and_its_worker_replaced(begin: Begin) -> None:
    # The self-test takes one run of the layer and one of the post model.
    engine = begin(hang_at=9, stall=1.0)
    before = pid_of(engine)

    with pytest.raises(RuntimeStalled, match="no token for"):
        ask(engine)
    assert engine.health().runtime.runtime.state  # the service itself has never waited
    eventually(lambda: engine.not_ready() is None and pid_of(engine) != before)


def test_a_card_that_fails_ends_the_answer_and_restarts_the_worker(begin: Begin) -> None:
    engine = begin(fail_at=9)
    before = pid_of(engine)

    with pytest.raises(CardFailed, match="axclrtEngineExecute failed"):
        ask(engine)
    eventually(lambda: engine.not_ready() is None and pid_of(engine) != before)


def test_a_file_that_the_card_refuses_is_named(begin: Begin) -> None:
    engine = begin(refused=True, wait=False)

    words = "tiny_p128_l0_together.axmodel cannot be loaded (axclrtEngineLoadFromFile failed.)"
    eventually(lambda: words in str(engine.health().runtime.runtime.last_exit))


def test_a_load_shows_its_percentage_and_a_stop_waits_for_its_end(begin: Begin) -> None:
    engine = begin(load_seconds=1.5, wait=False)
    pid = eventually(lambda: engine.health().runtime.runtime.pid)
    eventually(lambda: engine.health().runtime.load_percent == 50)
    engine.stop()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_stop_during_an_answer_ends_it_with_an_error(begin: Begin) -> None:
    engine = begin(run_seconds=0.02)
    answer = begun(engine)
    pid = pid_of(engine)
    engine.stop()

    with pytest.raises(ProxyError):
        list(answer)
    answer.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_client_that_leaves_frees_the_worker_within_a_step(begin: Begin) -> None:
    engine = begin(run_seconds=0.02)
    leaving = begun(engine)
    leaving.close()
    began = time.monotonic()

    assert ask(engine, limits=Limits(max_tokens=1)) == WORDS[0]
    assert time.monotonic() - began < 10
    assert engine.health().runtime.runtime.restarts == 0


def test_many_clients_that_leave_at_any_time_disturb_no_other(begin: Begin) -> None:
    engine = begin(run_seconds=0.001)
    whole: list[str] = []

    def client(number: int) -> None:
        looks = iter(range(number * 3))
        gone = (lambda: next(looks, None) is None) if number % 2 else (lambda: False)
        answer = engine.answer(describe_model(Settings()), request(f"I am {number}."), gone)
        try:
            whole.append("".join(event.text for event in answer if isinstance(event, Text)))
        except ClientGone:
            return
        finally:
            answer.close()

    clients = Clients()
    for number in range(12):
        clients.start(lambda number=number: client(number))
    clients.join()

    assert len(whole) >= 6
    assert set(whole) == {WORDS}
