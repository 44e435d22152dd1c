"""Compares counts made before a run with what the program reports after it."""

from __future__ import annotations

import logging
import math

from axproxy.prompts.fitting import Window

# Until a program has confirmed a count, it may merge its tokens differently, or put a text of its
# own before the first message.
UNCONFIRMED_TOKENS = 16
UNCONFIRMED_SHARE = 0.02
ESTIMATE_SHARE = 0.15
LONG = 200  # tokens

log = logging.getLogger(__name__)


class CountCheck:
    """Keeps the margin by which counts for one model may be too low.

    Any thread may ask for it; the thread that holds the ticket compares.

    `exact` says that the counts should be right.  A difference is logged once, with the model's
    name, and widens the margin for good.
    """

    def __init__(self, model: str, *, exact: bool) -> None:
        self._model = model
        self._share = UNCONFIRMED_SHARE if exact else ESTIMATE_SHARE
        self._exact = exact
        self._tokens = UNCONFIRMED_TOKENS
        self._confirmed = False
        self._logged = False

    def margin(self, counted: int) -> int:
        """Return by how many tokens a prompt of `counted` may be longer than that."""
        if self._confirmed:
            return max(self._tokens, math.ceil(counted * self._share))
        return self._tokens + math.ceil(counted * self._share)

    def narrowed(self, window: Window) -> Window:
        """Return the window in which a prompt fits whatever the margin."""
        margin = self.margin(window.prefill_limit)
        limit = max(window.prefill_limit - margin, 1)
        return Window(window.context, limit, min(window.prefill_chunk, max(limit // 2, 1)))

    def compare(self, counted: int, reported: int) -> None:
        """Learn from a run; old versions report 0, which shows nothing."""
        if reported <= 0:
            return
        difference = reported - counted
        if self._exact and not self._confirmed:
            self._share, self._tokens, self._confirmed = 0.0, 0, True
        if difference > 0:
            self._tokens = max(self._tokens, difference)
            if counted > LONG:  # in a short prompt a constant difference looks like a share
                self._share = max(self._share, difference / counted)
        if difference and not self._logged:
            self._logged = True
            log.warning(
                "%s read a prompt of %d tokens where %d were counted; the margin is now %d",
                self._model,
                reported,
                counted,
                self.margin(counted),
            )
