"""What the checks of the card say, and the command they give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.card.smi_table import NoTable, Table, read_table
from axproxy.preflight.card import check_card, check_device_id
from axproxy.preflight.card_memory import Need, check_cmm, need_of
from axproxy.preflight.finding import Finding
from tests.support import fake_axcl_smi as fake

QWEN3_4B = Need(least=4782, measured=5223)


def said(scenario: str, pid: int = 84643) -> Table | NoTable:
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
        ("silent", "warn", "card 0 tells nothing of itself", "reboot -d 0"),
        ("missing", "warn", "cannot be looked at", "AX650_AXCL_SMI"),
        ("busy", "warn", "already running", "pgrep -a axcl-smi"),
        ("garbage", "warn", "Segmentation fault", "run axcl-smi"),
        ("driverless", "fail", "driver is not loaded", "sudo modprobe axcl_host"),
        ("forbidden", "fail", "may not open", "chmod 666"),
        ("cardless", "fail", "finds no card", "dtoverlay=pciex1-compat-pi5,no-mip"),
        ("dead", "fail", "request ports from device 1 fail", "power off at the wall"),
        ("rowless", "fail", "does not answer", "reboot -d 0"),
        ("hung", "fail", "did not answer in 10 s", "reboot -d 0"),
    ],
)
def test_the_card_is_told_with_what_helps(
    scenario: str, verdict: str, seen: str, remedy: str
) -> None:
    finding = check_card(said(scenario))

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
        ("auto", "driverless", "skip", "--devices 0 is used unseen", ""),
        ("1", "two", "ok", "--devices 1", ""),
        ("0,1", "two", "ok", "--devices 0,1", ""),
        ("2", "hung", "skip", "--devices 2 is used unseen", ""),
        ("1", "idle", "fail", "the number of its PCIe bus", "set AX650_DEVICE to auto or to 0,"),
        ("129", "old", "fail", "the number of its PCIe bus", "auto or to 0,"),
        ("7", "two", "fail", "there is no card 7", "auto or to 0 or 1,"),
        ("0,0", "two", "fail", "names a card twice", "auto or to 0 or 1,"),
        ("0001:01:00.0", "idle", "fail", "is no card", "auto or to 0,"),
        ("x", "hung", "fail", "the runtime would abort", "auto or to 0,"),
        ("0,", "idle", "fail", "is no card", "auto"),
        ("²", "idle", "fail", "is no card", "auto"),
    ],
)
def test_the_device_is_an_index_that_there_is(
    device: str, scenario: str, verdict: str, seen: str, remedy: str
) -> None:
    finding = check_device_id(device, said(scenario))

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
        ("silent", "warn", "does not tell", "axcl-smi"),
        ("hung", "skip", "not known", ""),
    ],
)
def test_the_model_must_fit_the_memory_that_is_free(
    scenario: str, verdict: str, seen: str, remedy: str
) -> None:
    finding = check_cmm(QWEN3_4B, said(scenario), devices=[0])

    assert (finding.name, finding.verdict) == ("cmm", verdict)
    assert seen in finding.seen
    assert remedy in finding.remedy


def test_what_may_just_fit_is_tried_with_a_warning() -> None:
    text = fake.head() + fake.card(used=2000) + fake.holders((0, 9, "/usr/bin/whisper", 900_000))
    finding = check_cmm(QWEN3_4B, read_table(text), devices=[0])

    assert finding.verdict == "warn"
    assert "/usr/bin/whisper (pid 9)" in finding.seen


def test_layers_are_spread_over_the_cards_in_use() -> None:
    assert check_cmm(QWEN3_4B, said("two"), devices=[0]).verdict == "fail"
    assert check_cmm(QWEN3_4B, said("two"), devices=[1]).verdict == "ok"
    assert "7714 MiB" in check_cmm(QWEN3_4B, said("two"), devices=[0, 1]).seen


def test_a_model_that_is_on_the_card_already_needs_no_room() -> None:
    finding = check_cmm(QWEN3_4B, said("loaded", pid=77), devices=[0], ours=[77])

    assert finding == Finding(
        "cmm", "ok", "our runtime has its model on the card; 6348 of 7040 MiB are in use on card 0"
    )


# The layer files of Qwen3-4B after its repair of 2025-10 have 118.0 MB, its post model about 389.
def test_the_need_is_the_files_and_the_kv_cache() -> None:
    need = need_of([118_000_000] * 36 + [389_000_000], layers=36, columns=2560, context=2559)

    assert 4700 < need.least < 4900
    assert need.measured == 5223
    assert need.likely == 5223


def test_what_was_measured_with_wider_weights_does_not_count() -> None:
    need = need_of([60_000_000] * 36 + [200_000_000], layers=36, columns=2560, context=4095)

    assert need.measured is None
    assert need.likely == need.least


@given(st.text(max_size=200), st.text(max_size=12))
def test_any_output_and_any_setting_give_findings(output: str, device: str) -> None:
    table = read_table(output)
    for finding in (
        check_card(table),
        check_device_id(device, table),
        check_cmm(QWEN3_4B, table, devices=[0]),
    ):
        assert finding.seen
        assert finding.verdict in ("ok", "skip") or finding.remedy
