"""Reads what a run has produced, from the tokenizer's trace and the runtime's polls; no I/O.

The trace is exact and comes first: the runtime asks the tokenizer for the text of every three
tokens before it can stream that text, and sends all ids once more at the end.  The polls show
whether the run is over, and carry the text when there is no trace (with the vendor's own tokenizer
script, or when ours was restarted in the middle of an answer).
"""

from __future__ import annotations

from axproxy.errors import PromptTooLong, RuntimeMisbehaved
from axproxy.output.limits import Piece
from axproxy.runtimes.main_api.client import CONTEXT_FULL, Poll
from axproxy.runtimes.main_api.kv_cache import CacheVersion
from axproxy.runtimes.main_api.other_programs import FLUSH, disturbed
from axproxy.tokenizer.client import Trace


class PollReader:
    """Decides from polls alone whether a run has ended.

    The program accepts work at once and queues it, and its `done` only means that nothing runs
    right now: the run is finished, or not begun, or between a reset and its start.  An ending
    without any text therefore counts only once it has lasted for `settle` seconds.
    """

    def __init__(self, settle: float = 1.0) -> None:
        self._settle = settle
        self._any_text = False
        self._idle_since: float | None = None

    def ended(self, poll: Poll, now: float) -> bool:
        self._any_text = self._any_text or bool(poll.response)
        if not poll.done:
            self._idle_since = None
            return False
        if self._idle_since is None:
            self._idle_since = now
        return self._any_text or now - self._idle_since >= self._settle

    @property
    def began(self) -> bool:
        """Whether text has come; being busy is no sign, it may be the reset before the run."""
        return self._any_text


class RunReader:
    """Reads one run.

    `trace` is the last one from before the run was requested, `None` where there is no trace.
    `prompt_sha256` distinguishes our run from another program's.  `resets` is how many resets of
    ours came in between; with it, the run is known to start from the cache that we mean.

    Both feeds raise `RuntimeMisbehaved` and `PromptTooLong`.
    """

    def __init__(
        self, trace: Trace | None, prompt_sha256: str, settle: float = 1.0, resets: int = 0
    ) -> None:
        self.traced = trace is not None
        self.trace: Trace | None = None  # the latest one of this run
        self._epoch = trace.epoch if trace else ""
        self.run = trace.run + 1 if trace else 0
        self._prompt_sha256 = prompt_sha256
        self._polls = PollReader(settle)
        self._began = False
        self._polled = ""
        self._given = 0  # characters returned by the feeds
        self.version = trace.version if trace else 0
        self.have = 0  # tokens handed on
        self.text = ""  # of those tokens
        self.faithful = False  # it is all that they stand for
        self._resets = trace.resets + resets if trace else 0
        self.final_call_seen = False
        self.ended = False

    @property
    def began(self) -> bool:
        """Whether the program is inside the run, or was: from here on it reacts to a stop."""
        return self._began or self._polls.began

    @property
    def nearly_ended(self) -> bool:
        """Whether the last call to the tokenizer may have been made; only a poll can show that."""
        return self.traced and self.final_call_seen and not self.ended

    @property
    def wordless(self) -> bool:
        """Whether no text or token of the run has been read."""
        return not (self.have or self._polled)

    @property
    def cache_version(self) -> CacheVersion | None:
        """The trace's state after a run that was read completely, and whose text is exact."""
        exact = self.faithful and not (self.trace and self.trace.stopped)
        whole = self.traced and self.ended and self.final_call_seen and exact
        return CacheVersion(self._epoch, self._resets, self.run) if whole else None

    def lose_trace(self) -> None:
        """Go on with polls alone: the tokenizer was restarted."""
        self.traced, self.trace = False, None

    def feed_trace(self, trace: Trace) -> list[Piece]:
        self.version = trace.version
        if trace.epoch != self._epoch:
            self.lose_trace()
            return []
        if trace.run < self.run:
            return []
        # An accepted reset is dropped when another program's chat comes first (observed).
        ours = trace.run == self.run and trace.prompt_sha256 == self._prompt_sha256
        reset = trace.resets != self._resets and not self._began
        if not ours or reset or trace.disturbed:
            raise disturbed()
        self._began = True
        self.trace = trace
        self.final_call_seen = trace.complete or trace.undecided
        self.faithful = trace.faithful
        new = trace.tokens[self.have - trace.have :]
        text = "".join(token.text for token in new)
        self.have += len(new)
        self.text += text
        self._given += len(text)
        return [Piece(token.text, token.id) for token in new]

    def feed_poll(self, poll: Poll, now: float) -> list[Piece]:
        self._polled += poll.response
        if self._polled.startswith(CONTEXT_FULL) and self._given == 0:
            self.ended = poll.done
            raise PromptTooLong(
                "the runtime found its context full; start a new conversation or shorten this one"
            )
        lasted = self._polls.ended(poll, now)
        if self.traced:
            if poll.done and self._began:
                self.ended = True
            elif lasted:
                self.ended = True
                raise RuntimeMisbehaved(
                    "the runtime accepted the prompt but did not run it; send it again"
                )
            return []
        self.ended = lasted
        return self.unread()

    def end_without_polls(self) -> bool:
        """End the run, whose program answers no more polls, if the trace has all of it."""
        self.ended = self.traced and self.trace is not None and self.trace.complete
        return self.ended

    def unread(self) -> list[Piece]:
        """Return text that was polled and not yet returned."""
        text, self._given = (
            self._polled[self._given :],
            max(self._given, len(self._polled)),
        )
        return [Piece(text, tokens=FLUSH)] if text else []


class PollPace:
    """Decides when to poll next, where only polls show the text.

    Text comes at even intervals, so most of each interval is slept through, and polls are frequent
    when the next piece is due.
    """

    CLOSE, LONGEST = 0.01, 0.1  # seconds

    def __init__(self) -> None:
        self._last: float | None = None
        self._beat: float | None = None

    def text_came(self, now: float) -> None:
        if self._last is not None:
            gap = now - self._last
            self._beat = gap if self._beat is None else 0.7 * self._beat + 0.3 * gap
        self._last = now

    def delay(self, now: float) -> float:
        """Seconds to sleep before the next poll."""
        if self._last is None or self._beat is None:
            return 2 * self.CLOSE
        due = self._last + 0.8 * self._beat
        return min(max(due - now, self.CLOSE), self.LONGEST)
