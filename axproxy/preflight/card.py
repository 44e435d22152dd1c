"""The checks that ask the card, from one reading: `card`, `device-id` and `cmm`."""

from __future__ import annotations

from collections.abc import Collection

import psutil

from axproxy.card.failure import recovery_steps
from axproxy.card.smi import AxclSmi, device_indices
from axproxy.card.smi_table import Card, NoTable, Reason, Table
from axproxy.models.folder import ModelFolder, ModelFolderError
from axproxy.preflight.card_memory import Need, check_cmm, need_of
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding, Severity
from axproxy.settings import Settings

CARD_NAMES = ("card", "device-id", "cmm")
_USUAL_CONTEXT = 2559  # tokens, of most published builds; only a loaded program tells
HOT = 85  # °C; users set their alarms at 75 to 85, the card resets itself at 120

# What no table means, and what helps.  Not being able to ask is no proof of anything, so it does
# not stop a start.
_NO_TABLE: dict[Reason, tuple[Severity, str, str]] = {
    "missing": (
        "warn",
        "the card cannot be looked at",
        "sudo apt install axclhost, or set AX650_AXCL_SMI to the full path of axcl-smi",
    ),
    "busy": (
        "warn",
        "another axcl-smi is running and does not end",
        "pgrep -a axcl-smi; close the monitor that calls it",
    ),
    "forbidden": (
        "fail",
        "this user may not open the card's device",
        "sudo chmod 666 /dev/axcl_host /dev/ax_mmb_dev /dev/msg_userdev",
    ),
    "no driver": (
        "fail",
        "the card's driver is not loaded",
        "sudo modprobe axcl_host; after a new kernel: sudo dkms autoinstall -k $(uname -r)",
    ),
    "no card": (
        "fail",
        "the driver finds no card",
        "lspci -d 1f4b: must show it; on a Raspberry Pi 5 add dtoverlay=pciex1-compat-pi5,no-mip "
        "under [all] in /boot/firmware/config.txt and reboot, else switch off and reseat the card",
    ),
    "dead": ("fail", "the card does not answer", recovery_steps()),
    "hung": ("fail", "the card does not answer", recovery_steps()),
    "unknown": (
        "warn",
        "axcl-smi says something that we do not understand",
        "run axcl-smi and look for the card in its table",
    ),
}


def check_cards(context: CheckContext) -> list[Finding]:
    """One finding per name.  May take as long as `AxclSmi.look`."""
    smi = context.smi or AxclSmi(context.settings.axcl_smi)
    reading = None if context.loading else smi.read()
    if reading is None:
        loading = "a model is being loaded, and the card is not asked meanwhile"
        return [Finding(name, "skip", loading) for name in CARD_NAMES]
    said, device = reading.result, context.settings.device
    memory = _cmm(context.settings, said, _descendants(context.owner))
    return [check_card(said), check_device_id(device, said), memory]


def _cmm(settings: Settings, said: Table | NoTable, ours: Collection[int]) -> Finding:
    try:
        need = model_need(settings)
    except (ModelFolderError, OSError) as error:
        return Finding("cmm", "skip", f"the model's size is not known: {error}")
    words = device_indices(settings.device, said).split(",")
    devices = {int(word) for word in words if word.strip().isascii() and word.strip().isdecimal()}
    return check_cmm(need, said, devices, ours)


def check_card(said: Table | NoTable) -> Finding:
    """Which cards there are, and in what state; by rows, for the tool always exits 0."""
    if isinstance(said, NoTable):
        verdict, meaning, remedy = _NO_TABLE[said.reason]
        return Finding(
            "card", verdict, f"{meaning}: {said.message}" if said.message else meaning, remedy
        )
    seen = "; ".join(map(_described, said.cards))
    for card in said.cards:
        if card.silent:
            return Finding(
                "card", "warn", f"{seen}: it may be dead", recovery_steps(said.tool_number(card))
            )
    if any((card.temperature_c or 0) >= HOT for card in said.cards):
        return Finding("card", "warn", f"{seen}: too hot", "give the card a fan and a heat sink")
    return Finding("card", "ok", seen)


def _described(card: Card) -> str:
    if card.silent:
        return f"card {card.index} tells nothing of itself"
    where = f" at {card.bus_id}" if card.bus_id else ""
    heat = "" if card.temperature_c is None else f", {card.temperature_c} °C"
    return f"card {card.index} ({card.name or 'unnamed'}{where}{heat})"


def check_device_id(device: str, said: Table | NoTable) -> Finding:
    """What the runtime's `--devices` will be: 0-based indices, never PCIe bus numbers."""
    words = [word.strip() for word in device.split(",")]
    if device != "auto" and not all(word.isascii() and word.isdecimal() for word in words):
        return _wrong(f'"{device}" is no card; the runtime would abort', said)
    if len(set(words)) < len(words):
        return _wrong(f'"{device}" names a card twice', said)
    if isinstance(said, NoTable):
        used = "0" if device == "auto" else device
        seen = f"--devices {used} is used unseen, for axcl-smi shows no card"
        return Finding("device-id", "skip", f"{seen}; see card")
    if device == "auto":
        return Finding(
            "device-id", "ok", f"--devices {said.cards[0].index} is used, the first card"
        )
    for word in words:
        if said.card(int(word)) is None:
            bus = any(card.bus == int(word) for card in said.cards)
            mistaken = ": that is the number of its PCIe bus" if bus else ""
            return _wrong(f"there is no card {int(word)}{mistaken}", said)
    return Finding("device-id", "ok", f"--devices {device} is used")


def _wrong(seen: str, said: Table | NoTable) -> Finding:
    choices = [str(card.index) for card in said.cards] if isinstance(said, Table) else ["0"]
    remedy = f"set AX650_DEVICE to auto or to {' or '.join(choices)}, and restart the service"
    return Finding("device-id", "fail", f"AX650_DEVICE: {seen}", remedy)


def model_need(settings: Settings) -> Need:
    """Raises `ModelFolderError`, and `OSError` for a file that cannot be looked at."""
    if settings.model_path is None:
        raise ModelFolderError("no model is configured; set AX650_MODEL_PATH")
    folder = ModelFolder.read(settings.model_path)
    return need_of(
        [file.stat().st_size for file in folder.folder.glob("*.axmodel")],
        folder.layers,
        folder.embedding_columns,
        settings.context_length or _USUAL_CONTEXT,
    )


def _descendants(pid: int | None) -> set[int]:
    """The processes of the service, whose runtime may have its model on the card already."""
    try:
        found = psutil.Process(pid).children(recursive=True) if pid else []
    except psutil.Error:
        return set()
    return {process.pid for process in found}
