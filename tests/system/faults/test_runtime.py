"""Faults of the card's program, against the whole service."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest

from tests.support.asking import PREFACE, Asked
from tests.support.service import Service, Start
from tests.support.waiting import eventually
from tests.system.faults.conftest import Whole

pytestmark = pytest.mark.integration

LONG = "all of this again " * 80  # four seconds to repeat


def kill_runtime(service: Service) -> float:
    """Kill the runtime and return the time of it."""
    os.kill(service.pids()[1], signal.SIGKILL)
    return time.monotonic()


def runtime_of(service: Service) -> dict[str, object]:
    state: dict[str, object] = service.health()["runtime"]
    return state


def queue(service: Service) -> tuple[bool, int]:
    state = service.health()["queue"]
    return state["answering"], state["waiting"]


# --- it crashes


def test_a_runtime_killed_while_idle_only_delays_the_next_client(
    start: Start, whole_again: Whole
) -> None:
    service = start()
    before = service.pids()
    began = kill_runtime(service)
    asked = Asked(service, "Are you there?")

    eventually(lambda: service.health()["status"] == "restarting")
    assert "SIGKILL" in str(runtime_of(service)["last_exit"])
    assert "Traceback" not in service.log.read_text()
    assert asked.answered_whole()
    whole_again(service, began)
    after = service.pids()
    assert (after[0], after[1] != before[1]) == (before[0], True)


def test_a_runtime_killed_while_it_reads_a_prompt_is_asked_again_and_no_client_notices(
    start: Start, whole_again: Whole
) -> None:
    service = start("--prefill-tokens-per-second 100")  # in chunks of 128
    asked = Asked(service, "I am read.")
    eventually(lambda: queue(service) == (True, 0))
    queued = Asked(service, "I wait.")
    eventually(lambda: queue(service) == (True, 1))
    began = kill_runtime(service)

    eventually(lambda: service.health()["status"] == "restarting")
    assert asked.answered_whole()
    assert queued.answered_whole()
    whole_again(service, began)
    assert runtime_of(service)["restarts"] == 1


def test_a_runtime_killed_in_mid_stream_ends_the_stream_with_an_error(
    start: Start, whole_again: Whole
) -> None:
    service = start()
    before = service.pids()
    asked = Asked(service, LONG)
    eventually(lambda: asked.text)
    queued = Asked(service, "I wait.")
    eventually(lambda: queue(service) == (True, 1))
    began = kill_runtime(service)

    assert "SIGKILL" in str(asked.ended().error)
    assert not asked.complete
    assert (PREFACE + LONG).startswith(asked.text)
    assert service.health()["status"] == "restarting"
    assert queued.answered_whole()
    whole_again(service, began)
    assert service.pids()[0] == before[0]
    assert runtime_of(service)["restarts"] == 1


def test_a_runtime_that_crashes_in_every_answer_is_started_again_each_time(
    start: Start, whole_again: Whole
) -> None:
    service = start("--crash-after-tokens 40 --spare-answers 1")
    began = time.monotonic()
    asked = Asked(service, "Say a lot. " * 10)

    assert "SIGSEGV" in str(asked.ended().error)
    assert asked.text in PREFACE + asked.prompt
    assert not asked.complete
    whole_again(service, began)


# --- it does not become ready


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("--exit-during-load=129", "status 129 (no card is connected)"),
        ("--refuse-port", "exited with status 0 (it was interrupted, or its port was taken)"),
    ],
)
def test_a_runtime_that_exits_before_it_is_ready_is_explained_and_tried_again(
    start: Start, fault: str, words: str
) -> None:
    service = start(fault, wait=False)
    eventually(service.listening)
    eventually(lambda: words in str(runtime_of(service)["last_exit"]))
    refused = service.get("/ready")

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert not service.health()["model_loaded"]
    eventually(lambda: runtime_of(service)["restarts"])


def test_a_runtime_whose_load_makes_no_progress_is_started_again(start: Start) -> None:
    service = start("--load-seconds 9000", wait=False, AX650_START_TIMEOUT="1")
    eventually(service.listening)

    eventually(lambda: "no progress for 1 s" in str(runtime_of(service)["note"]))
    assert service.get("/ready").status_code == 503
    eventually(lambda: runtime_of(service)["restarts"])


def test_a_runtime_whose_answers_cannot_be_fetched_is_never_ready(start: Start) -> None:
    service = start("--fail-polls 100000", wait=False)
    eventually(service.listening)

    eventually(lambda: "the self-test failed" in str(runtime_of(service)["note"]))
    assert "status 500" in str(runtime_of(service)["note"])
    assert service.get("/ready").status_code == 503


# --- it answers, but badly


def test_a_few_bad_polls_lose_no_letter_of_any_answer(start: Start) -> None:
    service = start("--fail-polls 2 --garbage-polls 2 --bad-utf8 --spare-answers 1")
    before = service.pids()
    several = [Asked(service, f"This is number {number}.") for number in range(3)]

    assert all(asked.answered_whole() for asked in several)
    assert service.health()["status"] == "ok"
    assert service.pids() == before


def test_a_runtime_that_refuses_all_polls_is_replaced(start: Start, whole_again: Whole) -> None:
    service = start("--garbage-polls 100000 --spare-answers 2")
    assert Asked(service, "The last good one.").answered_whole()
    began = time.monotonic()
    asked = Asked(service, "Hello?").ended()

    assert "a poll with status" in str(asked.error) or asked.answered_whole()
    assert asked.complete != bool(asked.error)
    whole_again(service, began)
    assert runtime_of(service)["restarts"]


def test_a_runtime_that_hangs_in_mid_answer_is_replaced_and_the_others_are_answered(
    start: Start, whole_again: Whole
) -> None:
    service = start("--hang-after-tokens 40", AX650_STALL_TIMEOUT="5")
    asked = Asked(service, "Say a lot. " * 10)
    eventually(lambda: asked.text)
    queued = Asked(service, "Be brief.", num_predict=5)
    began = time.monotonic()

    assert "no token for " in str(asked.ended().error)
    assert not asked.complete
    eventually(lambda: service.health()["status"] in ("stopping", "restarting"))
    assert queued.ended().complete
    assert PREFACE.startswith(queued.text)
    whole_again(service, began)
    assert runtime_of(service)["restarts"] == 1


def test_a_runtime_whose_running_flag_stays_set_is_replaced(
    start: Start, whole_again: Whole
) -> None:
    service = start("--stick-running --spare-answers 3", AX650_STALL_TIMEOUT="5")
    assert Asked(service, "A good one.").answered_whole()
    assert Asked(service, "The last good one.").answered_whole()
    began = time.monotonic()
    stuck = Asked(service, "Hello?")
    eventually(lambda: stuck.text)
    queued = Asked(service, "I wait.")

    assert "try again" in str(stuck.ended().error)
    assert not stuck.complete
    assert queued.answered_whole()
    whole_again(service, began)
    assert runtime_of(service)["restarts"] == 1


def test_context_full_from_the_runtime_is_an_error_and_not_an_answer(start: Start) -> None:
    service = start("--full-context --spare-answers 2")
    assert Asked(service, "The last good one.").answered_whole()
    before = service.pids()
    refused = Asked(service, "Hello?").ended()

    assert refused.status == 400
    assert "longer than the context length" in str(refused.error)
    assert service.get("/ready").status_code == 200
    assert service.pids() == before


def test_a_runtime_that_floods_its_output_delays_no_answer(start: Start) -> None:
    service = start("--flood-output")
    worker = psutil.Process(service.pids()[1]).parent()
    assert worker
    several = [Asked(service, f"This is number {number}.") for number in range(3)]
    assert all(asked.answered_whole() for asked in several)
    used = worker.memory_info().rss
    assert Asked(service, "And again.").answered_whole()

    assert worker.memory_info().rss < used + 20e6
    assert "a line that says nothing" not in service.log.read_text()


# --- an operator


def test_post_restart_loses_only_the_running_answer(start: Start, whole_again: Whole) -> None:
    service = start()
    before = service.pids()
    asked = Asked(service, LONG)
    eventually(lambda: asked.text)
    queued = Asked(service, "I wait.")
    eventually(lambda: queue(service) == (True, 1))
    assert service.get("/restart").status_code == 405
    began = time.monotonic()
    assert service.post("/restart", None).status_code == 202

    assert "restarted in the middle of the answer" in str(asked.ended().error)
    assert not asked.complete
    assert queued.answered_whole()
    whole_again(service, began)
    assert service.pids()[1] != before[1]


def test_a_runtime_that_ignores_sigint_and_sigterm_is_killed(
    start: Start, whole_again: Whole
) -> None:
    service = start("--ignore-sigint --ignore-sigterm")
    began = time.monotonic()
    assert service.post("/restart", None).status_code == 202
    assert Asked(service, "I wait.").answered_whole()
    whole_again(service, began)

    assert "SIGKILL" in str(runtime_of(service)["last_exit"])
    os.kill(service.pids()[1], signal.SIGKILL)  # or the end of the service would wait as long


# --- it is told to end by another program


@pytest.mark.parametrize("moment", ["prefill", "decode"])
def test_an_answer_that_the_program_ends_before_it_obeys_a_sigint_is_whole(
    start: Start, whole_again: Whole, moment: str
) -> None:
    service = start("--prefill-tokens-per-second 100" if moment == "prefill" else "")
    pid = service.pids()[1]
    asked = Asked(service, "Say it once more. " * 20)
    eventually(lambda: queue(service)[0])
    if moment == "decode":
        eventually(lambda: asked.text)
    began = time.monotonic()
    os.kill(pid, signal.SIGINT)

    assert asked.answered_whole()
    assert Asked(service, "And then?").answered_whole()
    whole_again(service, began)
    assert service.pids()[1] != pid
