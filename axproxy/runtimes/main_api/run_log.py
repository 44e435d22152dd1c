"""What the runtime logs while it answers, kept apart from prompts and answers.

Log lines, the prompt and the streamed answer share one output (observed on the vendor's binary),
and a client can type a log line.  But we know the texts of prompt and answer: a line is the
program's own if it appears more often than these texts contain it.

Texts and output are compared in one normal form, without blanks and control characters.  Our reader
cuts long lines, so in that form no piece of a text may show more than the text: nothing is removed
that depends on what stands next to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from axproxy.card.failure import DEAD_CARD
from axproxy.engine.runtime import RunResult
from axproxy.errors import CardFailed

_INVISIBLE = re.compile(r"[^!-~\r\n]+")
# "[E][inference][ 526]: AX_ENGINE_Execute": the end of what the program and its libraries begin
# each of their lines with.  One of them then names a channel: "[1-21] recv dma size".
_PREFIX = "]:"
_SIGN = re.compile(rf"\]:(?:\[[\d-]{{1,9}}\])?({DEAD_CARD.pattern.replace(' ', '')})")
_FIRST_TOKEN = re.compile(r"\]:ttft:(\d{1,9}\.\d{1,6})ms")
# The program then goes on with the prompt of an earlier request (observed on the binary).
_MISREAD = re.compile(r"\]:encodefailed")
_SPEED = re.compile(r"\]:hiteos,avg(\d{1,9}\.\d{1,6})token/s")
# The last line of a run: how many tokens the cache now holds.
_CACHED = re.compile(r"\]:precompute_len:(\d{1,9}),remaining:")
_SOUGHT = (_SIGN, _MISREAD, _SPEED, _CACHED)  # in answers
_LONGEST = 100  # characters; no match of these patterns has as many


def normal(text: str) -> str:
    """Return `text` with its line ends and visible ASCII characters only."""
    return _INVISIBLE.sub("", text)


class _Matches:
    """Counts the matches of a pattern in a text that grows; each part is read once."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self._end = ""  # of the text: a match may begin in it
        self.count = 0

    def feed(self, text: str) -> None:
        self._end += text
        counted = 0
        for found in self._pattern.finditer(self._end):
            self.count += 1
            counted = found.end()
        self._end = self._end[max(counted, len(self._end) - _LONGEST) :]


@dataclass(frozen=True)
class RunTimes:
    """The times that the program logs for a run; `None` where it has not logged them.

    `first_token` is the time to the first token in seconds, `speed` is in tokens per second after
    it.
    """

    first_token: float | None = None
    speed: float | None = None


