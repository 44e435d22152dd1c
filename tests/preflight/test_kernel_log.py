"""Signatures of a dead card in the kernel's log."""

from __future__ import annotations

import pytest

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
