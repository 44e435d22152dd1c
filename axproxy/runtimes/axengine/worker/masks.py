"""Which tokens a token may look at: 0 where it may, -65536 where it may not.

The history has the first columns, the tokens of the run the last ones.  In the vendor's demos the
history fills its columns exactly; its C++ runner leaves columns between the two empty.  Both are
the same rule, read from the width of the mask.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

HIDDEN = -65536.0


def decode_mask(width: int, history: int) -> npt.NDArray[np.float32]:
    """Return the mask [1, 1, width] of one token after `history` others."""
    return prefill_mask(1, width, history)


def prefill_mask(rows: int, width: int, history: int) -> npt.NDArray[np.float32]:
    """Return the mask [1, rows, width] of a chunk of `rows` tokens after `history` others."""
    mask = np.full((1, rows, width), HIDDEN, np.float32)
    mask[0, :, :history] = 0
    own = np.tril(np.ones((rows, rows), bool))
    mask[0, :, width - rows :][own] = 0
    return mask