class RunLog:
    """The run log of one runtime process.

    `feed` is called by the thread that reads the output, everything else by the thread that holds
    the ticket.
    """

    def __init__(self) -> None:
        self.logged = 0  # signs of a dead card on the output so far, from any source
        self.trouble: str | None = None  # the sign that was proven to be the program's own
        self.certain = False  # it was, before any client's text was on the output
        self._sign = ""
        self._explained = 0  # of `logged`, by the texts of earlier runs
        self._prompt = ""
        self._in_prompt: dict[re.Pattern[str], int] = {}
        self._in_answer: dict[re.Pattern[str], _Matches] = {}
        self._whole = True  # all that the latest run has printed is known
        self._running = False
        self._firsts: list[float] = []
        self._speeds: list[float] = []
        self._misreads = 0
        self._cached: list[int] = []
        self.logs_cached = False  # as far as is known, runs log how many tokens the cache holds

    def feed(self, line: str) -> None:
        """Read one complete line; streamed text has no line ends, so a log line may begin in it."""
        text = normal(line)
        for _ in _SIGN.finditer(text):
            self._sign = sign[0] if (sign := DEAD_CARD.search(line)) else "see the log"
            self.logged += 1
        self._firsts += [float(found) / 1000 for found in _FIRST_TOKEN.findall(text)]
        self._speeds += [float(found) for found in _SPEED.findall(text)]
        self._misreads += len(_MISREAD.findall(text))
        self._cached += [int(found) for found in _CACHED.findall(text)]
        self.logs_cached = self.logs_cached or bool(self._cached)

    def begin(self, prompt: str) -> None:
        """Note that a run with this prompt is about to start; the program prints the prompt."""
        if not self._whole:  # some of the output came from text that was not read
            self._explained = max(self._explained, self.logged)
        self._prompt = normal(_PREFIX + prompt)  # it is printed behind such a prefix
        self._in_prompt = {}
        self._in_answer = {sought: _Matches(sought) for sought in _SOUGHT}
        self._running = True
        self._firsts, self._speeds, self._misreads = [], [], 0
        self._cached = []

    def sampled(self, text: str) -> None:
        """Note that the program has sampled, and will print, this text."""
        visible = normal(text)
        for matches in self._in_answer.values():
            matches.feed(visible)

    def end(self, whole: bool) -> None:
        """Note that the run is over; `whole` means that all its text was read."""
        if self._running:
            self._explained += self._count(_SIGN)
            self._running, self._whole = False, whole

    def check(self, logged: int) -> None:
        """Raise `CardFailed` if `logged` signs of a dead card prove that the card failed."""
        if self.proves(logged):
            raise CardFailed(
                f"the card failed while answering ({self.trouble}); the runtime is restarted, try "
                "again in a few minutes"
            )

    def proves(self, logged: int) -> bool:
        """Return whether `logged` signs are more than the texts known by now contain.

        `logged` must have been read before the latest of those texts was.  Sets `trouble`.
        """
        if logged <= self._explained:
            return False
        if self._running and logged <= self._explained + self._count(_SIGN):
            return False
        self.trouble = self._sign
        return True

    def proves_while_idle(self) -> bool:
        """Return the same between runs, when nothing else is printed."""
        logged = self.logged
        return not self._running and self._whole and self.proves(logged)

    def proves_alone(self) -> bool:
        """Return the same before any client's request: every sign is then the program's."""
        self.trouble = self._sign if self.logged else None
        self.certain = self.trouble is not None
        return self.certain

    def misread(self) -> bool:
        """Return whether the program got no tokens for the latest prompt."""
        return self._misreads > 0 and self._misreads > self._count(_MISREAD)

    def cached(self) -> int | None:
        """Return how many tokens the cache holds after the latest run, `None` until it is logged.

        The program prints it last, so with more such lines than the texts have it is the last one.
        """
        return self._cached[-1] if len(self._cached) > self._count(_CACHED) else None

    def times(self) -> RunTimes:
        """Return the times of the latest run, as far as they were logged.

        The first token's time is printed after the prompt and before the answer, the speed last.
        More speeds than the texts and one run account for are late ones of the run before; the
        speed is then unknown.
        """
        firsts, speeds = self._firsts, self._speeds
        prompts = len(_FIRST_TOKEN.findall(self._prompt))
        fakes = self._count(_SPEED)
        return RunTimes(
            firsts[prompts] if len(firsts) > prompts else None,
            speeds[fakes] if len(speeds) == fakes + 1 else None,
        )

    def _count(self, pattern: re.Pattern[str]) -> int:
        """Return how often the prompt and the answer so far contain the pattern."""
        if pattern not in self._in_prompt:
            self._in_prompt[pattern] = len(pattern.findall(self._prompt))
        in_answer = self._in_answer.get(pattern)
        return self._in_prompt[pattern] + (in_answer.count if in_answer else 0)


def with_logged_times(result: RunResult, times: RunTimes) -> RunResult:
    """Return the result with the program's own times, where they can be true.

    The program flushes three tokens at a time, so from outside the first one seems to come late and
    the others fast.
    """
    whole = result.prompt_eval + result.eval
    first = times.first_token or 0.0
    if not 0 < first <= result.prompt_eval:
        return result
    rest = result.completion_tokens / times.speed if times.speed else whole - first
    return replace(result, prompt_eval=first, eval=min(rest, whole - first))
