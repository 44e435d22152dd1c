"""The card through real processes: a fake axcl-smi, and the simulator behind the vendor's flags."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from axproxy.card.failure import recovery_steps
from axproxy.engine.protocol import Engine
from axproxy.errors import CardFailed, GaveUp
from axproxy.health import CardHealth
from axproxy.messages import ChatRequest, Finished, Message
from axproxy.models.description import describe_model
from axproxy.process.states import State
from axproxy.settings import Settings
from runtime_supervisor import RuntimeSupervisor
from tests.support import fake_axcl_smi as fake
from tests.support.engines import engine_on
from tests.support.model_folders import published_model
from tests.support.ports import own_port
from tests.support.runtimes import Clients
from tests.support.service import ROOT
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

QUICK = "--load-seconds 0.1 --tokens-per-second 300 --prefill-tokens-per-second 0"
MODEL = describe_model(Settings())
WHY = ChatRequest((Message("user", "Why is the sky blue?"),))
LINE = "[E][                       inference][ 526]: AX_ENGINE_Execute"

NO_HOST = "binary,pcie,driver,device-node,kernel-log"  # checks that fail without a card

Begin = Callable[..., RuntimeSupervisor]


@pytest.fixture
def begin() -> Iterator[Begin]:
    begun: list[RuntimeSupervisor] = []

    def supervised(**environ: str) -> RuntimeSupervisor:
        settings = Settings.from_env(environ)
        begun.append(RuntimeSupervisor(settings))
        begun[-1].start()
        return begun[-1]

    yield supervised
    for supervisor in begun:
        supervisor.stop()


def ports() -> dict[str, str]:
    return {
        "AX650_RUNTIME_PORT": str(own_port()),
        "AX650_TOKENIZER_PORT": str(own_port()),
    }


def mock(args: str) -> dict[str, str]:
    return {"AX650_MOCK_ARGS": f"{QUICK} {args}", **ports()}


def engine(supervisor: RuntimeSupervisor) -> Engine:
    settings = supervisor.recipe.settings
    return engine_on(settings, supervisor)


def answer(supervisor: RuntimeSupervisor, text: str = "Why?") -> tuple[str, Any]:
    request = ChatRequest((Message("user", text),))
    events = list(engine(supervisor).answer(MODEL, request, lambda: False))
    return "".join(event.text for event in events[:-1]), events[-1]


def vendor(folder: Path, before: str = "", mock_args: str = QUICK) -> dict[str, str]:
    """Return settings for a program that runs the shell commands `before`, then the simulator."""
    model = published_model(folder / "repo")
    chosen = ports()
    binary = folder / "main_api_axcl_aarch64"
    port = chosen["AX650_RUNTIME_PORT"]
    binary.write_text(
        f"#!/bin/sh\n{before}\n"
        f'exec {sys.executable} {ROOT / "mock_main_api.py"} --port {port} {mock_args} "$@"\n'
    )
    binary.chmod(0o755)
    return {
        "AX650_MODEL_PATH": str(model),
        "AX650_RUNTIME_BIN": str(binary),
        "AX650_PREFLIGHT_SKIP": NO_HOST,
        **chosen,
    }


def given_up(supervisor: RuntimeSupervisor) -> str:
    eventually(lambda: supervisor.snapshot()[1].state is State.FAILED)
    problem = supervisor.not_ready()
    assert isinstance(problem, GaveUp)
    assert supervisor.health().runtime.note in problem.message
    return problem.message


def test_a_card_that_is_lost_in_an_answer_is_an_error_and_not_a_long_answer(
    begin: Begin,
) -> None:
    lost = "--lose-card-after-tokens 6 --spare-answers 1"  # the self-test's answer
    supervisor = begin(**mock(f"{lost} --context 600 --prefill-limit 512"))
    supervisor.wait_ready(lambda: False)
    pid = supervisor.pid()
    with pytest.raises(CardFailed, match=r"the card failed while answering \(AX_ENGINE_Execute\)"):
        answer(supervisor)

    eventually(lambda: supervisor.pid() not in (pid, None))
    supervisor.wait_ready(lambda: False)
    assert supervisor.snapshot()[1].restarts == 1
    short = ChatRequest(WHY.messages, limits=type(WHY.limits)(max_tokens=40))
    with pytest.raises(CardFailed):  # also in a short answer
        list(engine(supervisor).answer(MODEL, short, lambda: False))
    message = given_up(supervisor)
    assert "gave up after 2 failures in a row" in message
    assert recovery_steps(0) in message
    # A client's text was on the output, too, so it is not given up for good.
    assert not supervisor.recipe.log.run.certain


def test_a_card_that_is_lost_from_the_start_fails_the_self_test_and_is_given_up(
    begin: Begin,
) -> None:
    supervisor = begin(**mock("--lose-card-after-tokens 1 --context 600 --prefill-limit 512"))

    assert "the card no longer works (AX_ENGINE_Execute)" in given_up(supervisor)
    assert supervisor.snapshot()[1].restarts == 1
    supervisor.load()
    eventually(lambda: supervisor.snapshot()[1].state is State.STARTING)


def test_fake_log_lines_in_a_prompt_have_no_effect(begin: Begin) -> None:
    supervisor = begin(**mock(""))
    supervisor.wait_ready(lambda: False)
    pid = supervisor.pid()
    fakes = f"\n{LINE}\ndevice 1 is dead\n[N][ Run][1168]: hit eos,avg 99999.00 token/s\n{LINE}"
    for _ in range(3):
        text, finished = answer(supervisor, f"Say: {fakes}")
        assert text.endswith(fakes)
        assert isinstance(finished, Finished)
        assert finished.usage.completion_tokens / finished.usage.eval < 5000

    assert (supervisor.pid(), supervisor.not_ready()) == (pid, None)


def test_a_layer_that_did_not_load_is_detected_although_the_bar_shows_100(
    begin: Begin, tmp_path: Path
) -> None:
    # As users reported: the driver refuses a layer, and the program goes on and serves.
    refused = (
        r"trap '' INT;"  # a load ignores SIGINT
        r"printf '[2025-11-09 08:46:00.029][1][E][engine][load][97]: Decode api(4) response "
        r"failed.\n'"
    )
    settings = vendor(tmp_path, refused)
    supervisor = begin(**settings, AX650_AXCL_SMI=str(fake.install(tmp_path)))
    message = given_up(supervisor)

    assert "the card no longer works (Decode api(4) response failed)" in message
    assert "reboot -d 0" in message
    assert supervisor.health().load_percent == 100


@pytest.mark.parametrize(
    ("ending", "file"),
    [
        ("", "a model file"),
        (
            r"printf 'init post axmodel(qwen3_post.axmodel) failed\n';"
            r"printf 'AXCLWorker exit with devid 0\n'; exit 255",
            "the model file qwen3_post.axmodel",
        ),
    ],
)
def test_a_refused_model_file_is_named_and_never_called_a_dead_card(
    begin: Begin, tmp_path: Path, ending: str, file: str
) -> None:
    refused = r"printf '[E][  inference][ 12]: AX_ENGINE_CreateHandle\r\n';" + ending
    settings = vendor(tmp_path, refused)
    supervisor = begin(**settings, AX650_AXCL_SMI=str(fake.install(tmp_path)))
    status = eventually(
        lambda: (row := supervisor.snapshot()[-1]).restarts > 1 and row.note and row
    )

    assert f"the card refused {file}: it is damaged, made for another chip" in status.note
    assert "no longer works" not in status.note


def test_a_model_on_a_disk_that_comes_late_is_waited_for(begin: Begin, tmp_path: Path) -> None:
    settings = vendor(tmp_path, mock_args=QUICK)
    away = (tmp_path / "repo").rename(tmp_path / "away")
    supervisor = begin(**settings, AX650_AXCL_SMI=str(fake.install(tmp_path)))

    tokenizer = eventually(lambda: (row := supervisor.snapshot())[0].blocked_by and row[0])
    assert f"{settings['AX650_MODEL_PATH']} does not exist; mount its disk" in tokenizer.blocked_by
    assert (tokenizer.restarts, tokenizer.last_exit) == (0, None)
    assert supervisor.health().status == "blocked"
    assert [check.name for check in supervisor.health().preflight] == ["model-folder"]
    away.rename(tmp_path / "repo")
    eventually(lambda: supervisor.not_ready() is None)
    assert [status.restarts for status in supervisor.snapshot()] == [0, 0]


def test_a_layer_that_is_missing_without_a_log_line_fails_the_self_test(
    begin: Begin, tmp_path: Path
) -> None:
    # The program then aborts at the first answer (observed on the binary).
    settings = vendor(tmp_path, mock_args=f"{QUICK} --crash-after-tokens 0")
    supervisor = begin(**settings, AX650_AXCL_SMI=str(fake.install(tmp_path)))

    status = eventually(lambda: (status := supervisor.snapshot()[1]).last_exit and status)
    assert "killed by SIGSEGV" in status.last_exit
    assert supervisor.not_ready()


def test_health_shows_the_card_and_the_load_is_not_disturbed(begin: Begin, tmp_path: Path) -> None:
    smi = fake.install(tmp_path, "loaded")
    settings = vendor(
        tmp_path,
        f"wc -l < {tmp_path}/calls > {tmp_path}/before",
        mock_args=QUICK.replace("0.1", "1.5"),
    )
    supervisor = begin(**settings, AX650_AXCL_SMI=str(smi))
    card = CardHealth(temperature_c=37, cmm_total_mb=7040, cmm_used_mb=6348, npu_percent=35)
    eventually(lambda: supervisor.health().card == card)
    eventually(lambda: (supervisor.health().load_percent or 0) > 90)

    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == int((tmp_path / "before").read_text())  # none since the load began
    supervisor.wait_ready(lambda: False)
    assert set(calls) == {"[] stdin=False tty=False"}  # only the summary; nothing is reset


def test_the_next_runtime_waits_until_the_card_is_free(
    begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("axproxy.card.monitor.POLL_INTERVAL_RELEASE", 0.1)
    settings = vendor(tmp_path)
    supervisor = begin(**settings, AX650_AXCL_SMI=str(fake.install(tmp_path)))
    supervisor.wait_ready(lambda: False)
    pid = supervisor.pid()
    (tmp_path / "scenario").write_text(f"loaded {pid}")
    supervisor.restart("as the test says", pid)

    note = eventually(
        lambda: (note := supervisor.health().runtime.note) and "still lists" in note and note,
        20,
    )
    assert f"the card still lists the runtime that has ended (pid {pid})" in note
    time.sleep(1.5)  # longer than the restart's own delay
    assert supervisor.pid() is None
    (tmp_path / "scenario").write_text("idle")
    eventually(lambda: supervisor.pid() not in (pid, None))


def lingering(begin: Begin, folder: Path, delay: float, seconds: float) -> RuntimeSupervisor:
    """A simulated runtime whose card frees memory `seconds` late; each `axcl-smi` takes `delay`."""
    settings = vendor(folder, fake.note_user(folder))
    smi = fake.install(folder, f"lingering {delay} {seconds}")
    supervisor = begin(**settings, AX650_AXCL_SMI=str(smi))
    supervisor.wait_ready(lambda: False)
    return supervisor


def test_a_request_right_after_an_unload_waits_for_the_cards_memory(
    begin: Begin, tmp_path: Path
) -> None:
    supervisor = lingering(begin, tmp_path, delay=0.6, seconds=0.5)
    for _ in range(3):
        supervisor.unload()
        eventually(lambda: supervisor.pid() is None)
        assert "Why?" in answer(supervisor)[0]


def test_all_that_wait_after_a_crash_wait_until_the_card_has_let_the_old_pid_go(
    begin: Begin, tmp_path: Path
) -> None:
    supervisor = lingering(begin, tmp_path, delay=0.1, seconds=4.0)
    os.kill(supervisor.pid() or 0, signal.SIGKILL)
    eventually(lambda: supervisor.pid() is None)
    served, one = [], engine(supervisor)
    clients = Clients()
    for _ in range(3):
        clients.start(lambda: served.append(list(one.answer(MODEL, WHY, lambda: False))))
    eventually(lambda: "still lists" in str(supervisor.health().runtime.note))
    clients.join()

    assert len(served) == 3
    assert all(isinstance(events[-1], Finished) for events in served)


def test_health_is_instant_while_the_tool_hangs(begin: Begin, tmp_path: Path) -> None:
    settings = vendor(tmp_path)
    smi = fake.install(tmp_path)
    supervisor = begin(**settings, AX650_AXCL_SMI=str(smi))
    supervisor.wait_ready(lambda: False)
    (tmp_path / "scenario").write_text("hang")
    thread = threading.Thread(target=supervisor.recipe.card.smi.read, args=(0.0,))
    thread.start()
    eventually((tmp_path / "hanging").exists)
    started = time.monotonic()
    for _ in range(100):
        supervisor.health()
    assert time.monotonic() - started < 8  # the tool has ten seconds for an answer

    supervisor.stop()  # this also ends the call
    thread.join()
    eventually(lambda: not Path(f"/proc/{(tmp_path / 'hanging').read_text()}").exists())
