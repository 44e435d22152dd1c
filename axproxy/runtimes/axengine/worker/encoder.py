"""Encoders that come as one file, tokens in, vectors out: bge-small-en-v1.5, bge-m3.

The vector of a text is the row of its first token, [CLS], made one long.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from axproxy.runtimes.axengine.worker.shapes import Session, UnfitFile

TOKENS = "input_ids"


class TextEncoder:
    """Turns the tokens of one text at a time into a vector.  Raises `UnfitFile`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        inputs = {tensor.name: tensor for tensor in session.get_inputs(0)}
        if TOKENS not in inputs or len(inputs) > 2:
            raise UnfitFile(f"it takes {', '.join(inputs)}; an encoder takes {TOKENS}")
        self._inputs = {name: (tuple(t.shape), np.dtype(t.dtype)) for name, t in inputs.items()}
        self.places = int(self._inputs[TOKENS][0][1])  # tokens of the longest text

    def encode(self, ids: Sequence[int], pad: int = 0) -> list[float]:
        """Return the vector of a text; `ids` begin with [CLS] and end with [SEP].

        `pad` fills the places that are left: [PAD] is 0 in BERT's vocabulary, 1 in XLM-R's.
        """
        feed = {}
        for name, (shape, dtype) in self._inputs.items():
            row = np.full(shape, pad if name == TOKENS else 0, dtype)
            row[0, : len(ids)] = ids if name == TOKENS else 1  # else it is the attention mask
            feed[name] = row
        rows = np.asarray(self._session.run(None, feed)[0], np.float32)
        first = rows.reshape(-1, rows.shape[-1])[0]
        length = float(np.linalg.norm(first))
        found: list[float] = (first / length if length else first).tolist()
        return found
