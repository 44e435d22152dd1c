"""What every API means: the neutral request, and the neutral events that answer it.

Each API is a parser into these types and an encoder out of them; none knows another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class ToolCall:
    """A tool that the model wants to be called: an event of an answer, or a part of its history.

    `id` links the call to its result; empty where a client has not kept it.
    """

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.  `role` is lower case; `content` is plain text, maybe empty.

    The assistant's turns may have `thinking` and `tool_calls`; a tool's result may name its tool
    and the call that it answers, and where it does neither, order links the two.
    """

    role: str
    content: str
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; `None` leaves it to the service's default."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repeat_penalty: float | None = None


@dataclass(frozen=True)
class Limits:
    """When an answer ends: after `max_tokens` tokens (`None`: at the end of the window), or before
    the first of `stop` appears in the text."""

    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChatRequest:
    """One stateless request.

    `messages` are rendered through the model's chat template; with `raw` there is exactly one
    message and its content goes to the model untouched (control tokens in it stay text).
    `model` is the name as the client wrote it, empty when it named none.  `keep_alive` is how many
    seconds the model shall stay loaded after the answer; `None` leaves that as it is.

    `context` are tokens of an earlier answer, with the prompt that led to it, which come before the
    messages; `wants_context` asks for those of this one.

    `tools` are the functions on offer, each as JSON describes it: `{"type": "function",
    "function": {"name": …}}`.  `think` says whether the model shall reason before it answers
    (`None`: if it can).  `format` is `"json"`, or the JSON schema that the answer must follow.
    """

    messages: tuple[Message, ...]
    model: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    limits: Limits = field(default_factory=Limits)
    stream: bool = False
    raw: bool = False
    context: tuple[int, ...] = ()
    wants_context: bool = False
    keep_alive: float | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    think: bool | None = None
    format: Literal["json"] | Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Text:
    """A piece of the answer: whole characters, never half of one."""

    text: str


@dataclass(frozen=True)
class Thinking:
    """A piece of the reasoning that comes before the answer."""

    text: str


@dataclass(frozen=True)
class Usage:
    """Exact token counts, and where the time went, in seconds.

    `total` covers everything since the request was parsed; `load` is the wait for the model and
    the turn; `prompt_eval` runs until the first token; `eval` from the first token to the last.
    """

    prompt_tokens: int
    completion_tokens: int
    total: float
    load: float
    prompt_eval: float
    eval: float


@dataclass(frozen=True)
class Finished:
    """The last event of every answer that was not cut short by an error.  `context` are the tokens
    of prompt and answer, where the request wanted them."""

    reason: FinishReason
    usage: Usage
    context: tuple[int, ...] = ()


Event = Text | Thinking | ToolCall | Finished


@dataclass(frozen=True)
class Reply:
    """A whole answer, put together from its events."""

    text: str
    thinking: str
    tool_calls: tuple[ToolCall, ...]
    finished: Finished
