"""The programs that hold the ports, and how to stop them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from axproxy.preflight.finding import Finding
from axproxy.preflight.ports import check_ports
from axproxy.process.ports import PortHolder
from tests.preflight.machine import Machine
from tests.support.waiting import eventually

STACKFLOW = "/sys/fs/cgroup/system.slice/llm-openai-api.service/cgroup.procs"
VENDOR = {"AX650_RUNTIME": "vendor", "AX650_MODEL_PATH": "/models/qwen3"}

Run = Callable[[str], int]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Starts a harmless program of that name and returns its pid."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> int:
        script = tmp_path / name
        script.write_text("import time; time.sleep(60)")
        started.append(subprocess.Popen([sys.executable, str(script)]))
        pid = started[-1].pid
        eventually(lambda: str(script) in psutil.Process(pid).cmdline())
        return pid

    yield start
    for process in started:
        process.kill()
        process.wait()


def look(pi: Machine, **environ: str) -> Finding:
    (finding,) = check_ports(pi.context(**environ))
    return finding


def test_free_ports_pass(pi: Machine) -> None:
    assert look(pi, **VENDOR).seen == "no other program holds ports 8000 and 12345"


def test_the_holder_of_a_port_is_named(pi: Machine) -> None:
    pi.held[8000] = [PortHolder(os.getpid())]
    finding = look(pi, **VENDOR)
    name = psutil.Process().name()
    assert finding.verdict == "fail"
    assert finding.seen == f"port 8000 is held by {name} (pid {os.getpid()})"
    assert finding.remedy == f"kill {os.getpid()}"  # the vendor's program cannot use another port


def test_a_port_that_can_be_changed_comes_with_its_setting(pi: Machine) -> None:
    pi.held = {8000: [PortHolder(os.getpid())], 12345: [PortHolder(None)]}
    runtime, tokenizer = check_ports(pi.context())
    assert runtime.remedy.endswith("or choose another port with AX650_RUNTIME_PORT")
    assert tokenizer.remedy.endswith("or choose another port with AX650_TOKENIZER_PORT")
    assert tokenizer.seen == "port 12345 is held by a program of another user"
    assert "sudo ss -ltnp 'sport = :12345'" in tokenizer.remedy


def test_the_service_of_the_card_makers_images_is_recognised_although_it_runs_as_root(
    pi: Machine,
) -> None:
    pi.held[8000] = [PortHolder(None)]
    assert "ss -ltnp" in look(pi, **VENDOR).remedy
    pi.write(STACKFLOW, "812\n")
    finding = look(pi, **VENDOR)
    assert finding.seen == "port 8000 is held by llm-openai-api"
    assert finding.remedy == "sudo systemctl disable --now llm-openai-api"
    pi.held = {12345: [PortHolder(None)]}
    assert "llm-openai-api" not in look(pi, **VENDOR).seen


def test_root_recognises_it_by_its_pid(pi: Machine, run: Run) -> None:
    pid = run("llm-openai-api")
    pi.held[8000] = [PortHolder(pid)]
    assert look(pi, **VENDOR).seen == f"port 8000 is held by llm-openai-api (pid {pid})"


@pytest.mark.parametrize("name", ["main_api_axcl_aarch64", "main_axcl_aarch64", "axllm"])
def test_a_runtime_left_from_earlier_is_asked_to_unload(pi: Machine, run: Run, name: str) -> None:
    pid = run(name)
    pi.held[8000] = [PortHolder(pid)]
    finding = look(pi, **VENDOR)
    assert finding.seen == f"port 8000 is held by {name} (pid {pid}), left from an earlier run"
    assert finding.remedy == f"kill -INT {pid}"


def test_a_tokenizer_left_from_earlier_is_ended(pi: Machine, run: Run) -> None:
    pid = run("qwen3_tokenizer_uid.py")
    pi.held[12345] = [PortHolder(pid)]
    finding = look(pi, **VENDOR)
    assert f"qwen3_tokenizer_uid.py (pid {pid}), left from an earlier run" in finding.seen
    assert f"kill {pid}" in finding.remedy


@pytest.mark.parametrize(
    "module", ["axproxy.tokenizer_server", "axproxy.tokenizer.server", "axproxy.tokenizer"]
)
def test_a_tokenizer_of_this_or_an_earlier_release_is_recognised(pi: Machine, module: str) -> None:
    code = "import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, module, "--port", "12345"]) as process:
        eventually(lambda: module in psutil.Process(process.pid).cmdline())
        pi.held[12345] = [PortHolder(process.pid)]
        finding = look(pi, **VENDOR)
        process.kill()
    assert f"{module} (pid {process.pid}), left from an earlier run" in finding.seen
    assert f"kill {process.pid}" in finding.remedy


def test_a_machine_that_hides_its_ports_fails(pi: Machine) -> None:
    def hidden(port: int, pid: int | None) -> list[PortHolder]:
        raise psutil.AccessDenied

    context = pi.context()
    object.__setattr__(context, "other_holders", hidden)
    findings = check_ports(context)
    assert [finding.verdict for finding in findings] == ["fail", "fail"]
    assert "cannot see which program holds port 8000" in findings[0].seen


def test_programs_to_attach_to_must_hold_the_ports(pi: Machine) -> None:
    pi.held[8000] = pi.held[12345] = [PortHolder(os.getpid())]
    finding = look(pi, AX650_RUNTIME="attach")
    assert (finding.verdict, finding.seen) == (
        "ok",
        "ports 12345 and 8000 are held by programs to attach to",
    )


def test_without_programs_to_attach_to_the_remedies_start_them(pi: Machine) -> None:
    tokenizer, runtime = check_ports(pi.context(AX650_RUNTIME="attach"))
    assert tokenizer.verdict == runtime.verdict == "fail"
    assert tokenizer.remedy == "./start_tokenizer.sh"
    assert runtime.seen == "no program holds port 8000, and AX650_RUNTIME=attach starts none"


def test_hidden_ports_cannot_be_attached_to(pi: Machine) -> None:
    def hidden(_port: int, _owner: int | None) -> list[PortHolder]:
        raise psutil.AccessDenied

    context = pi.context(AX650_RUNTIME="attach")
    object.__setattr__(context, "other_holders", hidden)
    assert [finding.verdict for finding in check_ports(context)] == ["fail", "fail"]
