"""Ollama's replies: from events to bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from axproxy.errors import ProxyError
from axproxy.go_json import compact
from axproxy.messages import Event, Finished, Text, Usage
from axproxy.ollama_errors import cut_short

Clock = Callable[[], datetime]


def stamp(moment: datetime) -> str:
    """A time that every client can read: some need the fraction, others the zone."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class Replies:
    """The lines of one reply.  `model` is the name as the client wrote it; `now` tells the time,
    with a zone; `put` says in which key the text lies."""

    model: str
    now: Clock
    put: Callable[[str], Mapping[str, Any]]

    def line(self, event: Event) -> bytes:
        """One line of a stream."""
        if isinstance(event, Text):
            return self._object(event.text, done=False) + b"\n"
        return self.whole("", event) + b"\n"

    def whole(self, text: str, finished: Finished) -> bytes:
        """The whole answer as one object; with no text, the last line of a stream."""
        return self._object(
            text, done=True, done_reason=finished.reason, **statistics(finished.usage)
        )

    def loaded(self) -> bytes:
        """The answer to a request without a prompt, once the model is there."""
        return self._object("", done=True, done_reason="load")

    def unloading(self) -> bytes:
        """The answer to a request to free the card, which has not happened yet."""
        return self._object("", done=True, done_reason="unload")

    def failure(self, error: ProxyError) -> bytes:
        """The last line of a stream that an error cut short."""
        return compact({"error": cut_short(error).message}) + b"\n"

    def cut_short(self, error: ProxyError) -> ProxyError:
        return cut_short(error)

    def _object(self, text: str, **rest: Any) -> bytes:
        return compact(
            {"model": self.model, "created_at": stamp(self.now()), **self.put(text), **rest}
        )


def chat_replies(model: str, now: Clock) -> Replies:
    return Replies(model, now, lambda text: {"message": {"role": "assistant", "content": text}})


def generate_replies(model: str, now: Clock) -> Replies:
    return Replies(model, now, lambda text: {"response": text})


def statistics(usage: Usage) -> dict[str, int]:
    """Token counts, and times in whole nanoseconds, where the parts never exceed the total."""
    load, prompt_eval, eval_ = (
        round(seconds * 1e9) for seconds in (usage.load, usage.prompt_eval, usage.eval)
    )
    return {
        "total_duration": max(round(usage.total * 1e9), load + prompt_eval + eval_),
        "load_duration": load,
        "prompt_eval_count": usage.prompt_tokens,
        "prompt_eval_duration": prompt_eval,
        "eval_count": usage.completion_tokens,
        "eval_duration": eval_,
    }
