"""Checks the card on the PCI bus: whether it is there, its link, and its interrupts."""

from __future__ import annotations

import re
from pathlib import Path

from axproxy.card.smi import AxclSmi
from axproxy.preflight.context import CheckContext, entries, read
from axproxy.preflight.driver import is_loaded
from axproxy.preflight.finding import Finding

_VENDOR = "0x1f4b"  # AXERA; the card is 1f4b:0650 under all its names
_GEN_2 = 5.0  # GT/s; the card can do no more, on two lanes at most
_VECTORS = 4  # interrupts that the driver asks for
_CONFIG = "/boot/firmware/config.txt"
_COMPAT = "dtoverlay=pciex1-compat-pi5,no-mip"
_POWER = "power off at the wall for ten seconds (a reboot does not cut the card's power)"


def check_pcie(context: CheckContext) -> list[Finding]:
    cards = cards_on_the_bus(context)
    if not cards:
        return [_no_card(context)]
    return [_check_link(context, card) for card in cards]


def cards_on_the_bus(context: CheckContext) -> list[Path]:
    """Return the cards' folders in /sys, named by PCI domain, bus, device and function."""
    devices = entries(context.at("/sys/bus/pci/devices"))
    return [path for path in devices if read(path / "vendor").strip() == _VENDOR]


def bus_of(card: Path) -> int:
    """Return the number of the card's bus, -1 if its folder is not named by an address."""
    found = re.fullmatch(r"[0-9a-fA-F]+:([0-9a-fA-F]{2}):[0-9a-fA-F]{2}\.[0-7]", card.name)
    return int(found[1], 16) if found else -1


def _check_link(context: CheckContext, card: Path) -> Finding:
    if _config_start(card) == b"\xff\xff":
        # A device that no longer answers reads as ones.
        return Finding("pcie", "fail", f"the card {card.name} has dropped off the bus", _POWER)
    vectors = len(entries(card / "msi_irqs"))
    if context.is_pi_5 and 0 < vectors < _VECTORS and not _works(context):
        # The driver then reports "no device connected", 0x80300181.
        return Finding(
            "pcie",
            "warn",
            f"the card {card.name} has {vectors} of the {_VECTORS} interrupts that its driver "
            "needs",
            _add_to_config(_COMPAT),
        )
    speed = read(card / "current_link_speed").strip()
    width = read(card / "current_link_width").strip()
    seen = f"the card {card.name} is linked at {speed or 'an unknown speed'}, x{width or '?'}"
    number = re.match(r"[\d.]+", speed)
    if (number and float(number[0]) < _GEN_2) or width == "0":
        return Finding(
            "pcie",
            "warn",
            f"{seen}, slower than the {_GEN_2:g} GT/s that it supports",
            "power off, then reseat the card and its ribbon cable",
        )
    return Finding("pcie", "ok", seen)


def _works(context: CheckContext) -> bool:
    """Whether the driver does with fewer interrupts: with the overlay, or as axcl-smi shows."""
    config = context.text(_CONFIG)
    if is_loaded(context) and re.search(r"^dtoverlay=pciex1-compat-pi5\b", config, re.MULTILINE):
        return True
    if context.loading:
        return False
    reading = (context.smi or AxclSmi(context.settings.axcl_smi)).read()
    return reading is not None and reading.table is not None


def _no_card(context: CheckContext) -> Finding:
    seen = "no AXERA card is on the PCI bus"
    if not context.is_pi_5:
        return Finding("pcie", "fail", seen, "power off, reseat the card, then run: lspci -nn")
    config = context.text(_CONFIG)
    if not re.search(r"^dtparam=pciex1(=on)?\s*$", config, re.MULTILINE):
        # HAT+ boards turn the slot on by themselves; others need this line.
        return Finding("pcie", "fail", seen, _add_to_config("dtparam=pciex1"))
    return Finding(
        "pcie",
        "fail",
        seen,
        "power off, reseat the card and its ribbon cable, then run: lspci -nn",
    )


def _add_to_config(line: str) -> str:
    return (
        f"sudo cp {_CONFIG} {_CONFIG}.bak && "
        f"printf '\\n[all]\\n{line}\\n' | sudo tee -a {_CONFIG}  # then: sudo reboot"
    )


def _config_start(card: Path) -> bytes:
    try:
        with (card / "config").open("rb") as file:
            return file.read(2)
    except OSError:
        return b""
