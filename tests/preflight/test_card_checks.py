"""The checks that ask the card, from the program to the finding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from axproxy.card.smi import AxclSmi
from axproxy.preflight.card_checks import CARD_NAMES, check_cards, model_need
from axproxy.preflight.checks import CHECK_NAMES, CHECKS
from axproxy.preflight.scene import CheckContext
from axproxy.settings import Settings
from tests.support import fake_axcl_smi as fake
from tests.support.model_folders import published_model, sparse


def scene(tmp_path: Path, scenario: str, family: int | None = None, **environ: str) -> CheckContext:
    smi = fake.install(tmp_path, scenario)
    settings = Settings.from_env(
        {
            "AX650_MODEL_PATH": str(published_model(tmp_path / "repo")),
            "AX650_AXCL_SMI": str(smi),
            **environ,
        }
    )
    return CheckContext(settings, tmp_path, family=family)


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
    findings = check_cards(scene(tmp_path, scenario))

    assert tuple(finding.name for finding in findings) == CARD_NAMES
    assert tuple(finding.verdict for finding in findings) == verdicts
    assert len((tmp_path / "calls").read_text().splitlines()) == 1


def test_the_bus_number_is_refused_as_a_device(tmp_path: Path) -> None:
    findings = check_cards(scene(tmp_path, "idle", AX650_DEVICE="1"))

    assert findings[1].verdict == "fail"
    assert "PCIe bus" in findings[1].seen


def test_a_stale_runtime_on_the_card_is_named_with_how_to_end_it(tmp_path: Path) -> None:
    looked_at = scene(tmp_path, "loaded 4711")
    for layer in range(28):  # a model that is as large as the card
        sparse(
            tmp_path / "repo" / "qwen3-0.6b-ax650" / f"qwen3_p128_l{layer}_together.axmodel",
            200 * 2**20,
        )
    finding = check_cards(looked_at)[2]

    assert finding.verdict == "fail"
    assert f"{fake.PROGRAM} (pid 4711)" in finding.seen
    assert finding.remedy == "kill -INT 4711"


def test_the_services_own_runtime_may_have_its_model_on_the_card(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as child:
        finding = check_cards(scene(tmp_path, f"loaded {child.pid}", family=os.getpid()))[2]
        child.communicate(b"\n")

    assert finding.verdict == "ok"
    assert "our runtime has its model on the card" in finding.seen


def test_nobody_asks_while_a_model_is_being_loaded(tmp_path: Path) -> None:
    looked_at = scene(tmp_path, "idle")
    smi = AxclSmi(looked_at.settings.axcl_smi)
    smi.hush()
    hushed = CheckContext(looked_at.settings, tmp_path, smi=smi)
    beside = CheckContext(looked_at.settings, tmp_path, busy=True)

    for findings in (check_cards(hushed), check_cards(beside)):
        assert [finding.verdict for finding in findings] == ["skip"] * 3
    assert not (tmp_path / "calls").exists()


def test_a_model_of_unknown_size_is_not_weighed(tmp_path: Path) -> None:
    looked_at = scene(tmp_path, "idle", AX650_MODEL_PATH=str(tmp_path / "nowhere"))
    finding = check_cards(looked_at)[2]

    assert (finding.verdict, finding.remedy) == ("skip", "")
    assert "nowhere" in finding.seen


def test_the_need_grows_with_the_files_and_with_the_window(tmp_path: Path) -> None:
    small = scene(tmp_path, "idle").settings
    wide = Settings.from_env(
        {"AX650_MODEL_PATH": str(small.model_path), "AX650_CONTEXT_LENGTH": "5118"}
    )

    assert model_need(wide).least > 1.9 * model_need(small).least
    sparse(Path(str(small.model_path)) / "qwen3_post.axmodel", 2**30)
    assert model_need(small).least - 1024 in range(270, 290)


def test_the_card_is_among_the_checks_of_a_launch() -> None:
    assert CARD_NAMES in [check.names for check in CHECKS]
    assert set(CARD_NAMES) <= set(CHECK_NAMES)
