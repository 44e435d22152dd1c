"""What the runtime logs while it answers, told from the same words in prompts and answers.

Its log lines, the prompt and the streamed answer share one output (observed on the vendor's
binary), and anybody can type a log line.  But we know what was asked and what was answered: a line
is the program's own if it stands there more often than the texts explain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from axproxy.card.failure import DEAD_CARD
from axproxy.errors import CardFailed
from axproxy.process.ansi import plain

_FIRST_TOKEN = re.compile(r"\]: ttft: (\d{1,9}\.\d{1,6}) ms")
# Then it goes on with the prompt that it had before, whosever that was (observed on the binary).
_MISREAD = re.compile(r"\]: encode failed")
_SPEED = re.compile(r"\]: hit eos,avg (\d{1,9}\.\d{1,6}) token/s")


@dataclass(frozen=True)
class RunTimes:
    """What the program says of a run: the time to the first token in seconds, and tokens per second
    after it; `None` where it has not said so."""

    first_token: float | None = None
    speed: float | None = None


class RunLog:
    """Of one runtime process.  `feed` belongs to the thread that reads its output, everything else
    to the one whose turn it is."""

    def __init__(self) -> None:
        self.logged = 0  # signs of a dead card on the output so far, whoever wrote them
        self.trouble: str | None = None  # the sign that was proven to be the program's own
        self._sign = ""
        self._explained = 0  # of `logged`, by the texts of earlier runs
        self._prompt = ""
        self._texts: list[str] = []
        self._whole = True  # all that the latest run has printed is known
        self._running = False
        self._firsts: list[float] = []
        self._speeds: list[float] = []
        self._misreads = 0

    def feed(self, line: str) -> None:
        """One complete line; streamed text has no line ends, so anything may stand in mid-line."""
        said = plain(line)
        for sign in DEAD_CARD.finditer(said):
            self._sign = sign[0]
            self.logged += 1
        self._firsts += [float(found) / 1000 for found in _FIRST_TOKEN.findall(said)]
        self._speeds += [float(found) for found in _SPEED.findall(said)]
        self._misreads += len(_MISREAD.findall(said))

    def begin(self, prompt: str) -> None:
        """A run is about to be asked for; the program will print its prompt."""
        if not self._whole:  # some of what is there came from a text that nobody has seen
            self._explained = max(self._explained, self.logged)
        self._prompt = plain(prompt)
        self._texts = []
        self._running = True
        self._firsts, self._speeds, self._misreads = [], [], 0

    def sampled(self, text: str) -> None:
        """The program has sampled, and will print, this text."""
        if text:
            self._texts.append(text)

    def end(self, whole: bool) -> None:
        """The run is over; `whole` when all its text was heard."""
        if self._running:
            self._explained += self._count(DEAD_CARD)
            self._running, self._whole = False, whole

    def check(self, logged: int) -> None:
        """Raises `CardFailed` if `logged` signs prove it."""
        if self.proves(logged):
            raise CardFailed(
                f"the card failed while answering ({self.trouble}); the runtime is restarted, try "
                "again in a few minutes"
            )

    def proves(self, logged: int) -> bool:
        """Whether `logged` signs are more than the texts known by now explain; to be right, it must
        have been looked up before the latest of them was asked for.  Sets `trouble`."""
        if logged <= self._explained:
            return False
        if self._running and logged <= self._explained + self._count(DEAD_CARD):
            return False
        self.trouble = self._sign
        return True

    def proves_while_idle(self) -> bool:
        """The same between runs, when nothing else is printed."""
        logged = self.logged
        return not self._running and self._whole and self.proves(logged)

    def proves_alone(self) -> bool:
        """The same while nobody but us has ever asked anything: then every sign is its own."""
        self.trouble = self._sign if self.logged else None
        return self.trouble is not None

    def misread(self) -> bool:
        """Whether the tokenizer did not read the latest prompt to the program."""
        return self._misreads > 0 and self._misreads > self._count(_MISREAD)

    def times(self) -> RunTimes:
        """Of the latest run, as far as they have come.

        The first token's time is printed after the prompt and before the answer, the speed last.
        More speeds than the texts and one run explain are late ones of the run before; then nobody
        knows which is which.
        """
        firsts, speeds = self._firsts, self._speeds
        prompts = len(_FIRST_TOKEN.findall(self._prompt))
        fakes = self._count(_SPEED)
        return RunTimes(
            firsts[prompts] if len(firsts) > prompts else None,
            speeds[fakes] if len(speeds) == fakes + 1 else None,
        )

    def _count(self, pattern: re.Pattern[str]) -> int:
        texts = (self._prompt, plain("".join(self._texts)))
        return sum(len(pattern.findall(text)) for text in texts)
