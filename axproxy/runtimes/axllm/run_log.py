"""What `axllm` logs while it answers.

Log lines and the generated text share one output, and a client can make the model print anything.
So what is read here only counts and explains, and decides nothing that could harm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from axproxy.card.failure import DEAD_CARD

# "12:00:00.000 INF SetKVCache:406 | prefill_grpid:2 kv_cache_num:256 precompute_len:0 input_…:20"
_LINE = r"^(?:\x1b\[[\d;]*m)*\d\d:\d\d:\d\d\.\d{3} (?P<level>[A-Z]{3}) \S+ \| "
_REUSED = re.compile(
    _LINE + r"(?=.*\binput_num_token:)(?:.*\b)?precompute_len:(?P<tokens>\d{1,9})\b"
)
_FIRST_TOKEN = re.compile(_LINE + r"ttft: (?P<ms>\d{1,9}(?:\.\d+)?) ms")
# The last line of a run: how many tokens the cache now holds.
_END = re.compile(_LINE + r".*\bprecompute_len:\d{1,9}, remaining:")
_ERROR = re.compile(_LINE + r"(?P<text>.*)")


@dataclass(frozen=True)
class RunFacts:
    """What was logged of one run; None where it was not.

    `reused` is how many tokens of the prompt were in the KV cache already, `first_token` the time
    to the first token in seconds.
    """

    reused: int | None = None
    first_token: float | None = None


class AxllmRunLog:
    """The run log of one process.

    `feed` is called by the thread that reads the output, everything else by the one that holds the
    ticket.
    """

    def __init__(self) -> None:
        self.signs = 0  # of a dead card on the output since the run began, from any source
        self.sign = ""  # the latest of them
        self.ended = False  # the latest run has logged its end
        self.logs_ends = False  # as far as is known, runs do so
        self.error: str | None = None  # the latest line of the level ERR
        self._reused: int | None = None
        self._first_token: float | None = None

    def feed(self, line: str) -> None:
        """Read one complete line.  The first of each kind counts: it comes before the text."""
        if (found := _REUSED.search(line)) and self._reused is None:
            self._reused = int(found["tokens"])
        if (found := _FIRST_TOKEN.search(line)) and self._first_token is None:
            self._first_token = float(found["ms"]) / 1000
        error = _ERROR.search(line)
        if error and error["level"] == "ERR":
            self.error = error["text"].strip()[:300]
        if sign := DEAD_CARD.search(line):
            self.signs += len(DEAD_CARD.findall(line))
            self.sign = sign[0]
        if _END.search(line):
            self.ended = self.logs_ends = True

    def begin(self) -> None:
        """Note that a run is about to start."""
        self._reused = self._first_token = self.error = None
        self.signs, self.ended = 0, False

    def trouble(self, text: str) -> str | None:
        """Return the sign of a dead card, if more were printed than the answer's `text` has.

        A client can make the model print one; the prompt is not printed.
        """
        return self.sign if self.signs > len(DEAD_CARD.findall(text)) else None

    def facts(self) -> RunFacts:
        """Return what the latest run has logged."""
        return RunFacts(self._reused, self._first_token)
