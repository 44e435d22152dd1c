"""The three checks that ask the card: `card`, `device-id` and `cmm`, from one reading."""

from __future__ import annotations

from collections.abc import Collection

from axproxy.axcl_smi import AxclSmi, device_indices
from axproxy.axcl_smi_table import NoTable, Table
from axproxy.model_folder import ModelFolder, ModelFolderError
from axproxy.preflight.card import check_card, check_device_id
from axproxy.preflight.card_memory import Need, check_cmm, need_of
from axproxy.preflight.finding import Finding
from axproxy.settings import Settings

NAMES = ("card", "device-id", "cmm")
_USUAL_CONTEXT = (
    2559  # tokens, of most published builds; only the program knows, once it has loaded
)


def card_findings(settings: Settings, smi: AxclSmi, ours: Collection[int] = ()) -> list[Finding]:
    """One finding per name.  `ours` are pids of a runtime of this service that has its model on the
    card already.  May take as long as `AxclSmi.look`."""
    if settings.runtime_kind != "vendor":
        return _skipped("no card is used: AX650_MODEL_PATH is not set, or another program has it")
    reading = smi.look()
    if reading is None:
        return _skipped("a model is being loaded, and the card is not asked meanwhile")
    said = reading.said
    return [check_card(said), check_device_id(settings.device, said), _cmm(settings, said, ours)]


def _skipped(why: str) -> list[Finding]:
    return [Finding(name, "skip", why) for name in NAMES]


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
        [file.stat().st_size for file in folder.post.parent.glob("*.axmodel")],
        folder.layers,
        folder.embedding_columns,
        settings.context_length or _USUAL_CONTEXT,
    )
