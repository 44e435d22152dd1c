"""The three checks that ask the card: `card`, `device-id` and `cmm`, from one reading."""

from __future__ import annotations

from collections.abc import Collection

import psutil

from axproxy.card.smi import AxclSmi, device_indices
from axproxy.card.smi_table import NoTable, Table
from axproxy.models.folder import ModelFolder, ModelFolderError
from axproxy.preflight.card import check_card, check_device_id
from axproxy.preflight.card_memory import Need, check_cmm, need_of
from axproxy.preflight.finding import Finding
from axproxy.preflight.scene import CheckContext
from axproxy.settings import Settings

CARD_NAMES = ("card", "device-id", "cmm")
_USUAL_CONTEXT = 2559  # tokens, of most published builds; only a loaded program tells


def check_cards(scene: CheckContext) -> list[Finding]:
    """One finding per name.  May take as long as `AxclSmi.look`."""
    smi = scene.smi or AxclSmi(scene.settings.axcl_smi)
    reading = None if scene.busy else smi.look()
    if reading is None:
        loading = "a model is being loaded, and the card is not asked meanwhile"
        return [Finding(name, "skip", loading) for name in CARD_NAMES]
    said, device = reading.said, scene.settings.device
    memory = _cmm(scene.settings, said, _descendants(scene.family))
    return [check_card(said), check_device_id(device, said), memory]


def _cmm(settings: Settings, said: Table | NoTable, ours: Collection[int]) -> Finding:
    try:
        need = model_need(settings)
    except (ModelFolderError, OSError) as error:
        return Finding("cmm", "skip", f"the model's size is not known: {error}")
    words = device_indices(settings.device, said).split(",")
    devices = {int(word) for word in words if word.strip().isascii() and word.strip().isdecimal()}
    return check_cmm(need, said, devices, ours)


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
