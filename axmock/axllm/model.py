"""The model: runs that compute token by token, on one KV cache and without a lock.

Two runs at once share that cache, so each gets pieces of the other's text.  A run goes on to its
end whether its client is there or not.
"""

from __future__ import annotations

import hashlib
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from axmock.axllm.console import Console
from axmock.axllm.replies import Counts
from axmock.axllm.vocabulary import Vocabulary
from axmock.crash import segfault
from axmock.pace import Pace

CHUNK = 128  # tokens that are read at once
TOO_LONG = "输入 token 数量超过了模型的长度上限"  # "more tokens than the model's limit of length"
CARD_LINE = "AX_ENGINE_Execute failed, ret=0x80300102"


@dataclass(frozen=True)
class RunFaults:
    """What goes wrong in an answer, after so many tokens."""

    crash_after: int | None = None
    hang_after: int | None = None
    cut_after: int | None = None
    no_last_piece_after: int | None = None
    fail_after: int | None = None
    error_event: str | None = None


@dataclass(frozen=True)
class Ending:
    """How a run ends: `whole` with its counts, with an `error`, `cut` off, or without a sign."""

    counts: Counts = field(default_factory=Counts)
    whole: bool = False
    error: str | None = None
    cut: bool = False


@dataclass
class Run:
    """One run; `pieces` gets its texts and then its ending."""

    reply: list[int]
    pieces: queue.SimpleQueue[str | Ending] = field(default_factory=queue.SimpleQueue)
    listener_gone: bool = False


