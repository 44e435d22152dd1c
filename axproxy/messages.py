"""What every API means: the neutral request, and the neutral events that answer it.

Each API is a parser into these types and an encoder out of them; none knows another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.  `role` is lower case; `content` is plain text, maybe empty."""

    role: str
    content: str


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
    """

    messages: tuple[Message, ...]
    model: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    limits: Limits = field(default_factory=Limits)
    stream: bool = False
    raw: bool = False
    keep_alive: float | None = None
    template_variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Text:
    """A piece of the answer: whole characters, never half of one."""

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
    """The last event of every answer that was not cut short by an error."""

    reason: FinishReason
    usage: Usage


Event = Text | Finished
