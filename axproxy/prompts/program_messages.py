"""Cuts a rendered prompt into the messages that a program with its own template reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from axproxy.errors import ClientError
from axproxy.messages import ChatRequest
from axproxy.prompts.chat_formats import ChatFormat


@dataclass(frozen=True)
class ProgramMessage:
    """One message as the program gets it: a role that it knows, and text."""

    role: str
    content: str

    def as_json(self) -> dict[str, Any]:
        return {"role": self.role, "content": self.content}


def refuse_unservable(request: ChatRequest) -> None:
    """Raise `ClientError` for what a program that reads only messages cannot do."""
    if request.raw:
        raise ClientError(
            "axllm applies the model's template itself; leave raw out, or send messages"
        )
    if request.context:
        raise ClientError("axllm reads messages, not tokens; leave context out and send messages")
    last = request.messages[-1]
    if last.role == "assistant" and not last.tool_calls and (last.content or last.thinking):
        raise ClientError(
            "axllm cannot go on with an answer that has begun; end the messages with a user's"
        )


def program_messages(prompt: str, form: ChatFormat) -> tuple[ProgramMessage, ...]:
    """Return the turns of a prompt that the format's template has made.

    Text of clients is escaped in it, so every mark of a turn is the template's own.  Raises
    `ClientError` where the prompt has none.
    """
    found = [(form.roles[match[1]], match[2]) for match in form.turn.finditer(prompt)]
    if not found:
        raise ClientError("there is no message for the model; send one")
    return tuple(ProgramMessage(role, content) for role, content in found)