class Model:
    """Computes; `reply` makes an answer of the last question and the whole prompt."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        console: Console,
        reply: Callable[[str], str],
        *,
        pace: Pace,
        context: int,
        prefill_limit: int,
        old: bool,
        faults: RunFaults,
        spared: int = 0,
    ) -> None:
        self._vocabulary = vocabulary
        self._console = console
        self._reply = reply
        self._pace = pace
        self._context, self._prefill_limit = context, prefill_limit
        self._old = old
        self._faults, self._spared = faults, spared
        self._cache: list[int] = []
        self._running: list[Run] = []
        self.overlaps = 0  # runs that began while another one was going on
        self._lock = threading.Lock()  # guards the list above only: the program has none

    @property
    def busy(self) -> bool:
        return bool(self._running)

    def begin(self, prompt: str, question: str, limit: int, thinking: str) -> Run:
        """Start a run on a thread of its own."""
        run = Run(self._vocabulary.encode(self._answer(question, thinking)))
        with self._lock:
            if self._running:
                self.overlaps += 1
                self._console.log("WRN", "Run:1", "another run is going on in the same model")
            self._running.append(run)
            spared, self._spared = self._spared > 0, self._spared - 1
        faults = RunFaults() if spared else self._faults
        arguments = (run, prompt, limit, faults)
        threading.Thread(target=self._compute, args=arguments, daemon=True).start()
        return run

    def embed(self, text: str, size: int) -> list[float]:
        """Return numbers that depend on the text only; their length is not 1."""
        tokens = self._vocabulary.encode(text)
        time.sleep(self._pace.chunk(math.ceil(len(tokens) / CHUNK) * CHUNK))
        seed = hashlib.sha256(text.encode()).digest()
        return [(seed[at % 32] - 127.5) * (1 + at % 7) / 64 for at in range(size)]

    def count(self, text: str) -> int:
        return len(self._vocabulary.encode(text))

    def _answer(self, question: str, thinking: str) -> str:
        text = self._reply(question)
        if thinking != "no_think" and text.startswith("I am a simulated model"):
            text = f"<think>\nI only repeat the question.\n</think>\n\n{text}"
        if thinking == "think" and not text.startswith("<think>"):
            text = f"<think>\n{text}"
        if thinking == "think" and "</think>" not in text:
            text += "\n</think>"
        return text

    def _compute(self, run: Run, prompt: str, limit: int, faults: RunFaults) -> None:
        try:
            run.pieces.put(self._ending(run, prompt, limit, faults))
        finally:
            with self._lock:
                self._running.remove(run)

    def _ending(self, run: Run, prompt: str, limit: int, faults: RunFaults) -> Ending:
        tokens = self._vocabulary.encode(prompt)
        if len(tokens) > self._prefill_limit:
            self._cache = []
            return Ending() if self._old else Ending(error=TOO_LONG)
        if faults.error_event is not None:
            self._cache = []
            return Ending(error=faults.error_event)
        begun = time.monotonic()
        self._prefill(tokens)
        first_ms = (time.monotonic() - begun) * 1000
        self._console.log("INF", "Run:900", f"ttft: {first_ms:.2f} ms")
        room = max(self._context - len(tokens), 0)
        most = min(limit, room) if limit > 0 else room
        made, ending = self._decode(run, most, faults)
        if ending:
            return ending
        spent = max(time.monotonic() - begun - first_ms / 1000, 1e-6)
        speed = made / spent
        self._console.plain("")
        word = "avg" if self._old else "decode avg"
        self._console.log("NTC", "Run:1200", f"hit eos,{word} {speed:.2f} token/s")
        self._cache = tokens + run.reply[:made]
        left = self._prefill_limit - len(self._cache)
        self._console.log(
            "INF",
            "GetKVCache:420",
            f"precompute_len:{len(self._cache)}, remaining:{left}",
        )
        counts = Counts(
            len(tokens), made, first_ms, speed, len(tokens) / max(first_ms / 1000, 1e-6)
        )
        return Ending(counts, whole=made > 0)

    def _prefill(self, tokens: Sequence[int]) -> None:
        pairs = zip(self._cache, tokens, strict=False)
        reused = next(
            (at for at, (old, new) in enumerate(pairs) if old != new),
            min(len(self._cache), len(tokens)),
        )
        new = len(tokens) - reused
        self._console.log(
            "INF",
            "SetKVCache:406",
            f"prefill_grpid:2 kv_cache_num:256 precompute_len:{reused} input_num_token:{new}",
        )
        self._console.log(
            "INF", "SetKVCache:408", f"current prefill_max_token_num:{self._prefill_limit}"
        )
        chunks = max(math.ceil(new / CHUNK), 1)
        self._console.log(
            "INF", "Run:880", f"input token num : {new}, prefill_split_num : {chunks}"
        )
        time.sleep(self._pace.chunk(chunks * CHUNK))

    def _decode(self, run: Run, most: int, faults: RunFaults) -> tuple[int, Ending | None]:
        waiting = b""
        due = time.monotonic()
        made = 0
        for token in run.reply[:most]:
            due += self._pace.token()
            time.sleep(max(due - time.monotonic(), 0))
            if ending := self._fault(made, faults):
                return made, ending
            made += 1
            waiting += self._vocabulary.bytes_of(self._mixed(run, token, made))
            text = whole_characters(waiting)
            waiting = waiting[len(text.encode()) :]
            if text:
                self._console.text(text)
                if run.listener_gone:
                    self._console.log("WRN", "operator():1", "provider not writable")
                run.pieces.put(text)
        if waiting:
            run.pieces.put(waiting.decode(errors="replace"))
        return made, self._fault(made, faults)

    def _mixed(self, run: Run, token: int, made: int) -> int:
        """Return the other run's token where two compute in one cache, in turn."""
        with self._lock:
            others = [other for other in self._running if other is not run]
        if others and made % 2 and others[0].reply:
            return others[0].reply[made % len(others[0].reply)]
        return token

    def _fault(self, made: int, faults: RunFaults) -> Ending | None:
        if made == faults.crash_after:
            segfault()
        if made == faults.hang_after:
            threading.Event().wait()
        if made == faults.cut_after:
            return Ending(cut=True)
        if made == faults.no_last_piece_after:
            return Ending()
        if made == faults.fail_after:
            self._console.plain("")
            self._console.log("ERR", "Run:1001", CARD_LINE)
            return Ending(Counts(1, made), whole=made > 0)
        return None


def whole_characters(data: bytes) -> str:
    """Return the text of the whole characters at the beginning of `data`."""
    for cut in range(min(4, len(data) + 1)):
        try:
            return data[: len(data) - cut].decode()
        except UnicodeDecodeError:
            continue
    return data.decode(errors="replace")
