"""One run of the simulated model: prefill, then tokens at a steady pace until something ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from axmock.console import Console, Progress
from axmock.crash import abort, segfault
from axmock.faults import ModelFaults
from axmock.kv_cache import Chunks, Fate, KvCache
from axmock.pace import Metronome, Pace
from axmock.reply import NONSENSE
from axmock.sampling import Sampling
from axmock.tokenizer_link import TokenizerLink

_GROUP = 3  # tokens per /decode
_DECODE_ALLOWANCE = 0.010  # seconds of a /decode that count as time of the three tokens

Callback = Callable[[str], None]


_USUAL_VOCABULARY = 32_000  # what --tokens_embed_num is when it is not given


class Model:
    """The simulated model; one thread at a time calls `prefill` and `run`, any calls `stop`."""

    def __init__(
        self,
        kv: KvCache,
        link: TokenizerLink,
        console: Console,
        *,
        pace: Pace,
        faults: ModelFaults,
        known_ids: int | None,
        sampling: Sampling,
    ) -> None:
        self.kv = kv
        self._link = link
        self._console = console
        self._pace = pace
        self._faults = faults
        self._known_ids = known_ids
        self._sampling = sampling
        self._stop = threading.Event()
        self._answers = 0

    def stop(self) -> None:
        """Ask the current run to end; the next run forgets it."""
        self._stop.set()

    def look_up(self, ids: list[int], line: int = 108) -> None:
        """Fetch embeddings; an id beyond the table is logged and yields what was there before."""
        for token in ids:
            if self._known_ids is not None and not 0 <= token < self._known_ids:
                message = f"index({token}) > token_num({self._known_ids})"
                self._console.error("getByIndex", line, message)

    def prefill(self, chunks: Chunks) -> None:
        """Run a system prompt through the card; a stop has no effect here."""
        self._need_all_layers()
        for size in chunks.sizes:
            self._console.info("GenerateKVCachePrefill", 367, f"input_num_token:{size}")
            time.sleep(self._pace.chunk(self.kv.shape.chunk))

    def run(
        self, new: int, fate: Fate, reply: Callable[[], list[int]], out: Callback | None
    ) -> str:
        """Prefill `new` tokens after the cached ones and answer; return the whole answer's text.

        `reply` returns the ids of the answer; `out` gets the text in groups of three tokens.
        Without `out` it draws a progress bar, as /api/chat does.
        """
        self._need_all_layers()
        self._stop.clear()
        self._answers += 1
        chunks = Chunks.of(new, self.kv.shape.chunk)
        summary = f"input token num : {new}, prefill_split_num : {len(chunks.sizes)}"
        self._console.info("Run", 855, summary)
        begun = time.monotonic()
        metronome = Metronome(self._stop, self.kv.shape.layers)
        planned = reply()
        if not self._prefill_turn(chunks, fate, metronome):
            planned = [NONSENSE]  # the head sees a zero or half-finished embedding
        progress = Progress(self._console.out, self.kv.shape.max_tokens, time.monotonic)
        self._fail_at(0)
        if (self._sampling.top_k or 0) > (self._known_ids or _USUAL_VOCABULARY):
            segfault()  # the scores are partly sorted up to it, however many there are (observed)
        first = planned[0] if planned else self._link.eos_id  # the first token never ends a run
        self._console.info("Run", 1016, f"ttft: {(time.monotonic() - begun) * 1000:.2f} ms")
        since = time.monotonic()
        ids = self._decode(
            first,
            iter(planned[1:]),
            self.kv.cached + new,
            metronome,
            out=out,
            progress=progress,
        )
        self._console.out.write("\n\n")
        self._console.out.flush()
        speed = len(ids) / max(time.monotonic() - since, 1e-9)
        self._console.notice("Run", 1168, f"hit eos,avg {speed:.2f} token/s\n")
        return self._link.decode(ids)

    def _prefill_turn(self, chunks: Chunks, fate: Fate, metronome: Metronome) -> bool:
        """Prefill a turn; return False when a stop cut it short."""
        for size in chunks.sizes:
            if self._stop.is_set():
                return False
            self._console.info("Run", 887, f"input_num_token:{size}")
            if fate is Fate.SEGFAULT:
                segfault()
            if fate is Fate.ABORT:
                abort("malloc(): corrupted top size")
            if not metronome.step(self._pace.chunk(self.kv.shape.chunk)):
                return False
        if fate is Fate.LATE_ABORT:
            abort("free(): invalid next size (normal)")
        return True

    def _decode(
        self,
        first: int,
        planned: Iterator[int],
        position: int,
        metronome: Metronome,
        *,
        out: Callback | None,
        progress: Progress,
    ) -> list[int]:
        """Sample tokens up to the end of the context and return all of them.

        Tokens left in `waiting` at a stop or at the limit are never streamed.
        """
        ids, waiting = [first], [first]
        self._fail_at(1)
        for at in range(position, self.kv.shape.max_tokens):
            if self._stop.is_set():
                break
            self.look_up(ids[-1:], line=89)
            lost = self._card_is_lost(len(ids))
            if not lost:
                metronome.step(self._pace.token())
            self.kv.decoded_at(at)
            token = ids[-1] if lost else next(planned, self._link.eos_id)
            if token == self._link.eos_id:
                if waiting and out:
                    self._send(waiting, out, metronome)
                break
            ids.append(token)
            if out is None:
                progress.update(at + 1, "token")
            else:
                waiting.append(token)
                if len(waiting) >= _GROUP:
                    self._send(waiting, out, metronome)
                    waiting = []
            self._fail_at(len(ids))
        return ids

    def _send(self, ids: list[int], out: Callback, metronome: Metronome) -> None:
        begun = time.monotonic()
        out(self._link.decode(ids))
        metronome.excuse(max(0.0, time.monotonic() - begun - _DECODE_ALLOWANCE))

    def _card_is_lost(self, sampled: int) -> bool:
        limit = self._faults.lose_card_after
        if limit is None or sampled < limit or self._spared:
            return False
        for _ in range(self.kv.shape.layers + 1):
            self._console.error("inference", 526, "AX_ENGINE_Execute")
        return True

    def _need_all_layers(self) -> None:
        if self._faults.layer_missing:
            abort("input tensor not found: K_cache")

    @property
    def _spared(self) -> bool:
        return self._answers <= self._faults.spared

    def _fail_at(self, sampled: int) -> None:
        """Crash or hang if that is due after `sampled` tokens."""
        if self._spared:
            return
        if sampled == self._faults.crash_after:
            segfault()
        if sampled == self._faults.hang_after:
            threading.Event().wait()
