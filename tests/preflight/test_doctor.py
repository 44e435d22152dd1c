"""`python backend.py doctor`."""

from __future__ import annotations

import io
import json
import os
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from axproxy.preflight.doctor import context_for, examine, render, run, summary, wants_colour
from axproxy.preflight.finding import Finding
from axproxy.preflight.running_service import RunningService, find_service, why_stopped
from axproxy.process.instance_lock import InstanceLock, is_held
from axproxy.process.ports import PortHolder
from axproxy.settings import Settings
from tests.preflight.machine import CARD, Machine
from tests.support.ports import own_port

HEALTH: dict[str, Any] = {
    "status": "ok",
    "backend_type": "vendor",
    "model_path": "/models/qwen3-4b-ax650",
    "runtime": {"state": "ready", "pid": None, "note": None},
    "tokenizer": {"state": "ready", "pid": None, "note": None},
}
URL = "http://127.0.0.1:5002"


def service(**health: Any) -> RunningService:
    return RunningService(URL, {**HEALTH, **health})


def names(findings: list[Finding]) -> set[str]:
    return {finding.name for finding in findings}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith(("AX650_", "OLLAMA_"))]:
        monkeypatch.delenv(variable)
    for variable in ("AX650_PORT", "AX650_RUNTIME_PORT", "AX650_TOKENIZER_PORT"):
        monkeypatch.setenv(variable, str(own_port()))


def test_a_machine_with_a_card_is_examined_before_a_model_is_configured(pi: Machine) -> None:
    findings = examine(Settings(), None, pi.root)
    assert {"driver", "pcie", "model-folder"} <= names(findings)
    (model,) = [finding for finding in findings if finding.name == "model-folder"]
    assert (
        model.remedy
        == "get one: ax650 pull qwen3:1.7b, or set AX650_MODEL_PATH to the folder of yours"
    )


def test_a_machine_without_a_card_needs_nothing_but_its_ports(pi: Machine) -> None:
    pi.remove(f"{CARD}/vendor")
    pi.remove("/dev/axcl_host")
    assert names(examine(Settings(), None, pi.root)) == {"ports"}


def test_the_settings_of_a_running_service_are_taken_from_it(pi: Machine) -> None:
    mine = os.getpid()
    context = context_for(
        Settings(), service(runtime={"state": "starting", "pid": mine, "note": None}), pi.root
    )
    assert context.settings.runtime_kind == "vendor"
    assert context.settings.model_path == Path("/models/qwen3-4b-ax650")
    assert context.settings.runtime_bin == Path(psutil.Process().exe())
    assert context.owner == os.getppid()
    assert context.loading  # so axcl-smi must not be called


def test_what_only_the_services_user_can_check_is_taken_from_the_service(
    pi: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"name": "log-folder", "verdict": "warn", "seen": "its own", "remedy": "x"}
    beside = service(
        runtime={"state": "ready", "pid": os.getpid(), "note": None},
        preflight=[own, {**own, "name": "cma"}],
    )
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    theirs = {finding.name: finding for finding in examine(Settings(), beside, pi.root)}
    assert theirs["log-folder"] == Finding(**own)
    assert theirs["cma"].seen != "its own"
    monkeypatch.undo()
    ours = {finding.name: finding for finding in examine(Settings(), beside, pi.root)}
    assert ours["log-folder"].seen != "its own"


