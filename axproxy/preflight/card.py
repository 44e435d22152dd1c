"""The checks that ask the card, from one reading: `card`, `device-id` and `cmm`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import psutil

from axproxy.card.failure import recovery_steps
from axproxy.card.smi import AxclSmi, device_indices
from axproxy.card.smi_table import Card, NoTable, Reason, Table
from axproxy.models.axengine_folder import AxengineFolder
from axproxy.models.axllm_folder import AxllmFolder
from axproxy.models.folder import ModelFolder, ModelFolderError
from axproxy.models.runtime_choice import runtime_for
from axproxy.preflight.card_memory import MemoryNeed, check_cmm, need_of
from axproxy.preflight.context import CheckContext
from axproxy.preflight.finding import Finding, Severity
from axproxy.preflight.kernel_log import DEVICE, steps_for
from axproxy.preflight.pcie import bus_of, cards_on_the_bus
from axproxy.settings import Settings

CARD_NAMES = ("card", "device-id", "cmm")
_USUAL_CONTEXT = 2559  # tokens; true of most published builds, known only once the model is loaded
HOT_CELSIUS = 85  # users set their alarms at 75 to 85, the card resets itself at 120

# What it means that there is no table, and what helps.  Not being able to call the tool proves
# nothing, so it does not prevent a start.
_NO_TABLE: dict[Reason, tuple[Severity, str, str]] = {
    "missing": (
        "warn",
        "cannot read the state of the card",
        "sudo apt install axclhost, or set AX650_AXCL_SMI to the full path of axcl-smi",
    ),
    "busy": (
        "warn",
        "another axcl-smi is running and does not end",
        "pgrep -a axcl-smi; close the monitor that calls it",
    ),
    "forbidden": (
        "fail",
        "this user cannot open the card's device",
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
        "under [all] in /boot/firmware/config.txt and reboot, else power off and reseat the card",
    ),
    "dead": ("fail", "the card does not answer", recovery_steps()),
    "hung": ("fail", "the card does not answer", recovery_steps()),
    "unknown": (
        "warn",
        "the output of axcl-smi is not understood",
        "run axcl-smi and look for the card in its table",
    ),
}


def check_cards(context: CheckContext) -> list[Finding]:
    """Return one finding for each of `CARD_NAMES`.  Takes as long as `AxclSmi.read`."""
    smi = context.smi or AxclSmi(context.settings.axcl_smi)
    reading = None if context.loading else smi.read()
    if reading is None:
        loading = "axcl-smi is not called while a model is being loaded"
        return [Finding(name, "skip", loading) for name in CARD_NAMES]
    result, device = reading.result, context.settings.device
    buses = [bus_of(card) for card in cards_on_the_bus(context)]
    memory = _cmm(context.settings, result, _descendants(context.owner))
    return [check_card(result, buses), check_device_id(device, result), memory]


def _cmm(settings: Settings, result: Table | NoTable, ours: Collection[int]) -> Finding:
    try:
        need = model_need(settings)
    except (ModelFolderError, OSError) as error:
        problem = str(error).partition("; ")[0]
        seen = f"the size of the model is not known: {problem}; see model-folder"
        return Finding("cmm", "skip", seen)
    words = device_indices(settings.device, result).split(",")
    devices = {int(word) for word in words if word.strip().isascii() and word.strip().isdecimal()}
    return check_cmm(need, result, devices, ours)


def check_card(result: Table | NoTable, buses: Sequence[int] = ()) -> Finding:
    """Check that there is a card, in good state; only rows count: the tool always exits with 0.

    `buses` are the numbers of the cards' buses, in the order of their indices.
    """
    if isinstance(result, NoTable):
        severity, meaning, remedy = _NO_TABLE[result.reason]
        if result.reason in ("dead", "hung") and len(buses) > 1:
            device = DEVICE.search(result.message)
            remedy = steps_for(device and device[1], buses)
        return Finding(
            "card", severity, f"{meaning}: {result.message}" if result.message else meaning, remedy
        )
    seen = "; ".join(map(_described, result.cards))
    for card in result.cards:
        if card.silent:
            return Finding(
                "card", "warn", f"{seen}: it may be dead", recovery_steps(result.tool_number(card))
            )
    if any((card.temperature_c or 0) >= HOT_CELSIUS for card in result.cards):
        return Finding("card", "warn", f"{seen}: too hot", "give the card a fan and a heat sink")
    return Finding("card", "ok", seen)


def _described(card: Card) -> str:
    if card.silent:
        return f"card {card.index} does not report its state"
    where = f" at {card.bus_id}" if card.bus_id else ""
    heat = "" if card.temperature_c is None else f", {card.temperature_c} °C"
    return f"card {card.index} ({card.name or 'unnamed'}{where}{heat})"


def check_device_id(device: str, result: Table | NoTable) -> Finding:
    """Check the value of `--devices`: 0-based indices, never PCIe bus numbers."""
    words = [word.strip() for word in device.split(",")]
    if device != "auto" and not all(word.isascii() and word.isdecimal() for word in words):
        return _wrong(f'"{device}" is not the number of a card; the runtime would abort', result)
    if len(set(words)) < len(words):
        return _wrong(f'"{device}" names a card twice', result)
    if isinstance(result, NoTable):
        used = "0" if device == "auto" else device
        seen = f"axcl-smi shows no card, so --devices {used} is used unchecked; see card"
        return Finding("device-id", "skip", seen)
    if device == "auto":
        return Finding(
            "device-id", "ok", f"--devices {result.cards[0].index} is used, the first card"
        )
    for word in words:
        if result.card(int(word)) is None:
            bus = any(card.bus == int(word) for card in result.cards)
            mistaken = f": {word} is the number of its PCIe bus" if bus else ""
            return _wrong(f"there is no card {int(word)}{mistaken}", result)
    return Finding("device-id", "ok", f"--devices {device} is used")


def _wrong(seen: str, result: Table | NoTable) -> Finding:
    choices = [str(card.index) for card in result.cards] if isinstance(result, Table) else ["0"]
    remedy = f"set AX650_DEVICE to auto or to {' or '.join(choices)}, and restart the service"
    return Finding("device-id", "fail", f"AX650_DEVICE: {seen}", remedy)


def model_need(settings: Settings) -> MemoryNeed:
    """Return the card memory that the model needs.

    Raises `ModelFolderError`, and `OSError` for a file that cannot be examined.
    """
    if settings.model_path is None:
        raise ModelFolderError("no model is configured; set AX650_MODEL_PATH")
    if runtime_for(settings) == "axllm":
        model = AxllmFolder.read(settings.model_path)
        # The vendor's own figure: the KV cache and buffers add some 30 % to the files.
        total = sum(file.stat().st_size for file in model.models)
        return MemoryNeed(total // 2**20, round(1.3 * total / 2**20))
    if runtime_for(settings) == "axengine":
        files = AxengineFolder.read(settings.model_path).files
        total = sum(file.stat().st_size for file in files)
        return MemoryNeed(total // 2**20, round(1.3 * total / 2**20))
    folder = ModelFolder.read(settings.model_path)
    return need_of(
        [file.stat().st_size for file in folder.folder.glob("*.axmodel")],
        folder.layers,
        folder.embedding_columns,
        settings.context_length or _USUAL_CONTEXT,
        folder.bits,
    )


def _descendants(pid: int | None) -> set[int]:
    """Return the descendants of `pid`; among them may be a runtime with its model on the card."""
    try:
        found = psutil.Process(pid).children(recursive=True) if pid else []
    except psutil.Error:
        return set()
    return {process.pid for process in found}
