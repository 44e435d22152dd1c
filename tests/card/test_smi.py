"""axcl-smi as a program: with a time-out, without a terminal, one call at a time."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from axproxy.card import smi as axcl_smi
from axproxy.card.smi import AxclSmi, device_indices
from axproxy.card.smi_table import NoTable, Table, read_table
from tests.support import fake_axcl_smi as fake
from tests.support.waiting import eventually


def calls(folder: Path) -> list[str]:
    noted = folder / "calls"
    return noted.read_text().splitlines() if noted.exists() else []


def look(smi: AxclSmi, max_age: float = 0.0) -> Table | NoTable:
    reading = smi.look(max_age)
    assert reading
    return reading.said


def test_it_is_asked_for_its_summary_and_for_nothing_else(tmp_path: Path) -> None:
    said = look(AxclSmi(fake.install(tmp_path)))

    assert isinstance(said, Table)
    assert said.cards[0].cmm_free_mb == 7022
    assert calls(tmp_path) == ["[] stdin=False tty=False"]  # no option, no terminal


def test_a_thousand_open_connections_do_not_hide_the_card(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, hard), hard))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert isinstance(look(AxclSmi(fake.install(tmp_path))), Table)
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_reading_is_remembered_for_a_few_seconds(tmp_path: Path) -> None:
    now = [100.0]
    smi = AxclSmi(fake.install(tmp_path), clock=lambda: now[0])
    first = smi.look()
    now[0] += 4.0
    assert smi.look() is first
    now[0] += 4.0
    assert smi.look() is not first
    assert len(calls(tmp_path)) == 2


def test_callers_take_turns(tmp_path: Path) -> None:
    smi = AxclSmi(fake.install(tmp_path, "slow"))
    seen: list[Table | NoTable] = []
    threads = [threading.Thread(target=lambda: seen.append(look(smi))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [type(said) for said in seen] == [Table, Table, Table]  # nobody was told to come later


def test_another_program_that_asks_is_waited_for(tmp_path: Path) -> None:
    program = fake.install(tmp_path, "slow")
    with subprocess.Popen([program], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL):
        eventually(lambda: calls(tmp_path))
        assert isinstance(look(AxclSmi(program)), Table)


def test_one_that_is_always_running_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(axcl_smi, "BUSY_PAUSE", 0.0)

    assert look(AxclSmi(fake.install(tmp_path, "busy"))).why == "busy"
    assert len(calls(tmp_path)) == 1 + axcl_smi.BUSY_TRIES


def time_passes_once_it_hangs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the program takes to begin."""
    hanging = folder / "hanging"

    def now() -> float:
        return 1000.0 if hanging.exists() and hanging.read_text() else 0.0

    monkeypatch.setattr(axcl_smi, "time", SimpleNamespace(monotonic=now, sleep=time.sleep))


@pytest.mark.parametrize("vice", ["hang", "deaf"])
def test_a_tool_that_hangs_is_ended_politely_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vice: str
) -> None:
    ladder = tuple((number, 0.2) for number, _ in axcl_smi._POLITELY[:2])
    monkeypatch.setattr(axcl_smi, "_POLITELY", (*ladder, (axcl_smi.signal.SIGKILL, 60.0)))
    time_passes_once_it_hangs(tmp_path, monkeypatch)
    smi = AxclSmi(fake.install(tmp_path, vice), patience=1.0)
    said = look(smi)

    assert said == NoTable("hung", f"{tmp_path / 'axcl-smi'} did not answer in 1 s")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "hanging").read_text()), 0)


def test_one_that_cannot_be_ended_is_not_joined_by_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(axcl_smi, "_POLITELY", ((axcl_smi.signal.SIGINT, 0.1),))
    time_passes_once_it_hangs(tmp_path, monkeypatch)
    smi = AxclSmi(fake.install(tmp_path, "deaf"), patience=1.0)
    look(smi)
    stuck = int((tmp_path / "hanging").read_text())

    assert look(smi) == NoTable("hung", f"an earlier call still hangs (pid {stuck})")
    os.kill(stuck, 9)
    (tmp_path / "scenario").write_text("idle")
    eventually(lambda: isinstance(look(smi), Table))


def test_endless_output_fills_no_memory(tmp_path: Path) -> None:
    assert look(AxclSmi(fake.install(tmp_path, "flood"))).why == "hung"


def test_a_helper_that_is_left_behind_is_not_waited_for(tmp_path: Path) -> None:
    program = tmp_path / "axcl-smi"
    (tmp_path / "table").write_text(fake.scenario("idle", 0))
    program.write_text(f"#!/bin/sh\nsleep 60 &\necho $! >{tmp_path}/helper\ncat {tmp_path}/table\n")
    program.chmod(0o755)
    started = time.monotonic()

    assert isinstance(look(AxclSmi(program, patience=30.0)), Table)
    assert time.monotonic() - started < 30
    os.kill(int((tmp_path / "helper").read_text()), 9)


def test_nothing_is_asked_while_a_model_is_loaded(tmp_path: Path) -> None:
    smi = AxclSmi(fake.install(tmp_path))
    smi.hush()
    assert smi.look() is None
    smi.unhush()
    remembered = smi.look()
    smi.hush()

    assert smi.look(max_age=60) is remembered
    assert smi.look(max_age=0) is None
    assert len(calls(tmp_path)) == 1


def test_a_load_waits_for_the_call_under_way(tmp_path: Path) -> None:
    smi = AxclSmi(fake.install(tmp_path, "slow"))
    thread = threading.Thread(target=smi.look)
    thread.start()
    eventually(lambda: calls(tmp_path))
    smi.hush()

    assert smi.last  # it has ended
    thread.join()


def test_the_program_is_found_where_no_profile_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(axcl_smi, "PROGRAMS", str(tmp_path))

    assert AxclSmi().program is None
    assert AxclSmi().look().said.why == "missing"
    assert AxclSmi(fake.install(tmp_path)).program == AxclSmi().program
    monkeypatch.setenv("PATH", str(tmp_path))
    assert AxclSmi().program == tmp_path / "axcl-smi"
    assert AxclSmi(tmp_path / "no-such").look().said.why == "missing"


def test_a_file_that_is_no_program_is_told_as_missing(tmp_path: Path) -> None:
    program = tmp_path / "axcl-smi"
    program.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    program.chmod(0o755)

    said = look(AxclSmi(program))
    assert said.why == "missing"
    assert "cannot be run" in said.said


@pytest.mark.parametrize(
    ("device", "scenario", "indices"),
    [
        ("auto", "idle", "0"),
        ("auto", "second", "1"),
        ("auto", "old", "0"),  # on bus 0x81, which is nobody's business
        ("auto", "driverless", "0"),
        ("auto", "busy", "0"),
        ("0,1", "two", "0,1"),
        ("3", "idle", "3"),
    ],
)
def test_the_runtime_is_given_the_index_and_never_the_bus(
    device: str, scenario: str, indices: str
) -> None:
    assert device_indices(device, read_table(fake.scenario(scenario, 1))) == indices


@pytest.mark.parametrize("scenario", ["idle", "old"])
def test_the_number_in_the_recovery_ladder_is_the_one_that_the_tool_takes(
    tmp_path: Path, scenario: str
) -> None:
    program = fake.install(tmp_path, scenario)
    table = look(AxclSmi(program))
    number = str(table.tool_number(table.cards[0]))
    ran = subprocess.run(
        [program, "reboot", "-d", number], input="y\n", capture_output=True, text=True, check=True
    )

    assert f"reboot device {number} success" in ran.stdout
