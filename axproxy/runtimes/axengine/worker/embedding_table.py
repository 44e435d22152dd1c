"""The embeddings of all tokens, one row each, read from the disk as they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ml_dtypes
import numpy as np

from axproxy.runtimes.axengine.worker.shapes import Array, UnfitFile

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


class EmbeddingTable:
    """The table in `path`: an `.npy` file, or bare bfloat16 values; `hidden` values in a row.

    Raises `UnfitFile`, and `OSError`.
    """

    def __init__(self, path: Path, hidden: int) -> None:
        self._table = _mapped(path, hidden)

    @property
    def rows(self) -> int:
        return int(self._table.shape[0])

    def look_up(self, ids: Sequence[int], rows: int) -> Array:
        """Return [1, rows, hidden] in bfloat16; rows after those of `ids` are zero."""
        found = np.zeros((1, rows, self._table.shape[1]), BFLOAT16)
        found[0, : len(ids)] = np.asarray(self._table[list(ids)]).astype(BFLOAT16)
        return found


def _mapped(path: Path, hidden: int) -> Array:
    if path.suffix == ".npy":
        table: Array = np.load(path, mmap_mode="r")
        if table.dtype.kind == "V" and table.dtype.itemsize == 2:
            table = table.view(BFLOAT16)  # .npy has no name for bfloat16
    else:
        if path.stat().st_size % (2 * hidden):
            raise UnfitFile(f"{path.name} does not have rows of {hidden} values")
        table = np.memmap(path, np.uint16, mode="r").view(BFLOAT16).reshape(-1, hidden)
    if table.ndim != 2 or table.shape[1] != hidden:
        raise UnfitFile(f"{path.name} is {table.shape}; the model needs rows of {hidden} values")
    return table
