"""What one run of the runtime has sampled so far, told from its /decode calls.

The vendor's binary, observed: while it samples it sends groups of exactly three ids; at the end of
the turn the one or two that are left; and when the run is over, whatever ended it, one list with
all ids of the answer.  After a stop or at the end of the window the one or two last ids come in
that final list only.  A call may look like two of these at once: see `DecodeCalls.undecided`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

GROUP = 3  # tokens per /decode while the runtime samples


class Call(Enum):
    """What a /decode call was."""

    NEXT = "the next ids of the answer"
    FINAL = "all ids of the answer"
    STRAY = "nothing that belongs to this run"


class DecodeCalls:
    """Collects the ids of one run, from its /encode (`prompt_tokens` ids, whose text has the
    sha256 `prompt_sha256`) to its final /decode.

    With `from_start=False` the /encode was answered by another process: ids may be missing before
    the first call, so only a final list counts.
    """

    def __init__(self, prompt_tokens: int, prompt_sha256: str, *, from_start: bool = True) -> None:
        self.prompt_tokens = prompt_tokens
        self.prompt_sha256 = prompt_sha256
        self._from_start = from_start
        self._gathered: list[int] = []
        self._held: tuple[int, ...] = ()
        self._rest_seen = False
        self._complete = False
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """If the run is over, somebody has stopped it: the last ids were sampled and never sent on
        (observed on the vendor's binary).  A stop right behind a group of three leaves no sign."""
        return self._stopped or (not self._complete and self._may_be_all())

    @property
    def ids(self) -> Sequence[int]:
        """The sampled ids that are known for certain, in order."""
        return self._gathered

    @property
    def complete(self) -> bool:
        """The final call has certainly been seen: `ids` is the whole answer."""
        return self._complete

    @property
    def undecided(self) -> bool:
        """The last call was either the final one or not: only the end of the run can tell.

        If the run is over, `ids` is the whole answer; if it goes on, the next call tells.
        """
        return not self._complete and (bool(self._held) or self._may_be_all())

    def decoded(self, ids: Sequence[int]) -> Call:
        """Takes note of one /decode call and says what it was (NEXT while that is undecided)."""
        if self._complete:
            # Only the final call is ever repeated: the runtime tries twice when a reply is late.
            return Call.FINAL if list(ids) == self._gathered else Call.STRAY
        if len(ids) > GROUP:
            return self._ended(ids)
        if not ids:
            return Call.STRAY
        if not self._from_start:
            return Call.NEXT
        self._release()
        if len(ids) < GROUP or self._rest_seen:
            return self._took_rest(ids)
        if list(ids) == self._gathered:
            # Three ids again: an answer of three, or one that repeats itself.
            self._held = tuple(ids)
        else:
            self._gathered.extend(ids)
        return Call.NEXT

    def _took_rest(self, ids: Sequence[int]) -> Call:
        if self._may_be_all() and list(ids) == self._gathered:
            return self._ended(ids)
        if self._rest_seen:
            return Call.STRAY
        self._rest_seen = True
        self._gathered.extend(ids)
        return Call.NEXT

    def _may_be_all(self) -> bool:
        # One or two ids and nothing before them: the rest of a short answer, which is then sent
        # once more, or the final list of a run that was stopped.
        return 0 < len(self._gathered) < GROUP

    def _release(self) -> None:
        # Another call follows the one that was held back, so that one was a group.
        self._gathered.extend(self._held)
        self._held = ()

    def _ended(self, ids: Sequence[int]) -> Call:
        self._stopped = list(ids) != [*self._gathered, *self._held]
        self._gathered = list(ids)
        self._held = ()
        self._complete = True
        return Call.FINAL
