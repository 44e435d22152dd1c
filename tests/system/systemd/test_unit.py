"""The unit file: valid, sandboxed, and consistent with the program."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from axproxy.errors import NoModelYet
from axproxy.models.store import configured_settings
from axproxy.ops.systemd import REPORT_INTERVAL, TIMEOUT_EXTENSION
from axproxy.preflight.checks import why_unloadable
from axproxy.process.child import LAST_STEP
from axproxy.runtimes.main_api.launch import (
    STOP_ANSWER_TIMEOUT,
    VENDOR_LADDER,
    VENDOR_LADDER_LOADING,
)
from axproxy.settings import Settings
from backend import create_engine
from tests.support.model_folders import published_model
from tests.support.ports import own_port
from tests.support.service import run

ROOT = Path(__file__).resolve().parents[3]
UNIT = ROOT / "backend.service"
WORST_EXPOSURE = 30  # tenths

analyzed = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine"
)


def values(key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE)


def seconds(key: str) -> float:
    (value,) = values(key)
    return float(value)


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze") or ""
    return subprocess.run(
        [program, "--no-pager", *words], capture_output=True, text=True, check=False
    )


@analyzed
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    unit = tmp_path / "ax650.service"
    unit.write_text(UNIT.read_text().replace("/opt/ax650", str(tmp_path)))

    verdict = analyze("verify", "--man=no", str(unit))
    # It also reports on the machine's other units, which are not ours to fix.
    about_us = [line for line in verdict.stderr.splitlines() if "ax650" in line]
    assert (about_us, verdict.returncode) == ([], 0)


@analyzed
def test_a_mistake_in_the_unit_would_be_found(tmp_path: Path) -> None:
    unit = tmp_path / "ax650.service"
    unit.write_text(UNIT.read_text().replace("KillMode=", "KillMood="))

    assert "KillMood" in analyze("verify", "--man=no", str(unit)).stderr


@analyzed
def test_the_unit_is_sandboxed_as_far_as_the_card_allows() -> None:
    verdict = analyze("security", "--offline=true", f"--threshold={WORST_EXPOSURE}", str(UNIT))

    assert verdict.returncode == 0, verdict.stdout
    assert "Overall exposure level" in verdict.stdout


def test_systemd_waits_longer_than_any_stop_can_take() -> None:
    how = "import runpy; print(runpy.run_path('gunicorn.conf.py')['graceful_timeout'])"
    asked = subprocess.run(
        [sys.executable, "-c", how],
        env={"AX650_RUNTIME": "vendor", "AX650_MODEL_PATH": "/a/model"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    ours = float(asked.stdout)
    for ladder in (VENDOR_LADDER, VENDOR_LADDER_LOADING):
        steps = sum(patience for _, patience in (*ladder, LAST_STEP))
        assert STOP_ANSWER_TIMEOUT + steps < ours
    assert ours < seconds("TimeoutStopSec")


def test_the_reports_come_often_enough_for_the_watchdog_and_the_start() -> None:
    assert seconds("WatchdogSec") > 10 * REPORT_INTERVAL
    assert TIMEOUT_EXTENSION > 10 * REPORT_INTERVAL
    assert seconds("TimeoutStartSec") > 10 * REPORT_INTERVAL


def test_no_signal_of_systemds_own_kills_the_model() -> None:
    assert values("KillMode") == ["mixed"]
    assert values("WatchdogSignal") == ["SIGTERM"]
    assert values("FinalKillSignal") == ["SIGCONT"]


def test_exit_statuses_that_a_restart_cannot_fix_prevent_it() -> None:
    (statuses,) = values("RestartPreventExitStatus")
    misspelt = run(sys.executable, str(ROOT / "backend.py"), AX650_PROT="5002")

    assert str(misspelt.returncode) in statuses.split()


def test_restarts_by_hand_are_not_limited_and_every_end_is_followed_by_a_start() -> None:
    assert values("StartLimitIntervalSec") == ["0"]
    assert values("StartLimitBurst") == []
    assert values("Restart") == ["always"]
    assert seconds("RestartSec") >= 10
    backoff = (ROOT / "deploy" / "backoff.conf").read_text()
    assert "StartLimit" not in backoff


def free_ports() -> dict[str, str]:
    return {f"AX650_{name}_PORT": str(own_port()) for name in ("RUNTIME", "TOKENIZER")}


def test_the_installed_unit_simulates_only_if_it_is_asked_to_by_name(tmp_path: Path) -> None:
    unit = dict(word.split("=", 1) for word in values("Environment"))
    assert unit["AX650_MODELS_DIR"] == "/var/lib/ax650/models"
    assert values("StateDirectory") == ["ax650 ax650/models"]
    unit["AX650_MODELS_DIR"] = str(tmp_path)
    for environ in ({}, {"AX650_RUNTIME": "auto"}, {"AX650_RUNTIME": "axllm"}):
        settings = configured_settings({**unit, **environ})
        assert settings.runtime_kind == "vendor"
        engine, models = create_engine(settings)
        assert isinstance(engine.not_ready(), NoModelYet)
        assert models.all() == []
    folder = published_model(tmp_path / "qwen3", flat=True)
    assert why_unloadable(configured_settings(unit))  # its program is missing
    engine, models = create_engine(configured_settings({**unit, **free_ports()}))
    try:
        engine.start()  # a service that starts can say so, and looks again
        assert models.default().name == "qwen3:latest"
        assert engine.health().model == "qwen3:latest"
    finally:
        engine.stop()
    assert configured_settings(unit).model_path == folder
    assert configured_settings({**unit, "AX650_RUNTIME": "mock"}).runtime_kind == "mock"


def test_the_unit_bounds_its_memory_and_asks_for_no_one_elses() -> None:
    assert values("MemoryMax")
    assert values("OOMScoreAdjust") == []


def test_the_unit_has_a_folder_for_a_log_file() -> None:
    assert values("LogsDirectory") == ["ax650"]
    assert values("SyslogIdentifier") == ["ax650"]


def test_every_line_of_the_settings_file_can_be_uncommented() -> None:
    lines = (ROOT / "deploy" / "ax650.env").read_text().splitlines()
    given = [line.lstrip("#") for line in lines if re.match(r"#?[A-Z0-9_]+=", line)]
    environ = dict(line.split("=", 1) for line in given)

    assert {"AX650_MODEL_PATH", "AX650_RUNTIME_BIN", "AX650_HOST"} <= environ.keys()
    assert not [line for line in lines if line and not line.startswith("#")]
    Settings.from_env(environ)
