"""The host's contiguous memory: reported, and never enlarged on the kernel's command line."""

from __future__ import annotations

import re

import pytest

from axproxy.preflight.cma import check_cma
from tests.preflight.machine import Machine

BACKUP = "sudo cp /boot/firmware/config.txt /boot/firmware/config.txt.bak && "


def test_the_default_of_a_pi_is_enough_even_with_none_free(pi: Machine) -> None:
    finding = check_cma(pi.context())
    assert finding.verdict == "ok"
    assert finding.seen == "64 MiB of contiguous memory (CMA), 0 MiB free"


@pytest.mark.parametrize("total", [0, 15 * 1024])
@pytest.mark.parametrize("check", ["warn", "fail"])
def test_too_little_warns_and_fails_only_on_request(pi: Machine, total: int, check: str) -> None:
    pi.memory(CmaTotal=total, CmaFree=0)
    finding = check_cma(pi.context(AX650_CMA_CHECK=check))
    assert finding.verdict == check
    assert finding.remedy == (
        BACKUP + "printf '\\n[all]\\ndtoverlay=cma,cma-128\\n' | "
        "sudo tee -a /boot/firmware/config.txt  # then: sudo reboot"
    )


def test_the_least_amount_can_be_set(pi: Machine) -> None:
    finding = check_cma(pi.context(AX650_MIN_CMA_MB="200"))
    assert finding.verdict == "warn"
    assert "AX650_MIN_CMA_MB asks for 200" in finding.seen
    assert "cma-256" in finding.remedy
    assert "cma-512" in check_cma(pi.context(AX650_MIN_CMA_MB="2048")).remedy  # a Pi's ceiling


def test_with_graphics_the_overlay_of_the_screen_gets_the_size(pi: Machine) -> None:
    line = "dtoverlay=vc4-kms-v3d"
    pi.write("/boot/firmware/config.txt", f"# x\n{line}\n")
    remedy = check_cma(pi.context(AX650_MIN_CMA_MB="65")).remedy
    pattern, replacement = re.search(r"'s/(.*?)/(.*?)/'", remedy).groups()
    pattern = pattern.replace("[:space:]", r"\s")
    assert re.sub(pattern, replacement, line) == "dtoverlay=vc4-kms-v3d,cma-128"
    assert re.sub(pattern, replacement, f"{line},noaudio # x") == f"{line},noaudio,cma-128 # x"


def test_cma_on_the_command_line_of_a_pi_5_is_to_be_removed(pi: Machine) -> None:
    pi.write("/proc/cmdline", "console=tty1 cma=256M rootwait\n")
    finding = check_cma(pi.context())
    assert finding.verdict == "warn"
    assert "cma=256M" in finding.seen
    assert "cmdline.txt.bak" in finding.remedy
    pattern, replacement = re.search(r"'s/(.*?)/(.*?)/g'", finding.remedy).groups()
    for line in ("a cma=256M b", "cma=256M b", "a cma=256M"):
        assert "cma" not in re.sub(pattern, replacement, line)
    assert re.sub(pattern, replacement, "a numa_cma=1") == "a numa_cma=1"


def test_on_other_boards_cma_on_the_command_line_is_ignored(pi: Machine) -> None:
    pi.write("/proc/cmdline", "cma=256M\n")
    pi.write("/proc/device-tree/model", "Radxa ROCK 5B")
    assert check_cma(pi.context()).verdict == "ok"


def test_the_check_can_be_turned_off(pi: Machine) -> None:
    pi.memory(CmaTotal=0)
    assert check_cma(pi.context(AX650_CMA_CHECK="off")).verdict == "skip"


def test_a_kernel_without_such_memory_passes(pi: Machine) -> None:
    pi.memory(MemAvailable=1)
    assert check_cma(pi.context()).verdict == "ok"


def test_a_board_without_the_pis_files_gets_no_command(pi: Machine) -> None:
    pi.memory(CmaTotal=0)
    pi.remove("/boot/firmware/config.txt")
    assert check_cma(pi.context()).remedy.startswith("set AX650_CMA_CHECK=off")


def test_no_remedy_ever_puts_cma_on_the_command_line(pi: Machine) -> None:
    for total in (None, 0, 1, 65536):
        for words in ("", "cma=1G"):
            for needed in ("0", "16", "2048"):
                pi.memory(**({} if total is None else {"CmaTotal": total}))
                pi.write("/proc/cmdline", words)
                remedy = check_cma(pi.context(AX650_MIN_CMA_MB=needed)).remedy
                assert "cma=" not in remedy.replace("\\bcma=[^ ]*//", "")
