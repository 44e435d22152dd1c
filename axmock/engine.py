"""Everything behind the routes: the worker, the running flag, the text queue, the conversation.

The thread that starts a job sets the flag, not the thread that accepts it, and no lock guards it:
the vendor's time windows and races are part of the simulation.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable

from axmock.console import Console, c_string
from axmock.crash import CppException, segfault, terminate
from axmock.faults import EngineFaults
from axmock.kv_cache import Fate
from axmock.model import Model
from axmock.reply import ReplyScript
from axmock.tokenizer_link import TokenizerLink

CONTEXT_FULL = "error: SetKVCache failed: %d,the context may be full,please reset"


class Engine:
    """One conversation, one worker, one global queue of text that nothing ever clears."""

    def __init__(
        self,
        model: Model,
        link: TokenizerLink,
        console: Console,
        script: ReplyScript,
        *,
        faults: EngineFaults,
    ) -> None:
        self._model = model
        self._link = link
        self._console = console
        self._script = script
        self._faults = faults
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
        """Stop the current answer; has no effect unless the model is inside a run."""
        self._model.stop()

    def reset_later(self, system_prompt: str) -> None:
        """Queue a reset."""
        self._jobs.put(lambda: self._reset(system_prompt))

    def generate_later(self, prompt: str) -> None:
        """Queue an answer; its text goes to the queue that take_text() empties."""
        self._jobs.put(lambda: self.answer(prompt, self._stream))

    def take_text(self) -> tuple[str, bool]:
        """Remove and return all queued text, and whether nothing is running."""
        with self._texts_lock:
            texts = []
            while self._texts:
                texts.append(self._texts.popleft())
            return "".join(texts), not self.running

    def answer(self, prompt: str, out: Callable[[str], None] | None = None) -> str:
        """Answer one user turn on the calling thread; return "" when something else is running.

        Raises CppException when the tokenizer's reply lacks a key; the flag then stays set, which
        kills the worker and leaves /api/chat's process stuck for ever.
        """
        if self.running:
            return ""
        self.running = True
        new = self._link.encode(prompt, self._last_reply)
        if new is None:
            # The vendor's program ignores the return value: it checks the limits for no tokens at
            # all, then answers the previous prompt, which is still in memory, again.
            self._console.error("Encode", 820, "encode failed")
        else:
            self._model.look_up(new)
            self._embedded = (prompt, len(new))
        fate = self._admit(len(new or []))
        self._answers += 1
        faulty = self._answers > self._faults.spared
        if fate is None or (faulty and self._faults.full_context):
            self.running = False
            self._texts.append(CONTEXT_FULL)  # after the flag and without the lock
            return CONTEXT_FULL
        seen, tokens = self._embedded
        if new is None:
            fate = self._model.kv.fate_of_stale(tokens)
        self._last_reply = self._model.run(
            tokens, fate, lambda: self._script.tokens(seen, self._link.address), out
        )
        remaining = self._model.kv.settle()
        cached = self._model.kv.cached
        self._console.info("GetKVCache", 583, f"precompute_len:{cached}, remaining:{remaining}")
        self.running = faulty and self._faults.stick_running
        return self._last_reply

    def _reset(self, system_prompt: str) -> None:
        if self.running:
            return  # /api/chat came first: the reset, already answered with 200, is dropped
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
        """Check a turn and log the numbers; return None when it is refused."""
        admission = self._model.kv.admit(new)
        self._console.info(
            "SetKVCache",
            614,
            f"prefill_grpid:{admission.group_id} kv_cache_num:{admission.group_capacity}"
            f" precompute_len:{admission.cached} input_num_token:{admission.new}",
        )
        self._console.info("SetKVCache", 617, f"current prefill_max_token_num:{admission.room}")
        if admission.first_run:
            self._console.info("SetKVCache", 621, "first run")
        if admission.refusal is not None:
            line = 627 if admission.refusal.startswith("precompute_len") else 633
            self._console.error("SetKVCache", line, admission.refusal)
            return None
        return admission.fate

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
