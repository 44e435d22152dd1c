"""The request that every API is parsed into, and the events of an answer.

Each API parses into these types and encodes from them; none of them knows another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SMALLEST_VOCABULARY = 32_000  # tokens; no published model for these cards knows fewer

FinishReason = Literal["stop", "length"]

# What may go where a conversation is longer than the window: nothing, its oldest turns, or also the
# middle of the texts that are left.
Truncation = Literal["nothing", "turns", "text"]


@dataclass(frozen=True)
class ToolCall:
    """A call that the model makes: an event of an answer, or a part of an earlier turn.

    `id` links the call to its result; empty where a client has dropped it.
    """

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


PictureKind = Literal["png", "jpeg", "webp", "gif", "bmp"]


@dataclass(frozen=True)
class Picture:
    """A picture that a client has sent, as its file; `kind` is what its bytes are.

    `width` and `height` are in pixels.
    """

    kind: PictureKind
    data: bytes = field(repr=False)
    width: int
    height: int


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.  `role` is lower case; `content` is plain text, maybe empty.

    A user's turn may have `pictures`, which come before its text.

    The assistant's turns may have `thinking` and `tool_calls`.  A tool's result may name its tool
    and the id of its call; without them, results belong to calls by order.
    """

    role: str
    content: str
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; `None` is the service's default.

    Only PyAXEngine honours `min_p` and `seed`; the vendor's programs have neither.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repeat_penalty: float | None = None
    min_p: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Limits:
    """Where an answer ends: after `max_tokens`, or before the first of the `stop` strings.

    With `max_tokens` `None` it may go on to the end of the window.
    """

    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


_LARGE_SCHEMA = 16 * 1024  # characters as JSON; as Python objects up to thirty times as much


class PackedSchema(Mapping[str, Any]):
    """A large JSON schema, kept as text while its request waits and read each time it is used."""

    def __init__(self, text: str) -> None:
        self.text = text

    def unpacked(self) -> dict[str, Any]:
        schema: dict[str, Any] = json.loads(self.text)
        return schema

    def __getitem__(self, key: str) -> Any:
        return self.unpacked()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.unpacked())

    def __len__(self) -> int:
        return len(self.unpacked())

    def __eq__(self, other: object) -> bool:
        return self.unpacked() == (other.unpacked() if isinstance(other, PackedSchema) else other)

    __hash__ = None  # type: ignore[assignment]  # as a dictionary


def packed(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema as text if it is large, else as it is."""
    if isinstance(schema, PackedSchema):
        return schema
    try:
        text = json.dumps(schema, ensure_ascii=False)
    except RecursionError:
        return schema
    return PackedSchema(text) if len(text) > _LARGE_SCHEMA else schema


@dataclass(frozen=True)
class ChatRequest:
    """One stateless request.

    `messages` are rendered with the model's chat template.  With `raw` there is exactly one
    message, whose content is the prompt as it is (control tokens in it stay text).
    `requested_name` is the model's name as the client wrote it, empty where the client gave none.
    `keep_alive` is the number of seconds that the model stays loaded after the answer; `None`
    leaves the present value.

    `client` tells clients apart, each of which may rely on thinking that only it was sent; empty
    where that is not known.  `address` is where the request came from, which no client can invent;
    the places in the queue are shared out by it.

    `context` are the tokens of an earlier prompt and its answer, which come before the messages;
    `wants_context` asks for the tokens of this prompt and answer.

    `tools` are the functions on offer, in their JSON form: `{"type": "function",
    "function": {"name": …}}`; with `must_call` the answer must call one of them.  `think` says
    whether the model shall think before it answers (`None`: if it can).  `format` is `"json"`, or
    the JSON schema that the answer must follow.

    `truncate` says what may go where the conversation is longer than the window.  A request that is
    still too long is refused.
    """

    messages: tuple[Message, ...]
    requested_name: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    limits: Limits = field(default_factory=Limits)
    stream: bool = False
    raw: bool = False
    client: str = field(default="", compare=False)  # who asks is no part of what is asked
    address: str = field(default="", compare=False)
    context: tuple[int, ...] = ()
    wants_context: bool = False
    keep_alive: float | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    must_call: bool = False
    think: bool | None = None
    format: Literal["json"] | Mapping[str, Any] | None = None
    truncate: Truncation = "turns"


@dataclass(frozen=True)
class EmbedRequest:
    """Texts to be turned into vectors.

    Texts that are longer than the model's window are cut where `truncate` is true, and refused
    where it is not.  `keep_alive` and `address` are as in `ChatRequest`.
    """

    inputs: tuple[str, ...]
    truncate: bool = True
    keep_alive: float | None = None
    address: str = field(default="", compare=False)


Vectors = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Embeddings:
    """One vector for each text, the tokens of all texts, and times in seconds as in `Usage`."""

    vectors: Vectors
    prompt_tokens: int
    total: float
    load: float


@dataclass(frozen=True)
class QueuePlace:
    """Where a request waits, 1 is the next one; and the expected `seconds`, None if unknown."""

    position: int
    seconds: float | None = None


@dataclass(frozen=True)
class Text:
    """A piece of the answer: whole characters, never half of one.

    An empty one is a sign of life; in the queue `place` looks up where the request waits.
    """

    text: str
    place: Callable[[], QueuePlace] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Thinking:
    """A piece of the thinking that comes before the answer."""

    text: str


@dataclass(frozen=True)
class Usage:
    """Exact token counts, and durations in seconds.

    `total` begins when the request was parsed.  `load` is the wait for the model and in the queue,
    `prompt_eval` the time until the first token, `eval` the time from the first token to the last.
    """

    prompt_tokens: int
    completion_tokens: int
    total: float
    load: float
    prompt_eval: float
    eval: float


@dataclass(frozen=True)
class Finished:
    """The last event of every answer that no error has ended.

    `context` are the tokens of prompt and answer, where the request wanted them.  `calls_tools`
    says that the client is likely to send the results of calls at once.
    """

    reason: FinishReason
    usage: Usage
    context: tuple[int, ...] = ()
    calls_tools: bool = field(default=False, compare=False, repr=False)


Event = Text | Thinking | ToolCall | Finished


@dataclass(frozen=True)
class WholeReply:
    """A whole answer, made of its events."""

    text: str
    thinking: str
    tool_calls: tuple[ToolCall, ...]
    finished: Finished
