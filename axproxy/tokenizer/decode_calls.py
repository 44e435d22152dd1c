"""Follows what one run of the runtime has sampled, from its /decode calls.

Observed on the vendor's binary: while it samples it sends groups of exactly three ids, and at the
end of the turn the one or two that are left.  When the run is over, whatever ended it, it sends a
final list with all ids of the answer.  After a stop or at the end of the window, the last one or
two ids come only in that final list.  A call may fit two of these cases: see
`DecodeCalls.undecided`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

GROUP = 3  # tokens per /decode while the runtime samples


class DecodeCall(Enum):
    """The kinds of /decode calls."""

    NEXT = "the next ids of the answer"
    FINAL = "all ids of the answer"
    STRAY = "ids that do not belong to this run"


class DecodeCalls:
    """Collects the ids of one run, from its /encode to its final /decode.

    `prompt_tokens` is the number of ids that /encode returned, `prompt_sha256` the sha256 of its
    text.  With `from_start=False` another process has answered the /encode: ids may be missing
    before the first call, so only a final list counts.
    """

    def __init__(self, prompt_tokens: int, prompt_sha256: str, *, from_start: bool = True) -> None:
        self.prompt_tokens = prompt_tokens
        self.prompt_sha256 = prompt_sha256
        self._from_start = from_start
        self._ids: list[int] = []
        self._held: tuple[int, ...] = ()
        self._rest_seen = False
        self._complete = False
        self._stopped = False
        self._disturbed = False

    @property
    def disturbed(self) -> bool:
        """Whether a call came that the runtime does not make in one run: another program's.

        Which of the calls was the other program's cannot be known.
        """
        return self._disturbed

    @property
    def stopped(self) -> bool:
        """Whether the run was stopped, provided that it is over.

        The runtime then sends the last sampled ids only in the final list (observed on the vendor's
        binary).  A stop right after a group of three leaves no sign.
        """
        return self._stopped or (not self._complete and self._may_be_all())

    @property
    def ids(self) -> Sequence[int]:
        """The sampled ids that are certain, in order."""
        return self._ids

    @property
    def complete(self) -> bool:
        """Whether the final call has come for certain: `ids` is the whole answer."""
        return self._complete

    @property
    def undecided(self) -> bool:
        """Whether the last call may have been the final one.

        If the run is over, `ids` is the whole answer; if it goes on, the next call decides.
        """
        return not self._complete and (bool(self._held) or self._may_be_all())

    def interrupted(self) -> None:
        """Record a call that the runtime makes only between two runs."""
        over = self._complete or self.undecided
        self._disturbed = self._disturbed or not over

    def decoded(self, ids: Sequence[int]) -> DecodeCall:
        """Record one /decode call and return its kind (NEXT while that is undecided)."""
        call = self._kind(ids)
        self._disturbed = self._disturbed or (call is DecodeCall.STRAY and self._from_start)
        return call

    def _kind(self, ids: Sequence[int]) -> DecodeCall:
        if self._complete:
            # Only the final call is repeated: the runtime tries twice when a reply is late.
            return DecodeCall.FINAL if list(ids) == self._ids else DecodeCall.STRAY
        if len(ids) > GROUP:
            return self._finish(ids)
        if not ids:
            return DecodeCall.STRAY
        if not self._from_start:
            return DecodeCall.NEXT
        self._release()
        if len(ids) < GROUP or self._rest_seen:
            return self._take_rest(ids)
        if list(ids) == self._ids:
            # The same three ids: an answer of three tokens, or text that repeats itself.
            self._held = tuple(ids)
        else:
            self._ids.extend(ids)
        return DecodeCall.NEXT

    def _take_rest(self, ids: Sequence[int]) -> DecodeCall:
        if self._may_be_all() and list(ids) == self._ids:
            return self._finish(ids)
        if self._rest_seen:
            return DecodeCall.STRAY
        self._rest_seen = True
        self._ids.extend(ids)
        return DecodeCall.NEXT

    def _may_be_all(self) -> bool:
        # One or two ids and none before them: either the rest of a short answer, which is then sent
        # once more, or the final list of a run that was stopped.
        return 0 < len(self._ids) < GROUP

    def _release(self) -> None:
        # Another call follows the one that was held back, so it was a group.
        self._ids.extend(self._held)
        self._held = ()

    def _finish(self, ids: Sequence[int]) -> DecodeCall:
        before = [*self._ids, *self._held]
        self._stopped = list(ids) != before
        if self._stopped and self._from_start:
            # A stop leaves at most two ids over, and comes before the rest of a group is sent.
            unsent = 0 if self._rest_seen else GROUP - 1
            extends = list(ids[: len(before)]) == before and len(ids) - len(before) <= unsent
            self._disturbed = self._disturbed or not extends
        self._ids = list(ids)
        self._held = ()
        self._complete = True
        return DecodeCall.FINAL
