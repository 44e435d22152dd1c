"""The checks of the card, from the program to the finding and its remedy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.card.smi import AxclSmi
from axproxy.card.smi_table import NoTable, Table, read_table
from axproxy.preflight.card import (
    CARD_NAMES,
    check_card,
    check_cards,
    check_device_id,
    model_need,
)
from axproxy.preflight.card_memory import MemoryNeed, check_cmm, need_of
from axproxy.preflight.checks import CHECK_NAMES, CHECKS
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding
from axproxy.settings import Settings
from tests.support import fake_axcl_smi as fake
from tests.support.model_folders import published_model, sparse

QWEN3_4B = MemoryNeed(least=4782, measured=5223)


def table_of(scenario: str, pid: int = 84643) -> Table | NoTable:
    if scenario == "missing":
        return NoTable("missing", "no program axcl-smi in /somewhere")
    if scenario == "hung":
        return NoTable("hung", "/usr/bin/axcl/axcl-smi did not answer in 10 s")
    return read_table(fake.scenario(scenario, pid))


@pytest.mark.parametrize(
    ("scenario", "verdict", "seen", "remedy"),
    [
        ("idle", "ok", "card 0 (AX650N at 0001:01:00.0, 41 °C)", ""),
        ("two", "ok", "card 1 (AX650N at 0000:03:00.0, 38 °C)", ""),
        ("hot", "warn", "96 °C", "heat sink"),
        ("silent", "warn", "card 0 does not report its state", "reboot -d 0"),
        ("missing", "warn", "cannot read the state", "AX650_AXCL_SMI"),
        ("busy", "warn", "already running", "pgrep -a axcl-smi"),
        ("garbage", "warn", "Segmentation fault", "run axcl-smi"),
        ("driverless", "fail", "driver is not loaded", "sudo modprobe axcl_host"),
        ("forbidden", "fail", "cannot open", "chmod 666"),
        ("cardless", "fail", "finds no card", "dtoverlay=pciex1-compat-pi5,no-mip"),
        ("dead", "fail", "request ports from device 1 fail", "power off at the wall"),
        ("rowless", "fail", "does not answer", "reboot -d 0"),
        ("hung", "fail", "did not answer in 10 s", "reboot -d 0"),
    ],
)
def test_the_state_of_the_card_comes_with_a_remedy(
    scenario: str, verdict: str, seen: str, remedy: str
) -> None:
    finding = check_card(table_of(scenario))

    assert (finding.name, finding.verdict) == ("card", verdict)
    assert seen in finding.seen
    assert remedy in finding.remedy
    assert bool(finding.remedy) == (verdict != "ok")


@pytest.mark.parametrize(
    ("device", "scenario", "verdict", "seen", "remedy"),
    [
        ("auto", "idle", "ok", "--devices 0", ""),
        ("auto", "second", "ok", "--devices 1", ""),
        ("auto", "old", "ok", "--devices 0", ""),
        ("auto", "driverless", "skip", "--devices 0 is used unchecked", ""),
        ("1", "two", "ok", "--devices 1", ""),
        ("0,1", "two", "ok", "--devices 0,1", ""),
        ("2", "hung", "skip", "--devices 2 is used unchecked", ""),
        ("1", "idle", "fail", "the number of its PCIe bus", "set AX650_DEVICE to auto or to 0,"),
        ("129", "old", "fail", "the number of its PCIe bus", "auto or to 0,"),
        ("7", "two", "fail", "there is no card 7", "auto or to 0 or 1,"),
        ("0,0", "two", "fail", "names a card twice", "auto or to 0 or 1,"),
        ("0001:01:00.0", "idle", "fail", "is not the number of a card", "auto or to 0,"),
        ("x", "hung", "fail", "the runtime would abort", "auto or to 0,"),
        ("0,", "idle", "fail", "is not the number of a card", "auto"),
        ("²", "idle", "fail", "is not the number of a card", "auto"),
    ],
)
def test_the_device_must_be_an_existing_index(
    device: str, scenario: str, verdict: str, seen: str, remedy: str
) -> None:
    finding = check_device_id(device, table_of(scenario))

    assert (finding.name, finding.verdict) == ("device-id", verdict)
    assert seen in finding.seen
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("scenario", "verdict", "seen", "remedy"),
    [
        ("idle", "ok", "7022 MiB of card memory are free, the model takes about 5223 MiB", ""),
        (
            "loaded",
            "fail",
            f"692 MiB of card memory are free, the model takes about 5223 MiB; the card is used by "
            f"{fake.PROGRAM} (pid 84643)",
            "kill -INT 84643",
        ),
        (
            "leaked",
            "fail",
            "no process is listed, yet 6348 of 7040 MiB are in use on card 0",
            "reboot -d 0",
        ),
        ("old", "fail", "3050 MiB of card memory are free", "choose a smaller model"),
        ("silent", "warn", "does not report", "axcl-smi"),
        ("hung", "skip", "not known", ""),
    ],
)
def test_the_model_must_fit_the_free_memory(
    scenario: str, verdict: str, seen: str, remedy: str
) -> None:
    finding = check_cmm(QWEN3_4B, table_of(scenario), devices=[0])

    assert (finding.name, finding.verdict) == ("cmm", verdict)
    assert seen in finding.seen
    assert remedy in finding.remedy


def test_a_model_that_may_just_fit_is_tried_with_a_warning() -> None:
    text = fake.head() + fake.card(used=2000) + fake.users((0, 9, "/usr/bin/whisper", 900_000))
    finding = check_cmm(QWEN3_4B, read_table(text), devices=[0])

    assert finding.verdict == "warn"
    assert "/usr/bin/whisper (pid 9)" in finding.seen


def test_layers_are_spread_over_the_cards_in_use() -> None:
    assert check_cmm(QWEN3_4B, table_of("two"), devices=[0]).verdict == "fail"
    assert check_cmm(QWEN3_4B, table_of("two"), devices=[1]).verdict == "ok"
    assert "7714 MiB" in check_cmm(QWEN3_4B, table_of("two"), devices=[0, 1]).seen


def test_a_model_that_is_on_the_card_already_needs_no_memory() -> None:
    finding = check_cmm(QWEN3_4B, table_of("loaded", pid=77), devices=[0], ours=[77])

    assert finding == Finding(
        "cmm", "ok", "the model is on the card already; 6348 of 7040 MiB are in use on card 0"
    )


# The layer files of Qwen3-4B after its repair of 2025-10 have 118.0 MB, its post model about 389.
def test_the_need_is_the_files_and_the_kv_cache() -> None:
    need = need_of([118_000_000] * 36 + [389_000_000], layers=36, columns=2560, context=2559)

    assert 4700 < need.least < 4900
    assert need.measured == 5223
    assert need.likely == 5223


def test_a_measurement_with_wider_weights_does_not_count() -> None:
    need = need_of([60_000_000] * 36 + [200_000_000], layers=36, columns=2560, context=4095)

    assert need.measured is None
    assert need.likely == need.least


@given(st.text(max_size=200), st.text(max_size=12))
def test_any_output_with_any_setting_gives_findings(output: str, device: str) -> None:
    table = read_table(output)
    for finding in (
        check_card(table),
        check_device_id(device, table),
        check_cmm(QWEN3_4B, table, devices=[0]),
    ):
        assert finding.seen
        assert finding.verdict in ("ok", "skip") or finding.remedy


def context(
    tmp_path: Path, scenario: str, owner: int | None = None, **environ: str
) -> CheckContext:
    smi = fake.install(tmp_path, scenario)
    settings = Settings.from_env(
        {
            "AX650_MODEL_PATH": str(published_model(tmp_path / "repo")),
            "AX650_AXCL_SMI": str(smi),
            **environ,
        }
    )
    return CheckContext(settings, tmp_path, owner=owner)


@pytest.mark.parametrize(
    ("scenario", "verdicts"),
    [
        ("idle", ("ok", "ok", "ok")),
        ("two", ("ok", "ok", "ok")),
        ("shifted", ("ok", "ok", "ok")),
        ("old", ("ok", "ok", "ok")),
        ("silent", ("warn", "ok", "warn")),
        ("garbage", ("warn", "skip", "skip")),
        ("driverless", ("fail", "skip", "skip")),
        ("cardless", ("fail", "skip", "skip")),
        ("dead", ("fail", "skip", "skip")),
    ],
)
def test_one_reading_gives_three_findings(
    tmp_path: Path, scenario: str, verdicts: tuple[str, ...]
) -> None:
    findings = check_cards(context(tmp_path, scenario))

    assert tuple(finding.name for finding in findings) == CARD_NAMES
    assert tuple(finding.verdict for finding in findings) == verdicts
    assert len((tmp_path / "calls").read_text().splitlines()) == 1


def test_the_bus_number_is_refused_as_a_device(tmp_path: Path) -> None:
    findings = check_cards(context(tmp_path, "idle", AX650_DEVICE="1"))

    assert findings[1].verdict == "fail"
    assert "PCIe bus" in findings[1].seen


def test_an_old_runtime_on_the_card_is_named_with_how_to_end_it(tmp_path: Path) -> None:
    machine = context(tmp_path, "loaded 4711")
    for layer in range(28):  # a model that is as large as the card
        sparse(
            tmp_path / "repo" / "qwen3-0.6b-ax650" / f"qwen3_p128_l{layer}_together.axmodel",
            200 * 2**20,
        )
    finding = check_cards(machine)[2]

    assert finding.verdict == "fail"
    assert f"{fake.PROGRAM} (pid 4711)" in finding.seen
    assert finding.remedy == "kill -INT 4711"


def test_the_services_own_runtime_may_have_its_model_on_the_card(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as child:
        finding = check_cards(context(tmp_path, f"loaded {child.pid}", owner=os.getpid()))[2]
        child.communicate(b"\n")

    assert finding.verdict == "ok"
    assert "the model is on the card already" in finding.seen


def test_the_tool_is_not_called_while_a_model_is_being_loaded(tmp_path: Path) -> None:
    machine = context(tmp_path, "idle")
    smi = AxclSmi(machine.settings.axcl_smi)
    smi.pause()
    paused = CheckContext(machine.settings, tmp_path, smi=smi)
    beside = CheckContext(machine.settings, tmp_path, loading=True)

    for findings in (check_cards(paused), check_cards(beside)):
        assert [finding.verdict for finding in findings] == ["skip"] * 3
    assert not (tmp_path / "calls").exists()


def test_a_model_of_unknown_size_is_skipped(tmp_path: Path) -> None:
    machine = context(tmp_path, "idle", AX650_MODEL_PATH=str(tmp_path / "nowhere"))
    finding = check_cards(machine)[2]

    assert (finding.verdict, finding.remedy) == ("skip", "")
    assert "nowhere" in finding.seen


def test_the_need_grows_with_the_files_and_with_the_window(tmp_path: Path) -> None:
    small = context(tmp_path, "idle").settings
    wide = Settings.from_env(
        {"AX650_MODEL_PATH": str(small.model_path), "AX650_CONTEXT_LENGTH": "5118"}
    )

    assert model_need(wide).least > 1.9 * model_need(small).least
    sparse(Path(str(small.model_path)) / "qwen3_post.axmodel", 2**30)
    assert model_need(small).least - 1024 in range(270, 290)


def test_the_checks_before_a_launch_include_the_card() -> None:
    assert CARD_NAMES in [check.names for check in CHECKS]
    assert set(CARD_NAMES) <= set(CHECK_NAMES)


@pytest.mark.parametrize(
    ("name", "free", "verdict", "amount"),
    [
        ("Qwen2.5-1.5B-Instruct", 2100, "warn", "about 2320 MiB"),
        ("Qwen2.5-1.5B-Instruct", 2400, "ok", "about 2320 MiB"),
        ("Qwen2.5-1.5B-Instruct-GPTQ-Int4", 1000, "ok", "about 800 MiB"),
        ("Qwen2.5-1.5B-Instruct-GPTQ-Int4", 790, "warn", "about 800 MiB"),
    ],
)
def test_the_width_of_the_weights_counts(
    tmp_path: Path, name: str, free: int, verdict: str, amount: str
) -> None:
    model = published_model(tmp_path / name, name, layers=28, columns=1536)
    millions = (22, 130) if "Int4" in name else (55, 250)
    for file in model.glob("*.axmodel"):
        sparse(file, millions["post" in file.name] * 1_000_000)
    need = model_need(Settings(model_path=model))
    table = read_table(fake.head() + fake.card(used=7040 - free) + fake.users())
    finding = check_cmm(need, table, devices=[0])
    assert finding.verdict == verdict
    assert f"the model takes {amount}" in finding.seen


def test_of_several_cards_the_dead_one_is_numbered_by_its_bus() -> None:
    dead = NoTable("dead", "request ports from device 3 fail, errno: 1")
    assert "reboot -d 1 (up to V2.25: -d 3);" in check_card(dead, [1, 3]).remedy
    unnamed = NoTable("dead", "send 2807 bytes, but 0 bytes sent")
    assert "reboot -d N, its number in axcl-smi;" in check_card(unnamed, [1, 3]).remedy
