"""A card in virtual time: the vendor's program and our tokenizer on one clock.

It guarantees what the vendor's program does and no more: jobs are queued and begin a little later,
`done` only means that nothing runs now, a stop has an effect only inside a run, text comes three
tokens at a time and is never cleared, and every run ends with one call that carries all its ids.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from axproxy.control_tokens import ControlToken
from axproxy.errors import RuntimeGone, RuntimeMisbehaved, TokenizerGone
from axproxy.prompts.tokenizer import TokenizerInfo
from axproxy.runtimes.main_api.client import Poll
from axproxy.runtimes.main_api.run_log import RunLog
from axproxy.tokenizer.client import Token, Trace
from axproxy.tokenizer.run_trace import RunTrace

CALL = 0.001  # seconds that one call takes
END = 7  # the id of the end-of-text token
HOLE = "\N{SKULL AND CROSSBONES}"


class LetterStream:
    """A text decoder for ids that are code points; -1 is half a character, completed by -2."""

    def feed(self, ids: Sequence[int]) -> list[str]:
        return ["" if id_ == -1 else "é" if id_ == -2 else chr(id_) for id_ in ids]

    def finish(self) -> str:
        return ""


def spell(text: str) -> list[int]:
    return [ord(letter) for letter in text]


@dataclass
class Times:
    """Durations in seconds; the defaults are those of a fast card."""

    pick_up: float = 0.002  # from the accepted call until the worker has the job
    encode: float = 0.003
    prefill: float = 0.05
    token: float = 0.02
    final: float = 0.004  # from the last token until idle


@dataclass
class Card:
    """A simulated card; each run gets the next of `answers`, later runs the last."""

    answers: list[list[int]] = field(default_factory=lambda: [spell("Hello")])
    times: Times = field(default_factory=Times)
    dies_at_token: int | None = None
    hangs_at_token: int | None = None
    traced: bool = True
    bad_polls: int = 0  # that fail while a job is worked on, and lose their text
    template: str | None = None
    log: RunLog | None = None
    now: float = 100.0

    def __post_init__(self) -> None:
        self.traces = True  # as our tokenizer's client reports
        self.trace_of_runs = RunTrace(LetterStream)
        self.epoch = "first"
        self.tokenizer_down = False
        self.alive = True
        self.running = False
        self.stop_asked = False
        self.queued: deque[tuple[str, str]] = deque()  # "reset" or "run", and with what text
        self.text = ""
        self.prompts: list[str] = []
        self.cache = ""  # the text that the model would continue
        self.seen: list[str] = []  # the text at the beginning of each answer
        self.stops_in_a_run = 0
        self.sampling: list[object] = []
        self._runs = 0
        self._steps: Iterator[float] | None = None
        self._due = 0.0

    # The clock.

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass, with everything that happens in it."""
        end = self.now + seconds
        while self.alive and (self._steps or self.queued):
            if self._steps is None:
                self._steps = self._work()
                self._due = self.now + self.times.pick_up
            if self._due > end:
                break
            self.now = max(self.now, self._due)
            pause = next(self._steps, None)
            if pause is None:
                self._steps = None
            else:
                self._due = self.now + pause
        self.now = max(self.now, end)

    # The worker: yields how long the next step takes.

    def _work(self) -> Iterator[float]:
        kind, text = self.queued.popleft()
        self.running = True
        if kind == "reset":
            if self.traced and not self.tokenizer_down:
                self.trace_of_runs.reset(len(text))
            self.cache = text
            yield self.times.encode
        else:
            yield from self._run(text)
        self.running = False

    def _run(self, prompt: str) -> Iterator[float]:
        yield self.times.encode
        self.stop_asked = False  # a stop from before the run is lost
        self.prompts.append(prompt)
        self.cache += prompt
        self.seen.append(self.cache)
        if self.traced:
            sha256 = hashlib.sha256(prompt.encode()).hexdigest()
            self.trace_of_runs.encoded(len(prompt), sha256)
        yield self.times.prefill
        answer = self.answers[min(self._runs, len(self.answers) - 1)]
        if self.traced and not answer:
            answer = [END]  # the first token is sampled even if it is the end
        self._runs += 1
        sampled: list[int] = []
        if self.stop_asked:
            sampled.append(ord("?"))  # one nonsense token, never streamed
        else:
            yield from self._sample(answer, sampled)
        yield self.times.final
        self._decode(sampled)
        if self.log:  # the last token is in the cache only after an end of its own
            cached = len(self.seen[-1]) + len(sampled) - self.stop_asked
            self.log.feed(f"[I][ GetKVCache][ 583]: precompute_len:{cached}, remaining:9")
        # After a stop the cache has gaps, or text of another conversation (observed).
        self.cache += HOLE if self.stop_asked else "".join(LetterStream().feed(sampled))

    def _sample(self, answer: Sequence[int], sampled: list[int]) -> Iterator[float]:
        group: list[int] = []
        for number, token in enumerate(answer):
            if number == self.dies_at_token:
                self.alive = False
                yield 1e9
            if number == self.hangs_at_token:
                yield 1e9
            sampled.append(token)
            group.append(token)
            if len(group) == 3:
                self.text += self._decode(group)
                group = []
            yield self.times.token
            if self.stop_asked:
                return
        if group:
            self.text += self._decode(group)

    def _decode(self, ids: Sequence[int]) -> str:
        if self.traced:
            return self.trace_of_runs.decoded(ids)
        return "".join(LetterStream().feed(ids))

    # The runtime client.

    def _call(self) -> None:
        self.advance(CALL)
        if not self.alive:
            raise RuntimeGone("refused")

    def reset(self, beginning: str = "", *, system: str = "") -> bool:
        return self._accept(("reset", beginning or system))

    def generate(self, prompt: str, sampling: object) -> bool:
        accepted = self._accept(("run", prompt))
        if accepted:
            self.sampling.append(sampling)
        return accepted

    def _accept(self, job: tuple[str, str]) -> bool:
        self._call()
        if self.running:
            return False
        self.queued.append(job)
        return True

    def poll(self) -> Poll:
        self._call()
        text, self.text = self.text, ""
        if self.bad_polls and self.running:
            self.bad_polls -= 1
            raise RuntimeMisbehaved("a poll was answered with status 500")
        return Poll(text, not self.running)

    def stop(self) -> None:
        self._call()
        self.stop_asked = True
        self.stops_in_a_run += self.running

    def close(self) -> None:
        """Do nothing; a client closes its connection after each answer."""

    # The tokenizer client: a token per letter, and a model without a template of its own.

    def info(self) -> TokenizerInfo:
        return TokenizerInfo(
            eos_id=END,
            eos_token="<|im_end|>",
            bos_id=-1,
            bos_token=None,
            chat_template=self.template,
            vocab_size=1_114_112,
            longest_token_bytes=4,
            control_tokens=(ControlToken(END, "<|im_end|>", special=True),),
            epoch=self.epoch,
        )

    def count(self, text: str) -> int:
        return len(text)

    def tokenize(self, text: str) -> tuple[int, ...]:
        return tuple(spell(text))

    def detokenize(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))

    def restart(self) -> None:
        """Start a new runtime process: its cache is empty, and it has asked for a reset."""
        self.alive, self.running, self.stop_asked = True, False, False
        self.queued.clear()
        self._steps, self.text, self.cache = None, "", ""
        self.trace_of_runs.reset()

    def restart_tokenizer(self) -> None:
        self.trace_of_runs = RunTrace(LetterStream)
        self.epoch += "+"

    def trace(self, after: int = 0, run: int = 0, have: int = 0, wait: float = 0.0) -> Trace:
        deadline = self.now + wait
        self.advance(CALL)
        if self.tokenizer_down or not self.traced:
            raise TokenizerGone("refused")
        seen = self.trace_of_runs.read(after=after, run=run, have=have, wait=0)
        while seen["version"] == after and self.now < deadline:
            self.advance(CALL)
            seen = self.trace_of_runs.read(after=after, run=run, have=have, wait=0)
        tokens = tuple(Token(*pair) for pair in seen.pop("tokens"))
        return Trace(epoch=self.epoch, tokens=tokens, **seen)

    @property
    def idle(self) -> bool:
        return not self.running and not self.queued and self._steps is None
