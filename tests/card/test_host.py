"""The health of the host is read from the kernel's files."""

from pathlib import Path

import psutil
import pytest

from axproxy.card import host
from axproxy.card.host import host_health

MEMINFO = """\
MemTotal:        8245272 kB
MemFree:         6013440 kB
HugePages_Total:       0
CmaTotal:          65536 kB
CmaFree:           58112 kB

"""


@pytest.fixture(name="machine")
def a_machine_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of /proc and /sys."""
    monkeypatch.setattr(host, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(host, "_THERMAL", tmp_path / "temp")
    return tmp_path


def test_a_raspberry_pi_reports_its_temperature_and_cma(machine: Path) -> None:
    (machine / "meminfo").write_text(MEMINFO)
    (machine / "temp").write_text("48312\n")
    health = host_health()
    assert health.temperature_c == 48.312
    assert (health.cma_total_mb, health.cma_free_mb) == (64, 56)


@pytest.mark.parametrize("temperature", ["", "\n", "hot\n", None])
def test_what_the_machine_does_not_report_is_none(machine: Path, temperature: str | None) -> None:
    if temperature is not None:
        (machine / "temp").write_text(temperature)
    health = host_health()
    assert (health.temperature_c, health.cma_total_mb, health.cma_free_mb) == (None,) * 3


def test_the_health_of_this_machine_can_be_read() -> None:
    health = host_health()
    assert 0 < health.memory_used_mb <= psutil.virtual_memory().total // 2**20
