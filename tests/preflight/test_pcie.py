"""The card on the PCI bus."""

from __future__ import annotations

import shutil
from pathlib import Path

from axproxy.preflight.finding import Finding
from axproxy.preflight.pcie import check_pcie
from tests.preflight.machine import CARD, Machine
from tests.support import fake_axcl_smi as fake


def look(pi: Machine) -> Finding:
    (finding,) = check_pcie(pi.context())
    return finding


def test_a_card_on_a_pis_single_lane_passes(pi: Machine) -> None:
    assert look(pi) == Finding("pcie", "ok", "the card 0001:01:00.0 is linked at 5.0 GT/s PCIe, x1")


def test_every_card_is_checked(pi: Machine) -> None:
    shutil.copytree(pi.root / CARD[1:], pi.root / "sys/bus/pci/devices/0000:81:00.0")
    assert len(check_pcie(pi.context())) == 2


def test_a_slow_link_gives_a_warning(pi: Machine) -> None:
    pi.write(f"{CARD}/current_link_speed", "2.5 GT/s PCIe\n")
    assert look(pi).verdict == "warn"
    assert "2.5 GT/s" in look(pi).seen


def test_a_card_that_reads_as_ones_has_dropped_off_the_bus(pi: Machine) -> None:
    pi.write(f"{CARD}/config", "").write_bytes(b"\xff" * 64)
    assert look(pi).verdict == "fail"
    assert "power off at the wall" in look(pi).remedy


def test_a_pi_5_with_one_interrupt_needs_the_overlay(pi: Machine) -> None:
    for number in (1, 2, 3):
        pi.remove(f"{CARD}/msi_irqs/{number}")
    assert look(pi).verdict == "warn"
    assert "dtoverlay=pciex1-compat-pi5,no-mip" in look(pi).remedy
    assert "config.txt.bak" in look(pi).remedy
    pi.write("/proc/device-tree/model", "Radxa ROCK 5B")
    assert look(pi).verdict == "ok"


def test_no_card_on_a_pi_may_mean_that_the_slot_is_off(pi: Machine) -> None:
    shutil.rmtree(pi.root / CARD[1:])
    assert look(pi).verdict == "fail"
    assert "reseat the card" in look(pi).remedy
    pi.write("/boot/firmware/config.txt", "# dtparam=pciex1\n")
    assert "\\ndtparam=pciex1\\n" in look(pi).remedy


def test_no_card_on_another_machine_is_to_be_reseated(pi: Machine) -> None:
    shutil.rmtree(pi.root / CARD[1:])
    pi.write("/proc/device-tree/model", "")
    assert look(pi).remedy == "power off, reseat the card, then run: lspci -nn"


def test_one_interrupt_is_enough_where_the_overlay_is_in_place(pi: Machine, tmp_path: Path) -> None:
    for number in range(1, 4):
        pi.remove(f"{CARD}/msi_irqs/{number}")
    pi.write("/boot/firmware/config.txt", "[all]\ndtoverlay=pciex1-compat-pi5,no-mip\n")
    assert look(pi).verdict == "ok"
    pi.write("/boot/firmware/config.txt", "dtparam=pciex1\n")
    assert look(pi).verdict == "warn"
    smi = fake.install(tmp_path)
    (finding,) = check_pcie(pi.context(AX650_AXCL_SMI=str(smi)))
    assert finding.verdict == "ok"  # the tool shows the card, so it works
