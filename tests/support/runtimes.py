"""Runtimes that are no vendor's program, and processes that are none: for what lies above them.

The two stand for the kinds that a real one can be: one that reads a prompt as text, token by
token, and one that reads messages and answers by itself.  Each keeps what it was given, notices a
second run at the same time, and answers with `reply`.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from axproxy.engine.protocol import Gone
from axproxy.engine.runtime import OnChange, RunResult
from axproxy.errors import ClientGone, PromptTooLong, ProxyError, Unloaded
from axproxy.health import CacheHealth, ChildHealth, RuntimeHealth
from axproxy.messages import ChatRequest, EmbedRequest, Message, Vectors
from axproxy.output.limits import AnswerLimits, Piece
from axproxy.output.reader import inside_thinking, thinking_closed
from axproxy.prompts.fitting import Prompt

WINDOW = 2559  # tokens; a token is a word here


class FakeSupervisor:
    """Processes that are always ready, but for being unloaded; the calls are kept."""

    owns_processes = True

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.loaded = True

    def start(self, on_change: OnChange) -> None:
        self.calls.append("start")
        on_change(None)

    def leave(self) -> None:
        self.calls.append("leave")

    def stop(self) -> None:
        self.calls.append("stop")

    def load(self) -> None:
        self.calls.append("load")
        self.loaded = True

    def unload(self) -> None:
        self.calls.append("unload")
        self.loaded = False

    def restart(self, reason: str, pid: int | None) -> bool:
        self.calls.append(f"restart {pid}: {reason}")
        return True

    def order_restart(self) -> None:
        self.calls.append("order_restart")

    def not_ready(self) -> ProxyError | None:
        return None if self.loaded else Unloaded("the model is not on the card yet")

    def until_ready(self, gone: Gone, hold: float = math.inf) -> Generator[None, None, None]:
        self.wait_ready(gone, hold)
        yield from ()

    def wait_ready(self, gone: Gone, hold: float = math.inf) -> None:
        if problem := self.not_ready():
            raise problem

    def interruption(self) -> ProxyError | None:
        return None

    def pid(self) -> int | None:
        return 4711 if self.loaded else None

    def why_gone(self, pid: int | None) -> str:
        return f"{pid} has died"

    def health(self) -> RuntimeHealth:
        status = "ok" if self.loaded else "unloaded"
        child = ChildHealth("ready" if self.loaded else "stopped", since=0.0, pid=self.pid())
        return RuntimeHealth(status=status, kind="mock", runtime=child, context_length=WINDOW)


@dataclass(frozen=True)
class PreparedText:
    request: ChatRequest
    text: str

    @property
    def inside_thinking(self) -> bool:
        return inside_thinking(self.text)

    @property
    def thinking_closed(self) -> bool:
        return thinking_closed(self.text)

    @property
    def prompt_tokens(self) -> int:
        return len(self.text.split())

    @property
    def prompt_text(self) -> str:
        return self.text


@dataclass(frozen=True)
class PreparedMessages:
    request: ChatRequest
    messages: Sequence[Message]
    inside_thinking: bool = False
    thinking_closed: bool = False

    @property
    def prompt_tokens(self) -> int:
        return len(self.prompt_text.split())

    @property
    def prompt_text(self) -> str:
        return " ".join(turn.content for turn in self.messages)


@dataclass
class _FakeRuntime:
    reply: str = "Hello"
    pause: float = 0.001  # seconds for a token
    prompts: list[str] = field(default_factory=list)
    running: bool = False

    def preload(self) -> None:
        """Nothing has to be read first."""

    def until_ready(self, _gone: Gone) -> Generator[None, None, None]:
        yield from ()

    def embed(self, request: EmbedRequest, _gone: Gone) -> tuple[Vectors, int]:
        words = sum(len(text.split()) for text in request.inputs)
        return tuple((float(len(text)), 1.0) for text in request.inputs), words

    def beginning(self, _request: ChatRequest) -> Prompt | None:
        return None

    def cached(self) -> str:
        return ""

    def saved_tokens(self, _prepared: object) -> int:
        return 0

    def warm(self, _beginning: Prompt) -> None:
        raise AssertionError("there is no beginning to keep warm")

    def cache_health(self) -> CacheHealth:
        return CacheHealth()

    def context_length(self) -> int | None:
        return WINDOW

    def _answered(
        self, request: ChatRequest, prompt: str, gone: Gone
    ) -> Generator[str, None, RunResult]:
        assert not self.running, "two runs at once mix their text"
        self.running = True
        self.prompts.append(prompt)
        started = time.monotonic()
        try:
            answer = AnswerLimits(request.limits, ())
            for letter in self.reply:
                if gone():
                    raise ClientGone
                time.sleep(self.pause)
                yield answer.feed([Piece(letter, ord(letter))])
                if answer.reason is not None:
                    break
            else:
                yield answer.run_ended()
            spent = time.monotonic() - started
            assert answer.reason
            return RunResult(answer.reason, len(prompt.split()), answer.tokens, 0.0, spent)
        finally:
            self.running = False


class TextRuntime(_FakeRuntime):
    """Reads one text, as a program does that the service renders prompts for."""

    def prepare(self, request: ChatRequest, gone: Gone, *, wait: bool) -> PreparedText:
        text = "\n".join(f"{turn.role}: {turn.content}" for turn in request.messages)
        _refuse_long(text)
        return PreparedText(request, text)

    def run(self, prepared: PreparedText, gone: Gone) -> Generator[str, None, RunResult]:
        return self._answered(prepared.request, prepared.text, gone)


class MessagesRuntime(_FakeRuntime):
    """Reads messages, as a program does that has the model's template itself."""

    def prepare(self, request: ChatRequest, gone: Gone, *, wait: bool) -> PreparedMessages:
        _refuse_long(" ".join(turn.content for turn in request.messages))
        return PreparedMessages(request, request.messages)

    def run(self, prepared: PreparedMessages, gone: Gone) -> Generator[str, None, RunResult]:
        said = " ".join(turn.content for turn in prepared.messages)
        return self._answered(prepared.request, said, gone)


def _refuse_long(text: str) -> None:
    if (tokens := len(text.split())) > WINDOW:
        raise PromptTooLong(f"the prompt is longer than {WINDOW} tokens", tokens, WINDOW)


class Clients:
    """Runs each of some calls on a thread of its own, and waits for all."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []

    def start(self, call: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=call))
        self._threads[-1].start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
