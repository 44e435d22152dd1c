"""Signatures of a dead card in the kernel's log."""

from __future__ import annotations

import pytest

from axproxy.preflight.finding import Finding
from axproxy.preflight.kernel_log import check_kernel_log
from tests.preflight.machine import Machine

NOW = 10_000  # seconds since the start, as in the machine's /proc/uptime

DEAD = "[heartbeat_recv_thread, 591]: device 1: dead!"
ALIVE = "[heartbeat_recv_thread, 602]: device 1: alive!"

HISTORIES = {
    "nothing": ([], "ok"),
    "dead": ([(NOW - 3, DEAD)], "fail"),
    "dead again and again": ([(NOW - ago, DEAD) for ago in (20, 15, 10, 5)], "fail"),
    "back alive": ([(NOW - 30, DEAD), (NOW - 3, ALIVE)], "ok"),
    "dead once more": ([(NOW - 30, ALIVE), (NOW - 3, DEAD)], "fail"),
    "long ago": ([(NOW - 3600, DEAD)], "warn"),
    "another card is dead": ([(NOW - 9, ALIVE), (NOW - 3, DEAD.replace("1:", "81:"))], "fail"),
    "the link": ([(NOW - 3, "[axcl_pcie_port_create, 872]: Recv port ack timeout.")], "warn"),
    "the link, long ago": ([(NOW - 9000, "Recv port ack timeout.")], "ok"),
    "fragmented": ([(NOW - 3, "ax_sglist_alloc_mem: there are no free entries")], "warn"),
    # The driver logs each size that fails and goes on with smaller pieces.
    "a big piece failed": ([(NOW - 3, "ax_sglist_alloc_mem alloc pages:1024 failed")], "ok"),
}


@pytest.mark.parametrize("history", HISTORIES)
def test_the_latest_line_about_a_card_counts(pi: Machine, history: str) -> None:
    lines, verdict = HISTORIES[history]
    text = "".join(f"4,{n},{at * 1000000},-;{line}\n" for n, (at, line) in enumerate(lines))
    pi.write("/dev/kmsg", f"6,0,1,-;Booting\n SUBSYSTEM=x\n{text}")
    finding = check_kernel_log(pi.context())
    assert finding.verdict == verdict
    if verdict == "fail":
        assert "axcl-smi reboot" in finding.remedy
        assert finding.remedy.index("sudo reboot") < finding.remedy.index("at the wall")


def test_while_another_card_lives_a_dead_one_is_a_warning(pi: Machine) -> None:
    pi.write("/sys/bus/pci/devices/0000:81:00.0/vendor", "0x1f4b\n")
    pi.write("/dev/kmsg", f"4,1,{(NOW - 3) * 1000000},-;{DEAD}\n")
    assert check_kernel_log(pi.context()).verdict == "warn"


def test_a_log_that_may_not_be_read_is_no_reason_to_fail(pi: Machine) -> None:
    pi.remove("/dev/kmsg")
    assert check_kernel_log(pi.context()).verdict == "skip"


def kernel(pi: Machine, *lines: str, ago: int = 3) -> Finding:
    """Return the finding about these lines, the last of them `ago` seconds old."""
    count = len(lines)
    pi.write(
        "/dev/kmsg",
        "".join(
            f"4,{n},{(NOW - ago - count + n + 1) * 1_000_000},-;{line}\n"
            for n, line in enumerate(lines)
        ),
    )
    return check_kernel_log(pi.context())


def test_the_remedy_names_the_card_by_the_bus_that_the_kernel_reports(pi: Machine) -> None:
    pi.write("/sys/bus/pci/devices/0001:03:00.0/vendor", "0x1f4b\n")
    finding = kernel(pi, DEAD.replace("1:", "3:"))
    assert "reboot -d 1 (up to V2.25: -d 3);" in finding.remedy
    assert "-d 0" not in finding.remedy
    assert "reboot -d 0 (up to V2.25: -d 1);" in kernel(pi, DEAD).remedy
    elsewhere = kernel(pi, DEAD.replace("1:", "81:")).remedy
    assert "reboot -d N, its number in axcl-smi;" in elsewhere
    broken = kernel(pi, "request ports from device 3 fail, errno: 1")
    assert "reboot -d 1 (up to V2.25: -d 3);" in broken.remedy


FIRMWARE = (
    "[axcl_firmware_load, 524]: Patch file not found axcl/ax650_card.pac.",
    "[axcl_pcie_host_init, 1548]: Device 1 firmware load failed.",
)


def test_a_missing_firmware_file_is_named(pi: Machine) -> None:
    for ago in (3, 5000):  # the driver reports it once, when it is loaded
        finding = kernel(pi, *FIRMWARE, ago=ago)
        assert finding.verdict == "warn"
        assert finding.seen.startswith("the card's firmware file is missing; the kernel rep")
        assert finding.remedy.startswith("reinstall the driver package, which has the firmware")
    assert "could not be loaded" in kernel(pi, FIRMWARE[1]).seen
    assert (
        kernel(pi, *FIRMWARE, "[axcl_firmware_load, 9]: device 1 firmware load done").verdict
        == "ok"
    )
    assert kernel(pi, *FIRMWARE, ALIVE).verdict == "ok"


@pytest.mark.parametrize(
    "sleep", ["PM: suspend entry (deep)", "PM: hibernation: hibernation entry"]
)
def test_a_card_that_died_because_the_host_slept_comes_with_how_to_keep_it_awake(
    pi: Machine, sleep: str
) -> None:
    finding = kernel(pi, DEAD, sleep, DEAD)
    assert finding.verdict == "fail"
    assert finding.seen == "the kernel reports: device 1: dead! since the host went to sleep"
    assert finding.remedy.startswith("sudo systemctl mask sleep.target suspend.target")
    assert "power off at the wall" in finding.remedy
    assert "went to sleep" not in kernel(pi, DEAD, sleep, ALIVE, DEAD).seen
    assert "went to sleep" in kernel(pi, sleep, DEAD, ago=600).seen
