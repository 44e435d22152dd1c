"""The host around the card."""

from __future__ import annotations

import pytest

from axproxy.preflight.host import (
    check_governor,
    check_log_folder,
    check_memory,
    check_temperature,
)
from tests.preflight.machine import Machine

POLICY = "/sys/devices/system/cpu/cpufreq/policy0"
LOGS = "/tmp/axcl"  # noqa: S108 - the vendor's library's own choice


def test_a_pi_in_good_order_passes(pi: Machine) -> None:
    for check in (check_memory, check_temperature, check_governor, check_log_folder):
        assert check(pi.context()).verdict == "ok"


def test_little_memory_gives_a_warning(pi: Machine) -> None:
    pi.memory(MemAvailable=100_000)
    assert check_memory(pi.context()).seen == "only 97 MiB of memory are available"


@pytest.mark.parametrize(("millidegrees", "verdict"), [("79999", "ok"), ("80000", "warn")])
def test_a_hot_host_gives_a_warning(pi: Machine, millidegrees: str, verdict: str) -> None:
    pi.write("/sys/class/thermal/thermal_zone1/temp", millidegrees)
    assert check_temperature(pi.context()).verdict == verdict


@pytest.mark.parametrize(
    ("board", "driver", "governor", "verdict"),
    [
        ("", "cpufreq-dt", "ondemand", "ok"),
        ("", "cpufreq-dt", "powersave", "warn"),
        ("", "intel_pstate", "powersave", "skip"),  # which follows the load here
        ("rockchip,rk3588", "cpufreq-dt", "ondemand", "warn"),
        ("rockchip,rk3588", "cpufreq-dt", "performance", "ok"),
    ],
)
def test_a_cpu_clock_that_is_held_down_gives_a_warning(
    pi: Machine, board: str, driver: str, governor: str, verdict: str
) -> None:
    pi.write("/proc/device-tree/compatible", board)
    pi.write(f"{POLICY}/scaling_driver", driver)
    pi.write(f"{POLICY}/scaling_governor", governor)
    finding = check_governor(pi.context())
    assert finding.verdict == verdict
    assert ("performance | sudo tee" in finding.remedy) == (verdict == "warn")


@pytest.mark.parametrize("closed", [LOGS, f"{LOGS}/axcl_logs.txt"])
def test_a_log_folder_of_another_user_is_to_be_opened(pi: Machine, closed: str) -> None:
    pi.write(f"{LOGS}/axcl_logs.txt", "")
    assert check_log_folder(pi.context()).verdict == "ok"
    pi.closed = {closed}
    finding = check_log_folder(pi.context())
    assert finding.verdict == "fail"
    assert closed in finding.seen
    assert finding.remedy == "sudo chmod -R a+rwX /tmp/axcl"


def test_without_a_log_folder_the_folder_above_must_be_writable(pi: Machine) -> None:
    pi.closed = {LOGS.removesuffix("/axcl")}
    assert check_log_folder(pi.context()).remedy == "sudo chmod 1777 /tmp"


def test_a_machine_that_reports_nothing_is_skipped(pi: Machine) -> None:
    pi.memory()
    pi.remove("/sys/class/thermal/thermal_zone0/temp")
    pi.remove(f"{POLICY}/scaling_governor")
    for check in (check_memory, check_temperature, check_governor):
        assert check(pi.context()).verdict == "skip"
