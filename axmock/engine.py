"""Everything behind the routes: the worker, the running flag, the text queue, the conversation.

The flag is set by whoever starts a job, not when it is accepted, and nothing guards it: the
vendor's windows and races are part of what is simulated.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from axmock.console import Console, c_string
from axmock.crash import CppException, segfault, terminate
from axmock.kv_cache import Fate
from axmock.model import Model
from axmock.reply import Brain
from axmock.tokenizer_link import TokenizerLink

CONTEXT_FULL = "error: SetKVCache failed: %d,the context may be full,please reset"


@dataclass(frozen=True)
class Mischief:
    """What the engine does wrong with every answer but the first `spared` ones."""

    spared: int = 0
    stick_running: bool = False  # the flag stays set for ever
    full_context: bool = False  # the prompt is refused


class Engine:
    """One conversation, one worker, one global queue of text that nothing ever clears."""

    def __init__(
        self,
        model: Model,
        link: TokenizerLink,
        console: Console,
        brain: Brain,
        *,
        mischief: Mischief,
    ) -> None:
        self._model = model
        self._link = link
        self._console = console
        self._brain = brain
        self._mischief = mischief
        self._answers = 0
        self.running = False
        self._texts: deque[str] = deque()
        self._texts_lock = threading.Lock()  # guards _texts, except where the vendor forgot
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._system_ids: list[int] = []
        self._last_reply = ""
        self._embedded = ("", 0)  # the prompt whose embeddings are in memory, and its tokens

    def start(self) -> None:
        """Start the worker."""
        self._worker.start()

    def finish(self) -> None:
        """Wait until every accepted job has been carried out."""
        self._jobs.put(None)
        self._worker.join()

    def stop(self) -> None:
        """Stop the current answer; without effect unless the model is inside a run."""
        self._model.stop()

    def reset_later(self, system_prompt: str) -> None:
        """Queue a reset."""
        self._jobs.put(lambda: self._reset(system_prompt))

    def generate_later(self, prompt: str) -> None:
        """Queue an answer; its text goes to the queue that take_text() empties."""
        self._jobs.put(lambda: self.answer(prompt, self._stream))

    def take_text(self) -> tuple[str, bool]:
        """Take all the text there is, and whether nothing is running."""
        with self._texts_lock:
            texts = []
            while self._texts:
                texts.append(self._texts.popleft())
            return "".join(texts), not self.running

    def answer(self, prompt: str, out: Callable[[str], None] | None = None) -> str:
        """Answer one user turn on the calling thread; empty when something else is running.

        Raises CppException when the tokenizer's reply lacks a key; the flag then stays set, which
        kills the worker and leaves /api/chat's process stuck for ever.
        """
        if self.running:
            return ""
        self.running = True
        new = self._link.encode(prompt, self._last_reply)
        if new is None:
            # The return value is ignored: the limits are checked for no tokens at all, and then
            # the previous prompt, still in memory, is answered again.
            self._console.error("Encode", 820, "encode failed")
        else:
            self._model.look_up(new)
            self._embedded = (prompt, len(new))
        fate = self._admit(len(new or []))
        self._answers += 1
        naughty = self._answers > self._mischief.spared
        if fate is None or (naughty and self._mischief.full_context):
            self.running = False
            self._texts.append(CONTEXT_FULL)  # after the flag and without the lock
            return CONTEXT_FULL
        seen, tokens = self._embedded
        self._last_reply = self._model.run(
            tokens, fate, lambda: self._brain.tokens(seen, self._link.address), out
        )
        remaining = self._model.kv.settle()
        cached = self._model.kv.cached
        self._console.info("GetKVCache", 583, f"precompute_len:{cached}, remaining:{remaining}")
        self.running = naughty and self._mischief.stick_running
        return self._last_reply

    def _reset(self, system_prompt: str) -> None:
        if self.running:
            return  # /api/chat came first: the reset, long since answered with 200, is dropped
        self.running = True
        ids = self._link.reset(system_prompt)
        if ids is not None:
            self._system_ids = ids
        plan = self._model.kv.reset(len(self._system_ids))
        self._console.info(
            "GenerateKVCachePrefill",
            324,
            f"input token num : {plan.tokens}, prefill_split_num : {len(plan.chunks.sizes)}"
            f" prefill_grpid : {plan.group_id}",
        )
        if plan.tokens == 0:
            self._console.info("GenerateKVCachePrefill", 340, "input token num is 0, skip")
        self._model.look_up(self._system_ids)
        self._model.prefill(plan.chunks)
        if plan.fate is not Fate.LIVES:
            segfault()
        self.running = False

    def _admit(self, new: int) -> Fate | None:
        """Log the check of a turn; None when it is refused."""
        verdict = self._model.kv.admit(new)
        self._console.info(
            "SetKVCache",
            614,
            f"prefill_grpid:{verdict.group_id} kv_cache_num:{verdict.group_capacity}"
            f" precompute_len:{verdict.cached} input_num_token:{verdict.new}",
        )
        self._console.info("SetKVCache", 617, f"current prefill_max_token_num:{verdict.room}")
        if verdict.first_run:
            self._console.info("SetKVCache", 621, "first run")
        if verdict.refusal is not None:
            line = 627 if verdict.refusal.startswith("precompute_len") else 633
            self._console.error("SetKVCache", line, verdict.refusal)
            return None
        return verdict.fate

    def _stream(self, text: str) -> None:
        shown = c_string(text)
        self._console.out.write(shown)
        self._console.out.flush()
        with self._texts_lock:
            self._texts.append(shown)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except CppException as error:
                terminate(error)
