"""Supervisor, engine and attached runtime in this process, on the real tokenizer and simulator."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from axproxy.cli import smoke_test
from axproxy.engine.protocol import Engine
from axproxy.engine.runtime import Supervisor
from axproxy.errors import ClientGone, GaveUp, RuntimeFault, Starting, Unavailable
from axproxy.messages import ChatRequest, Finished, Message
from axproxy.models.description import describe_model
from axproxy.prompts.fitting import Window
from axproxy.runtimes.main_api.attached import AttachedSupervisor
from axproxy.runtimes.main_api.self_test import SelfTestFailed, self_test
from axproxy.settings import Settings
from runtime_supervisor import RuntimeSupervisor
from tests.support.engines import engine_on
from tests.support.ports import own_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

QUICK = "--load-seconds 0.1 --tokens-per-second 300 --prefill-tokens-per-second 0"
MODEL = describe_model(Settings())
WHY = ChatRequest((Message("user", "Why is the sky blue?"),))

Begin = Callable[..., tuple[Settings, RuntimeSupervisor]]


def configured(mock_args: str = QUICK, **more: str) -> Settings:
    ports = {
        "AX650_RUNTIME_PORT": str(own_port()),
        "AX650_TOKENIZER_PORT": str(own_port()),
    }
    return Settings.from_env({"AX650_MOCK_ARGS": mock_args, **ports, **more})


@pytest.fixture
def begin() -> Iterator[Begin]:
    begun: list[RuntimeSupervisor] = []

    def supervised(mock_args: str = QUICK, **more: str) -> tuple[Settings, RuntimeSupervisor]:
        settings = configured(mock_args, **more)
        begun.append(RuntimeSupervisor(settings))
        begun[-1].start()
        return settings, begun[-1]

    yield supervised
    for supervisor in begun:
        supervisor.stop()


def engine(settings: Settings, unit: Supervisor) -> Engine:
    return engine_on(settings, unit)


def test_ready_means_that_a_token_came_back(begin: Begin) -> None:
    settings, supervisor = begin()
    supervisor.wait_ready(lambda: False)

    assert supervisor.recipe.window() == Window(context=2559, prefill_limit=2048, prefill_chunk=128)
    *texts, finished = engine(settings, supervisor).answer(MODEL, WHY, lambda: False)
    assert "Why is the sky blue?" in "".join(text.text for text in texts)
    assert isinstance(finished, Finished)


def test_a_runtime_that_serves_but_does_not_answer_never_becomes_ready(begin: Begin) -> None:
    _, supervisor = begin(f"{QUICK} --hang-after-tokens 0 --ignore-sigint", AX650_STALL_TIMEOUT="1")

    note = eventually(
        lambda: (note := supervisor.snapshot()[1].note) and "self-test failed" in note and note,
        seconds=20,
    )
    assert "no token" in note
    with pytest.raises(ClientGone):
        supervisor.wait_ready(lambda: True)


def test_a_fatal_line_in_the_log_is_reported_as_the_reason(begin: Begin) -> None:
    _, supervisor = begin(f"{QUICK} --exit-during-load=255")

    status = eventually(lambda: (status := supervisor.snapshot()[1]).last_exit and status)
    assert "exited with status 255" in status.last_exit
    assert "the card refused the model file tinyllama_post.axmodel" in status.last_exit


def test_a_program_that_prints_running_and_exits_is_not_ready(begin: Begin) -> None:
    _, supervisor = begin(f"{QUICK} --refuse-port")

    status = eventually(lambda: (status := supervisor.snapshot()[1]).last_exit and status)
    assert "exited with status 0 (it was interrupted, or its port was taken)" in status.last_exit


def test_a_runtime_that_ignores_signals_is_still_ended(begin: Begin) -> None:
    _, supervisor = begin(f"{QUICK} --ignore-sigint --ignore-sigterm")
    supervisor.wait_ready(lambda: False)
    supervisor.stop()

    assert supervisor.snapshot()[1].last_exit.startswith("killed by SIGKILL")


def test_a_wedged_answer_restarts_the_runtime(begin: Begin) -> None:
    hang = "--hang-after-tokens 6 --spare-answers 1"  # the self-test's answer
    settings, supervisor = begin(f"{QUICK} {hang}", AX650_STALL_TIMEOUT="5")
    supervisor.wait_ready(lambda: False)
    pid = supervisor.pid()
    answer = engine(settings, supervisor).answer(MODEL, WHY, lambda: False)
    with pytest.raises(Exception, match=r"no token for \d+ s"):
        list(answer)

    eventually(lambda: supervisor.not_ready() is None and supervisor.pid() != pid)


def test_flooded_output_does_not_slow_an_answer_down(begin: Begin) -> None:
    settings, supervisor = begin(f"{QUICK} --flood-output")
    supervisor.wait_ready(lambda: False)

    assert list(engine(settings, supervisor).answer(MODEL, WHY, lambda: False))


@pytest.mark.parametrize("fault", ["--fail-polls 1", "--garbage-polls 1", "--bad-utf8"])
def test_a_bad_poll_costs_one_request_at_most_and_not_the_next(begin: Begin, fault: str) -> None:
    settings, supervisor = begin(f"{QUICK} {fault}")
    supervisor.wait_ready(lambda: False)
    card = engine(settings, supervisor)
    for _ in range(3):
        answer = card.answer(MODEL, WHY, lambda: False)
        texts: list[str] = []
        with contextlib.suppress(RuntimeFault):
            texts = [event.text for event in list(answer)[:-1]]
        answer.close()
        assert "".join(texts) in (
            "",
            "I am a simulated model, no card is involved. You said: Why is the sky blue?",
        )
    eventually(lambda: supervisor.not_ready() is None)


def test_an_attached_pair_is_used_and_left_alone(begin: Begin) -> None:
    settings, supervisor = begin()
    supervisor.wait_ready(lambda: False)
    pids = [status.pid for status in supervisor.snapshot()]
    attached = AttachedSupervisor(settings, interval=0.05)
    attached.start()
    attached.wait_ready(lambda: False)

    assert attached.window() == Window(context=1023, prefill_limit=512)
    assert attached.health().status == "ok"
    assert attached.pid() is None
    *_, finished = engine(settings, attached).answer(MODEL, WHY, lambda: False)
    assert finished.reason == "stop"
    os.kill(pids[1] or 0, signal.SIGKILL)
    problem = eventually(attached.not_ready)
    assert isinstance(problem, Starting)
    eventually(lambda: attached.not_ready() is None)
    os.kill(pids[0] or 0, signal.SIGKILL)
    # Its own supervisor starts it again and then tests the pair, which would stop our answer.
    eventually(lambda: supervisor.snapshot()[0].pid not in (None, pids[0]))
    supervisor.wait_ready(lambda: False)
    *_, finished = engine(settings, attached).answer(MODEL, WHY, lambda: False)
    assert finished.reason == "stop"
    attached.restart("nothing is ours.", None)
    attached.load()
    assert "start it again" in attached.why_gone(None)
    attached.leave()
    assert isinstance(attached.not_ready(), Unavailable)
    attached.stop()
    assert isinstance(attached.interruption(), Unavailable)
    assert supervisor.pid()


def test_one_failed_round_does_not_end_the_checks() -> None:
    attached = AttachedSupervisor(configured(), interval=0.01)
    problems: list[object] = []

    def tell(problem: object) -> None:
        problems.append(problem)
        if len(problems) == 2:
            raise OSError("too many open files")

    attached.start(tell)
    eventually(lambda: len(problems) > 3)
    attached.stop()


def test_nothing_to_attach_to_is_an_error_that_says_what_to_start() -> None:
    attached = AttachedSupervisor(configured(), interval=0.05)
    attached.start()

    with pytest.raises(Unavailable, match="start_tokenizer.sh"):
        attached.wait_ready(lambda: False)
    tokenizer = attached.health().tokenizer
    assert tokenizer
    assert "start_tokenizer.sh" in (tokenizer.note or "")
    attached.stop()


def test_the_self_test_names_the_program_that_it_could_not_reach() -> None:
    with pytest.raises(SelfTestFailed, match="the tokenizer at .* does not answer"):
        self_test(configured(), Window(100, 80), lambda: False)


def test_an_idle_model_leaves_the_card_and_the_next_request_brings_it_back(begin: Begin) -> None:
    settings, supervisor = begin(AX650_KEEP_ALIVE="0.3")
    card = engine_on(settings, supervisor)
    supervisor.wait_ready(lambda: False)
    tokenizer = supervisor.snapshot()[0].pid
    threading.Thread(target=card._unload_when_expired, daemon=True).start()
    for _ in range(2):
        answer = card.answer(MODEL, WHY, lambda: False)
        *_, (finished, loaded) = ((event, card.loaded()) for event in answer)
        assert finished.reason == "stop"
        assert loaded
        eventually(lambda: supervisor.pid() is None)
        assert card.loaded() == ()
        assert card.not_ready() is None
    assert supervisor.snapshot()[0].pid == tokenizer
    assert card.context_length() == 2559
    card.stop()


def test_post_restart_starts_a_runtime_that_was_given_up(begin: Begin) -> None:
    _, supervisor = begin(f"{QUICK} --exit-during-load=11")
    eventually(lambda: supervisor.snapshot()[1].last_exit)

    problem = supervisor.not_ready()
    assert isinstance(problem, Starting | GaveUp)
    assert "/dev/axcl_host" in problem.message


def test_a_wedged_runtime_is_no_longer_reported_as_healthy(begin: Begin) -> None:
    _, supervisor = begin()
    supervisor.wait_ready(lambda: False)
    assert supervisor.health().status == "ok"

    supervisor.restart("it is of no use", supervisor.pid())
    assert supervisor.health().status != "ok"


def test_the_smoke_test_shows_an_answer_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ports = ("AX650_PORT", "AX650_RUNTIME_PORT", "AX650_TOKENIZER_PORT")
    for variable in ports:
        monkeypatch.setenv(variable, str(own_port()))
    monkeypatch.setenv("AX650_MOCK_ARGS", QUICK)
    monkeypatch.setattr(sys, "argv", ["smoke_test", "--question", "Are you there?"])
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        status = smoke_test.main()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    said, logged = capfd.readouterr()

    assert status == 0
    assert "SIMULATOR" not in logged
    assert said.count("SIMULATOR") == 1
    assert "You said: Are you there?" in said
    assert "tokens/s" in said
    assert " INFO " not in said  # the smoke test does not show the service's log
    assert said.endswith("stopped; no process is left behind\n")


def test_default_ports_in_use_are_replaced_and_configured_ports_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(smoke_test, "holders", lambda port: ["somebody"] if port == 5002 else [])
    usable = smoke_test.with_usable_ports({"AX650_TOKENIZER_PORT": "5003"})

    assert usable["AX650_PORT"] != "5002"
    assert usable["AX650_TOKENIZER_PORT"] == "5003"
    assert "AX650_RUNTIME_PORT" not in usable
    assert smoke_test.with_usable_ports({"AX650_PORT": "5002"})["AX650_PORT"] == "5002"
