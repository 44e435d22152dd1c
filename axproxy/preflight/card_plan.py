"""Decides which models fit on the card together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from axproxy.health import CardHealth
from axproxy.models.model import Model

# Card memory that a model takes, in parts of the size of its axmodel files: KV cache and buffers
# come on top of them.  Qwen3-0.6B takes 1954 MiB for files of 1.2 GB (vendor's log).
FIRST_FACTOR = 1.7
_LEAST_FACTOR = 1.0
_RESERVE_MB = 256  # for what the driver and other programs take meanwhile
_MIB = 1024 * 1024


class CardPlan:
    """`most` is the setting `AX650_MAX_LOADED_MODELS`, 0 where the card's memory decides.

    The factor grows with what loads have really taken.  Any thread, one at a time.
    """

    def __init__(self, most: int) -> None:
        self._card: Callable[[], CardHealth] = CardHealth
        self._loaded: Callable[[], Sequence[Model]] = tuple
        self._most = most
        self._total_mb: int | None = None
        self.factor = FIRST_FACTOR
        self._observed = False

    def follow(self, card: Callable[[], CardHealth], loaded: Callable[[], Sequence[Model]]) -> None:
        """Take what the card reports, and which models are on it completely, from these."""
        self._card, self._loaded = card, loaded

    def fits(self, models: Sequence[Model]) -> bool:
        """Return whether the card holds all of these models at a time.

        `main_api` has one fixed port, so its models are always alone.
        """
        if len(models) < 2:
            return True
        if any(model.runtime == "main_api" for model in models):
            return False
        if self._most and len(models) > self._most:
            return False
        self._learn()
        if self._total_mb is None:  # a simulator, or a card that reports nothing
            return self._most > 1
        need = sum(map(files_mb, models)) * self.factor
        return need + _RESERVE_MB <= self._total_mb

    def _learn(self) -> None:
        card = self._card()
        self._total_mb = card.cmm_total_mb or self._total_mb
        files = sum(map(files_mb, self._loaded()))
        if not files or not card.cmm_used_mb:
            return
        taken = max(_LEAST_FACTOR, card.cmm_used_mb / files)
        self.factor = max(self.factor, taken) if self._observed else taken
        self._observed = True


def files_mb(model: Model) -> float:
    """Return the MiB of the model's files that go onto the card."""
    if model.folder is None:
        return 0.0
    try:
        return sum(file.stat().st_size for file in model.folder.rglob("*.axmodel")) / _MIB
    except OSError:  # files are being replaced
        return model.size / _MIB
