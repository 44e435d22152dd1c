"""axcl-smi is run with a time limit, without a terminal, one call at a time."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from axproxy.card.smi import _STOP_LADDER, BUSY_RETRIES, AxclSmi, device_indices
from axproxy.card.smi_table import NoTable, Table, read_table
from tests.support import fake_axcl_smi as fake
from tests.support.waiting import eventually


def calls(folder: Path) -> list[str]:
    file = folder / "calls"
    return file.read_text().splitlines() if file.exists() else []


def read(smi: AxclSmi, max_age: float = 0.0) -> Table | NoTable:
    reading = smi.read(max_age)
    assert reading
    return reading.result


def test_the_tool_is_called_for_its_summary_only(tmp_path: Path) -> None:
    result = read(AxclSmi(fake.install(tmp_path)))

    assert isinstance(result, Table)
    assert result.cards[0].cmm_free_mb == 7022
    assert calls(tmp_path) == ["[] stdin=False tty=False"]  # no option, no terminal


def test_the_card_is_read_beside_a_thousand_open_connections(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, hard), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert isinstance(read(AxclSmi(fake.install(tmp_path))), Table)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_reading_is_reused_for_a_few_seconds(tmp_path: Path) -> None:
    now = [100.0]
    smi = AxclSmi(fake.install(tmp_path), clock=lambda: now[0])
    first = smi.read()
    now[0] += 4.0
    assert smi.read() is first
    now[0] += 4.0
    assert smi.read() is not first
    assert len(calls(tmp_path)) == 2


def test_callers_take_turns(tmp_path: Path) -> None:
    smi = AxclSmi(fake.install(tmp_path, "slow"))
    results: list[Table | NoTable] = []
    threads = [threading.Thread(target=lambda: results.append(read(smi))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [type(result) for result in results] == [Table, Table, Table]  # none was refused as busy


def test_a_call_waits_for_another_programs_call(tmp_path: Path) -> None:
    program = fake.install(tmp_path, "slow")
    with subprocess.Popen([program], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL):
        eventually(lambda: calls(tmp_path))
        assert isinstance(read(AxclSmi(program)), Table)


def test_a_tool_that_is_always_running_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("axproxy.card.smi.BUSY_RETRY_DELAY", 0.0)

    assert read(AxclSmi(fake.install(tmp_path, "busy"))).reason == "busy"
    assert len(calls(tmp_path)) == 1 + BUSY_RETRIES


def make_time_pass_once_it_hangs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the program takes to start, its time limit ends only after it hangs."""
    hanging = folder / "hanging"

    def now() -> float:
        return 1000.0 if hanging.exists() and hanging.read_text() else 0.0

    monkeypatch.setattr("axproxy.card.smi.time", SimpleNamespace(monotonic=now, sleep=time.sleep))


@pytest.mark.parametrize("fault", ["hang", "deaf"])
def test_a_tool_that_hangs_is_ended_with_milder_signals_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    ladder = tuple((number, 0.2) for number, _ in _STOP_LADDER[:2])
    monkeypatch.setattr("axproxy.card.smi._STOP_LADDER", (*ladder, (signal.SIGKILL, 60.0)))
    make_time_pass_once_it_hangs(tmp_path, monkeypatch)
    smi = AxclSmi(fake.install(tmp_path, fault), timeout=1.0)
    result = read(smi)

    assert result == NoTable("hung", f"{tmp_path / 'axcl-smi'} did not answer in 1 s")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "hanging").read_text()), 0)


def test_a_call_that_cannot_be_ended_is_not_joined_by_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("axproxy.card.smi._STOP_LADDER", ((signal.SIGINT, 0.1),))
    make_time_pass_once_it_hangs(tmp_path, monkeypatch)
    smi = AxclSmi(fake.install(tmp_path, "deaf"), timeout=1.0)
    read(smi)
    stuck = int((tmp_path / "hanging").read_text())

    assert read(smi) == NoTable("hung", f"an earlier call still hangs (pid {stuck})")
    os.kill(stuck, 9)
    (tmp_path / "scenario").write_text("idle")
    eventually(lambda: isinstance(read(smi), Table))


def test_endless_output_counts_as_hung(tmp_path: Path) -> None:
    assert read(AxclSmi(fake.install(tmp_path, "flood"))).reason == "hung"


def test_a_helper_that_the_tool_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    program = tmp_path / "axcl-smi"
    (tmp_path / "table").write_text(fake.scenario("idle", 0))
    program.write_text(f"#!/bin/sh\nsleep 60 &\necho $! >{tmp_path}/helper\ncat {tmp_path}/table\n")
    program.chmod(0o755)
    started = time.monotonic()

    assert isinstance(read(AxclSmi(program, timeout=30.0)), Table)
    assert time.monotonic() - started < 30
    os.kill(int((tmp_path / "helper").read_text()), 9)


def test_the_tool_is_not_called_while_a_model_is_loaded(tmp_path: Path) -> None:
    smi = AxclSmi(fake.install(tmp_path))
    smi.pause()
    assert smi.read() is None
    smi.resume()
    remembered = smi.read()
    smi.pause()

    assert smi.read(max_age=60) is remembered
    assert smi.read(max_age=0) is None
    assert len(calls(tmp_path)) == 1


def test_a_load_waits_for_the_call_under_way(tmp_path: Path) -> None:
    smi = AxclSmi(fake.install(tmp_path, "slow"))
    thread = threading.Thread(target=smi.read)
    thread.start()
    eventually(lambda: calls(tmp_path))
    smi.pause()

    assert smi.last  # it has ended
    thread.join()


def test_the_program_is_found_without_a_login_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("axproxy.card.smi.PROGRAMS", str(tmp_path))

    assert AxclSmi().program is None
    assert AxclSmi().read().result.reason == "missing"
    assert AxclSmi(fake.install(tmp_path)).program == AxclSmi().program
    monkeypatch.setenv("PATH", str(tmp_path))
    assert AxclSmi().program == tmp_path / "axcl-smi"
    assert AxclSmi(tmp_path / "no-such").read().result.reason == "missing"


def test_a_file_that_is_not_a_program_counts_as_missing(tmp_path: Path) -> None:
    program = tmp_path / "axcl-smi"
    program.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    program.chmod(0o755)

    result = read(AxclSmi(program))
    assert result.reason == "missing"
    assert "cannot be run" in result.message


@pytest.mark.parametrize(
    ("device", "scenario", "indices"),
    [
        ("auto", "idle", "0"),
        ("auto", "second", "1"),
        ("auto", "old", "0"),  # its bus, 0x81, does not matter
        ("auto", "driverless", "0"),
        ("auto", "busy", "0"),
        ("0,1", "two", "0,1"),
        ("3", "idle", "3"),
    ],
)
def test_the_runtime_gets_the_index_and_never_the_bus(
    device: str, scenario: str, indices: str
) -> None:
    assert device_indices(device, read_table(fake.scenario(scenario, 1))) == indices


@pytest.mark.parametrize("scenario", ["idle", "old"])
def test_the_number_in_the_recovery_steps_is_the_one_that_the_tool_takes(
    tmp_path: Path, scenario: str
) -> None:
    program = fake.install(tmp_path, scenario)
    table = read(AxclSmi(program))
    number = str(table.tool_number(table.cards[0]))
    ran = subprocess.run(
        [program, "reboot", "-d", number], input="y\n", capture_output=True, text=True, check=True
    )

    assert f"reboot device {number} success" in ran.stdout
