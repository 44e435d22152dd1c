"""The alert rules and the dashboard name only metrics that the service has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from axproxy.health import CacheHealth, CardHealth, ChildHealth, Health, HostHealth, RuntimeHealth
from axproxy.ops.metrics import Metrics
from axproxy.ops.request_log import RequestRecord

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "ax650.rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "ax650.json"

WHOLE = Health(
    "m",
    None,
    RuntimeHealth(
        "ok",
        "vendor",
        ChildHealth("ready", 0.0, restarts=0),
        card=CardHealth(50, 7040, 1000, 50),
        host=HostHealth(50.0, 500, 256, 200),
    ),
    kv_cache=CacheHealth(),
)


def exported() -> set[str]:
    metrics = Metrics(lambda: WHOLE, ROOT)
    metrics.requests.observe(
        RequestRecord(
            method="POST",
            path="/api/chat",
            status=200,
            model="m",
            completion_tokens=2,
            first_text=0.1,
            eval_seconds=0.1,
            reason="stop",
        )
    )
    return set(re.findall(r"^(ax650_\w+)", metrics.page().decode(), re.MULTILINE))


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda file: file.name)
def test_every_metric_that_is_named_is_exported(file: Path) -> None:
    named = set(re.findall(r"\bax650_[a-z_]+", file.read_text()))
    assert len(named) >= 9
    assert named - exported() == set()


def test_each_panel_of_the_dashboard_has_a_place_and_a_query() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    assert all(target["expr"] for panel in panels for target in panel["targets"])


needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not on this machine: apt install prometheus",
)


def promtool(*words: str) -> str:
    done = subprocess.run(
        ["promtool", *words],  # noqa: S607 - wherever it is
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    assert "10 rules found" in promtool("check", "rules", str(RULES))


@needs_promtool
def test_each_fault_fires_its_alert_and_a_service_that_is_well_fires_none(tmp_path: Path) -> None:
    script = ROOT / "tests" / "data" / "prometheus" / "alerts.test.yml"
    copy = tmp_path / script.name
    copy.write_text(script.read_text().replace("RULES", str(RULES)))
    promtool("test", "rules", str(copy))


@needs_promtool
def test_promtool_finds_no_fault_in_the_page_itself() -> None:
    page = Metrics(lambda: WHOLE, ROOT).page()
    done = subprocess.run(
        ["promtool", "check", "metrics"],  # noqa: S607 - wherever it is
        input=page,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b""), done.stderr.decode()
