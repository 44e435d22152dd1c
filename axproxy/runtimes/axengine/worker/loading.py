"""Loads a model's files with the vendor's library, and says how far it is."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from axproxy.models.axengine_folder import AxengineFolder
from axproxy.runtimes.axengine.worker.decoder import Decoder
from axproxy.runtimes.axengine.worker.embedding_table import EmbeddingTable
from axproxy.runtimes.axengine.worker.encoder import TOKENS, TextEncoder
from axproxy.runtimes.axengine.worker.network import open_network
from axproxy.runtimes.axengine.worker.shapes import Session, UnfitFile
from axproxy.runtimes.axengine.worker.work import CountedSession, Work

CARD = "AXCLRTExecutionProvider"
BOARD = "AxEngineExecutionProvider"
PROVIDERS = {"card": CARD, "board": BOARD}


class CannotLoad(Exception):
    """The model cannot be used; the message says why and what to do."""


class Loader:
    """Opens sessions on one provider; `device` is the card's place in the driver's list."""

    def __init__(self, provider: str, device: int) -> None:
        try:
            self._library: Any = importlib.import_module("axengine")
        except ImportError as error:
            if error.name == "axengine":
                raise CannotLoad(
                    "PyAXEngine is not installed; download its wheel and run: sudo ./install.sh "
                    "--with-axengine WHEEL"
                ) from error
            raise CannotLoad(_why_not_imported(error)) from error
        except (OSError, RuntimeError) as error:
            raise CannotLoad(_why_not_imported(error)) from error
        available = list(self._library.get_available_providers())
        self.provider = PROVIDERS.get(provider) or next(iter(available), "")
        if self.provider not in available:
            raise CannotLoad(
                f"PyAXEngine finds no library for {self.provider or 'any provider'}; install the "
                "driver package (libaxcl_rt for a card, libax_engine on a board); ask ax650 doctor"
            )
        self._device = device
        self.work = Work()
        self._opened, self._all = 0, 1

    def load(self, folder: AxengineFolder) -> Decoder | TextEncoder:
        """Load all files.  Raises `CannotLoad`."""
        self._opened, self._all = 0, len(folder.files)
        try:
            if folder.layout == "single":
                only = self.open(folder.parts[0])
                if any(tensor.name == TOKENS for tensor in only.get_inputs(0)):
                    return TextEncoder(only)
                network = open_network(folder, lambda _path: only)
            else:
                network = open_network(folder, self.open)
            if folder.table is None:
                raise UnfitFile("there is no table of embeddings beside it")
            return Decoder(network, EmbeddingTable(folder.table, network.decode.hidden))
        except UnfitFile as error:
            raise CannotLoad(
                f"the files in {folder.folder} do not fit the pipeline: {error}"
            ) from error

    def open(self, path: Path) -> Session:
        """Open one file.  Raises `CannotLoad`."""
        options = [{"device_id": self._device}] if self.provider == CARD else None
        try:
            session: Session = self._library.InferenceSession(
                str(path), providers=[self.provider], provider_options=options
            )
        except Exception as error:  # the library raises bare classes
            raise CannotLoad(f"{path.name} cannot be loaded ({error})") from error
        self._opened += 1
        # The supervisor reads these lines.
        print(f"loaded {self._opened} of {self._all}: {path.name}", flush=True)
        return CountedSession(session, self.work)


def _why_not_imported(error: Exception) -> str:
    return f"PyAXEngine cannot be imported ({error}); is the driver package installed?"