def test_a_folder_that_is_closed_to_the_services_user_only_is_a_failure(
    pi: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {"model-folder": Finding("model-folder", "fail", "may not enter /home/pi", "chmod")}
    monkeypatch.setattr(RunningService, "findings_of_another_user", lambda _self: theirs)
    findings = {f.name: f for f in examine(Settings(), service(), pi.root)}
    assert findings["model-folder"] == theirs["model-folder"]


def test_the_settings_of_this_shell_come_first(pi: Machine) -> None:
    settings = Settings.from_env({"AX650_MODEL_PATH": "/mine"})
    assert context_for(settings, service(), pi.root).settings == settings


def test_a_service_that_hides_its_pids_is_asked_for_with_its_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("axproxy.process.ports.holders", lambda _port: [PortHolder(os.getpid())])
    hiding = service(model_path=None)

    assert hiding.other_holders(8000, None) == []  # its own cannot be told from others
    assert "set AX650_API_KEY here" in hiding.describe()
    assert context_for(Settings(), hiding, Path("/")).settings.model_path is None


def test_the_ports_of_the_service_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [PortHolder(None), PortHolder(os.getpid())]
    monkeypatch.setattr("axproxy.process.ports.holders", lambda _port: found)
    assert service().other_holders(8000, None) == [
        PortHolder(os.getpid())
    ]  # not what another user holds
    assert service().other_holders(8000, os.getpid()) == []
    assert RunningService(URL, None).other_holders(8000, None) == []


def test_a_service_that_does_not_answer_may_be_loading() -> None:
    assert RunningService(URL, None).loading
    assert "set AX650_PORT here" in RunningService(URL, None).describe()


def test_a_service_is_described_with_its_problem() -> None:
    broken = service(status="loading", runtime={"state": "stopped", "pid": None, "note": "no card"})
    assert (
        broken.describe()
        == f"the service is running at {URL}: loading, vendor; it reports: no card"
    )
    assert not broken.loading


def test_a_supervisor_is_noticed_without_disturbing_it() -> None:
    settings = Settings.from_env({**os.environ})
    assert find_service(settings) is None
    supervisor = InstanceLock(settings.runtime_port)
    supervisor.acquire()
    found = find_service(settings)
    assert found
    assert found.health is None
    supervisor.release()
    assert not is_held(settings.runtime_port)


def test_a_remedy_is_on_a_line_of_its_own_to_be_copied() -> None:
    findings = [
        Finding("binary", "ok", "it is there"),
        Finding("driver", "fail", "it is not loaded", "sudo modprobe axcl_host"),
    ]
    assert render(findings, colour=False) == (
        "ok    binary  it is there\n"
        "fail  driver  it is not loaded\n"
        "              -> sudo modprobe axcl_host"
    )
    assert render(findings, colour=True).startswith("\x1b[32mok  \x1b[0m  binary")


COMMAND = "a command  with spaces" * 3


def test_on_a_terminal_sentences_are_wrapped_and_remedies_are_not() -> None:
    finding = Finding("binary", "fail", "it is neither here nor there", COMMAND)
    assert render([finding], colour=False, columns=44) == (
        f"fail  binary  it is neither here nor there\n              -> {COMMAND}"
    )
    assert render([replace(finding, seen=finding.seen + " today")], False, 44).startswith(
        "fail  binary  it is neither here nor there\n              today\n"
    )


def test_the_last_line_counts_checks_failures_and_warnings() -> None:
    fail, warn, ok = (Finding(word, word, "so") for word in ("fail", "warn", "ok"))
    assert summary([ok]) == "1 check: 0 failed, 0 warnings"
    assert summary([ok, warn, fail, fail]) == "3 checks: 2 failed, 1 warning"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "colour"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_colours_are_for_terminals_without_no_color(
    stream: io.StringIO, environ: dict[str, str], colour: bool
) -> None:
    assert wants_colour(stream, environ) == colour


def test_without_a_failure_the_exit_status_is_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AX650_RUNTIME", "mock")
    assert run(Namespace(json=True)) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    assert report["service"] is None
    assert [finding["name"] for finding in report["findings"]] == ["ports"]


def test_with_a_failure_the_exit_status_is_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("AX650_MODEL_PATH", str(tmp_path))
    assert run(Namespace(json=False)) == 1
    out = capsys.readouterr().out
    assert out.startswith("the service is not running\n")
    assert "fail  model-folder  " in out
    assert "\x1b" not in out


def test_bad_settings_are_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AX650_PREFLIGHT_SKIP", "binry")
    assert run(Namespace(json=False)) == 2
    assert "did you mean binary?" in capsys.readouterr().err


def test_a_limit_of_starts_is_named_with_the_command_that_lifts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\necho Result=start-limit-hit\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert why_stopped("ax650.service").endswith(
        "systemd refuses more starts; run: sudo systemctl reset-failed ax650.service && "
        "sudo systemctl start ax650.service"
    )

    systemctl.unlink()
    assert why_stopped("ax650.service") == "the service is not running"
