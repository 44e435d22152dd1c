"""Describes the dialects that answer a prompt, for the tests that all dialects must pass."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from axproxy.messages import FinishReason, ToolCall
from tests.support.fakes import QWEN
from tests.support.server_events import read_events

MODEL = QWEN.name
NDJSON, SSE = "application/x-ndjson", "text/event-stream"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
Envelope = Callable[[str, int], dict[str, Any]]


@dataclass
class Answer:
    """What a client reads from one reply.

    `reason` is the finish reason in the dialect's words, `None` unless the reply says that the
    answer is complete.  `usage` are the tokens of the prompt and of the answer.  `error` is the
    body of an error in mid-stream.
    """

    text: str = ""
    thinking: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    reason: str | None = None
    usage: tuple[int, int] | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class Dialect:
    """One route: how to send it a request, and how to read its replies.

    `body` is the smallest request, with the prompt "Hi".  The fields from `max_tokens` to `think`
    ask every dialect for the same thing; they are `None` where a dialect has no such field.
    """

    name: str
    path: str
    body: Mapping[str, Any]
    stream_type: str
    read_whole: Callable[[Any], Answer]
    read_stream: Callable[[bytes], Answer]
    envelope: Envelope
    reasons: Mapping[FinishReason | Literal["call"], str]
    call_at_limit: str  # the reason of an answer with a call that reaches its limit
    max_tokens: Mapping[str, Any]  # 5
    stop: Mapping[str, Any] | None  # "END"
    temperature: Mapping[str, Any]  # 0.25
    system: Mapping[str, Any] | None  # "Be brief.", before the "Hi" of the user
    tools: Mapping[str, Any] | None  # a function "weather" with PARAMETERS
    think: Mapping[str, Any] | None
    struct: str  # the name of the request's type in Ollama's source
    empty_body: str  # the error for a body of no bytes
    must_call: Mapping[str, Any] | None = None  # asks, beside `tools`, for an answer that calls one
    too_long: str = ""  # what follows Ollama's words about a prompt of 300 tokens where 200 fit
    streams_by_default: bool = False
    thinks_if_it_can: bool = False  # whether `think` is ignored for models without thinking
    ollama_words: bool = True  # whether errors have Ollama's messages and statuses

    def __str__(self) -> str:
        return self.name

    @property
    def upstream(self) -> str:
        """What the message of a transient error begins with, so that `ollama run` goes on."""
        return "upstream error: " if self.path.startswith("/api/") else ""

    def ask(self, client: FlaskClient, stream: bool = False, **fields: Any) -> TestResponse:
        body = {**self.body, "stream": stream, **fields}
        return client.post(self.path, json=body, buffered=True)

    def read(self, reply: TestResponse, stream: bool) -> Answer:
        assert reply.status_code == 200
        if stream:
            assert reply.content_type == self.stream_type
            return self.read_stream(reply.data)
        assert reply.content_type == "application/json; charset=utf-8"
        return self.read_whole(reply.get_json())

    def error_of(self, reply: TestResponse) -> str:
        """Return the message of an error reply; its body must be exactly the dialect's."""
        body = reply.get_json()
        if self.name == "anthropic messages":
            assert re.fullmatch("req_[0-9a-f]{24}", body.pop("request_id"))
        message = message_in(body)
        assert body == self.envelope(message, reply.status_code)
        return message


def message_in(error: Mapping[str, Any]) -> str:
    """Return the message in the body of an error."""
    inner = error["error"]
    message: str = inner["message"] if isinstance(inner, dict) else inner
    return message


def _lines(body: bytes) -> list[dict[str, Any]]:
    assert body.endswith(b"\n")
    return [json.loads(line) for line in body.splitlines()]


def _plain_error(message: str, _status: int) -> dict[str, Any]:
    return {"error": message}


# Our own API


def _native_whole(body: Any) -> Answer:
    usage = body["usage"]
    counts = usage["prompt_tokens"], usage["completion_tokens"]
    assert usage["total_tokens"] == sum(counts)
    return Answer(body["text"], reason=body["finish_reason"], usage=counts)


def _native_stream(body: bytes) -> Answer:
    *pieces, last = _lines(body)
    assert all(list(piece) == ["text"] for piece in pieces)
    text = "".join(piece["text"] for piece in pieces)
    if "error" in last:
        return Answer(text, error=last)
    if last.pop("done", False):
        end = _native_whole(last)
        assert end.text == ""
        return Answer(text, reason=end.reason, usage=end.usage)
    return Answer(text + last["text"])


# Ollama


def _ollama_part(line: Any, answer: Answer) -> None:
    said = line.get("message", line)
    if said is not line:
        assert said["role"] == "assistant"
    answer.text += said["content"] if said is not line else said["response"]
    answer.thinking += said.get("thinking", "")
    for call in said.get("tool_calls", ()):
        function = call["function"]
        assert function["index"] == len(answer.calls)
        answer.calls.append(ToolCall(function["name"], function["arguments"], call["id"]))
    assert line["model"] == MODEL
    if line["done"]:
        answer.reason = line["done_reason"]
        answer.usage = line["prompt_eval_count"], line["eval_count"]


def _ollama_whole(body: Any) -> Answer:
    answer = Answer()
    _ollama_part(body, answer)
    return answer


def _ollama_stream(body: bytes) -> Answer:
    answer = Answer()
    for line in _lines(body):
        assert answer.reason is None
        assert answer.error is None
        if "error" in line:
            answer.error = line
        else:
            _ollama_part(line, answer)
    return answer


# OpenAI


def _openai_error(message: str, status: int) -> dict[str, Any]:
    kind = {400: "invalid_request_error", 404: "not_found_error"}.get(status, "api_error")
    code = "context_length_exceeded" if "longer than the context length" in message else None
    code = {404: "model_not_found"}.get(status, code)
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _openai_calls(calls: Iterable[Any], at: int = 0) -> list[ToolCall]:
    found = []
    for index, call in enumerate(calls, start=at):
        assert (call["index"], call["type"]) == (index, "function")
        function = call["function"]
        found.append(ToolCall(function["name"], _arguments(function["arguments"]), call["id"]))
    return found


def _arguments(text: str) -> Any:
    """Return the arguments of a tool call, which must be compact JSON in a string."""
    arguments = json.loads(text)
    assert json.dumps(arguments, ensure_ascii=False, separators=(",", ":")) == text
    return arguments


def _openai_usage(usage: Any) -> tuple[int, int]:
    counts = usage["prompt_tokens"], usage["completion_tokens"]
    assert usage["total_tokens"] == sum(counts)
    return counts


def _chat_whole(body: Any) -> Answer:
    (choice,) = body["choices"]
    message = choice["message"]
    assert message.get("reasoning") == message.get("reasoning_content")
    return Answer(
        message["content"],
        message.get("reasoning", ""),
        _openai_calls(message.get("tool_calls", ())),
        choice["finish_reason"],
        _openai_usage(body["usage"]),
    )


def _completion_whole(body: Any) -> Answer:
    (choice,) = body["choices"]
    return Answer(
        choice["text"], reason=choice["finish_reason"], usage=_openai_usage(body["usage"])
    )


def openai_chunks(body: bytes) -> list[Any]:
    """Return the data of a stream of chunks; comments are left out, `[DONE]` stays text."""
    *events, nothing = body.decode().split("\n\n")
    assert nothing == ""
    data = [event.removeprefix("data: ") for event in events if not event.startswith(":")]
    return [text if text == "[DONE]" else json.loads(text) for text in data]


def _openai_stream(body: bytes) -> Answer:
    answer, first, done = Answer(), True, False
    reason = None
    for chunk in openai_chunks(body):
        assert not done
        if chunk == "[DONE]":
            done = True
        elif "error" in chunk:
            answer.error = chunk
        elif not chunk["choices"]:
            answer.usage = _openai_usage(chunk["usage"])
        else:
            (choice,) = chunk["choices"]
            assert reason is None
            reason = choice["finish_reason"]
            if "text" in choice:
                answer.text += choice["text"]
                continue
            delta = choice["delta"]
            assert ("role" in delta) == first
            first = False
            assert delta.get("reasoning") == delta.get("reasoning_content")
            answer.text += delta.get("content", "")
            answer.thinking += delta.get("reasoning", "")
            answer.calls += _openai_calls(delta.get("tool_calls", ()), at=len(answer.calls))
    # For clients an answer is complete when it has a finish reason and `[DONE]`.
    answer.reason = reason if done else None
    assert done or answer.error is None
    return answer


def _responses_whole(body: Any) -> Answer:
    answer = Answer()
    for item in body["output"]:
        match item:
            case {"type": "reasoning", "summary": [{"text": text}]}:
                answer.thinking += text
            case {"type": "message", "content": [{"type": "output_text", "text": text}]}:
                answer.text += text
            case {"type": "function_call"}:
                arguments = _arguments(item["arguments"])
                answer.calls.append(ToolCall(item["name"], arguments, item["call_id"]))
            case _:
                raise AssertionError(item)
    usage = body["usage"]
    answer.reason, answer.usage = body["status"], (usage["input_tokens"], usage["output_tokens"])
    assert usage["total_tokens"] == sum(answer.usage)
    return answer


def _responses_stream(body: bytes) -> Answer:
    answer = Answer()
    events = read_events(body)
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    for name, data in events:
        assert data["type"] == name
        assert answer.reason is None
        match name:
            case "response.output_text.delta":
                answer.text += data["delta"]
            case "response.reasoning_summary_text.delta":
                answer.thinking += data["delta"]
            case "response.output_item.done" if data["item"]["type"] == "function_call":
                call = data["item"]
                arguments = _arguments(call["arguments"])
                answer.calls.append(ToolCall(call["name"], arguments, call["call_id"]))
            case "response.completed" | "response.incomplete":
                assert name == f"response.{data['response']['status']}"
                whole = _responses_whole(data["response"])
                assert (answer.text, answer.thinking) == (whole.text, whole.thinking)
                assert answer.calls == whole.calls
                answer = whole
            case "error":
                failed = events[-2][1]["response"]
                assert failed["status"] == "failed"
                assert failed["error"]["message"] == data["message"]
                answer.error = {"error": data["error"]}
                assert data["message"] == message_in(answer.error)
    return answer


# Anthropic


def _anthropic_error(message: str, status: int) -> dict[str, Any]:
    kinds = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        503: "overloaded_error",
    }
    kind = kinds.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}}


def _anthropic_blocks(blocks: Iterable[Any]) -> Answer:
    answer = Answer()
    for block in blocks:
        match block:
            case {"type": "thinking", "thinking": text}:
                answer.thinking += text
            case {"type": "text", "text": text}:
                answer.text += text
            case {"type": "tool_use"}:
                answer.calls.append(ToolCall(block["name"], block["input"], block["id"]))
            case _:
                raise AssertionError(block)
    return answer


def _anthropic_usage(usage: Any) -> tuple[int, int]:
    return usage["input_tokens"], usage["output_tokens"]


def _anthropic_whole(body: Any) -> Answer:
    answer = _anthropic_blocks(body["content"])
    answer.reason, answer.usage = body["stop_reason"], _anthropic_usage(body["usage"])
    return answer


def _anthropic_stream(body: bytes) -> Answer:
    blocks: list[dict[str, Any]] = []
    reason = usage = error = None
    stopped = False
    for name, data in read_events(body):
        assert data["type"] == name
        assert not stopped
        assert error is None
        match data:
            case {"type": "content_block_start"}:
                assert data["index"] == len(blocks)
                blocks.append(dict(data["content_block"]))
            case {"type": "content_block_delta", "delta": {"type": "input_json_delta"} as delta}:
                blocks[-1]["input"] = _arguments(delta["partial_json"])
            case {"type": "content_block_delta", "delta": {"type": kind, **piece}}:
                ((part, text),) = piece.items()
                assert kind == f"{part}_delta"
                blocks[-1][part] += text
            case {"type": "message_delta"}:
                reason, usage = data["delta"]["stop_reason"], _anthropic_usage(data["usage"])
            case {"type": "message_stop"}:
                stopped = True
            case {"type": "error"}:
                error = data
    answer = _anthropic_blocks(blocks)
    answer.error = error
    if stopped:
        answer.reason, answer.usage = reason, usage
    return answer


_HI = [{"role": "user", "content": "Hi"}]
_BRIEF = [{"role": "system", "content": "Be brief."}, *_HI]
_FUNCTION = {"name": "weather", "parameters": PARAMETERS}
_OLLAMA_REASONS: Mapping[FinishReason | Literal["call"], str] = {
    "stop": "stop",
    "length": "length",
    "call": "stop",
}
_OPENAI_REASONS = {**_OLLAMA_REASONS, "call": "tool_calls"}

_OPENAI_TOO_LONG = (
    ". This model's maximum context length is 200 tokens. However, your messages resulted in 300 "
    "tokens."
)

NATIVE = Dialect(
    "native generate",
    "/generate",
    {"model": MODEL, "prompt": "Hi"},
    NDJSON,
    _native_whole,
    _native_stream,
    _plain_error,
    _OLLAMA_REASONS,
    call_at_limit="length",
    max_tokens={"max_tokens": 5},
    stop={"stop": "END"},
    temperature={"temperature": 0.25},
    system={"system": "Be brief."},
    tools=None,
    think=None,
    struct="",
    empty_body="prompt is required and must be a string that is not empty",
    ollama_words=False,
)
OLLAMA_GENERATE = Dialect(
    "ollama generate",
    "/api/generate",
    {"model": MODEL, "prompt": "Hi"},
    NDJSON,
    _ollama_whole,
    _ollama_stream,
    _plain_error,
    _OLLAMA_REASONS,
    call_at_limit="length",
    max_tokens={"options": {"num_predict": 5}},
    stop={"options": {"stop": ["END"]}},
    temperature={"options": {"temperature": 0.25}},
    system={"system": "Be brief."},
    tools=None,
    think={"think": True},
    struct="api.GenerateRequest",
    empty_body="missing request body",
    streams_by_default=True,
)
OLLAMA_CHAT = Dialect(
    "ollama chat",
    "/api/chat",
    {"model": MODEL, "messages": _HI},
    NDJSON,
    _ollama_whole,
    _ollama_stream,
    _plain_error,
    _OLLAMA_REASONS,
    call_at_limit="length",
    max_tokens={"options": {"num_predict": 5}},
    stop={"options": {"stop": ["END"]}},
    temperature={"options": {"temperature": 0.25}},
    system={"messages": _BRIEF},
    tools={"tools": [{"type": "function", "function": _FUNCTION}]},
    think={"think": True},
    struct="api.ChatRequest",
    empty_body="missing request body",
    streams_by_default=True,
)
OPENAI_CHAT = Dialect(
    "openai chat",
    "/v1/chat/completions",
    {"model": MODEL, "messages": _HI, "stream_options": {"include_usage": True}},
    SSE,
    _chat_whole,
    _openai_stream,
    _openai_error,
    _OPENAI_REASONS,
    call_at_limit="length",
    max_tokens={"max_tokens": 5},
    stop={"stop": "END"},
    temperature={"temperature": 0.25},
    system={"messages": _BRIEF},
    tools={"tools": [{"type": "function", "function": _FUNCTION}]},
    think={"reasoning_effort": "high"},
    struct="openai.ChatCompletionRequest",
    empty_body="EOF",
    must_call={"tool_choice": "required"},
    too_long=_OPENAI_TOO_LONG,
)
OPENAI_COMPLETIONS = Dialect(
    "openai completions",
    "/v1/completions",
    {"model": MODEL, "prompt": "Hi", "stream_options": {"include_usage": True}},
    SSE,
    _completion_whole,
    _openai_stream,
    _openai_error,
    _OPENAI_REASONS,
    call_at_limit="length",
    max_tokens={"max_tokens": 5},
    stop={"stop": "END"},
    temperature={"temperature": 0.25},
    system=None,
    tools=None,
    think=None,
    struct="openai.CompletionRequest",
    empty_body="EOF",
    too_long=_OPENAI_TOO_LONG,
)
OPENAI_RESPONSES = Dialect(
    "openai responses",
    "/v1/responses",
    {"model": MODEL, "input": "Hi"},
    SSE,
    _responses_whole,
    _responses_stream,
    _openai_error,
    {"stop": "completed", "length": "incomplete", "call": "completed"},
    call_at_limit="incomplete",
    max_tokens={"max_output_tokens": 5},
    stop=None,
    temperature={"temperature": 0.25},
    system={"instructions": "Be brief."},
    tools={"tools": [{"type": "function", **_FUNCTION}]},
    think={"reasoning": {"effort": "high"}},
    struct="openai.ResponsesRequest",
    empty_body="EOF",
    must_call={"tool_choice": "required"},
    too_long=_OPENAI_TOO_LONG,
)
ANTHROPIC_MESSAGES = Dialect(
    "anthropic messages",
    "/v1/messages",
    {"model": MODEL, "max_tokens": 9, "messages": _HI},
    SSE,
    _anthropic_whole,
    _anthropic_stream,
    _anthropic_error,
    {"stop": "end_turn", "length": "max_tokens", "call": "tool_use"},
    call_at_limit="tool_use",
    max_tokens={"max_tokens": 5},
    stop={"stop_sequences": ["END"]},
    temperature={"temperature": 0.25},
    system={"system": "Be brief."},
    tools={"tools": [{"name": "weather", "input_schema": PARAMETERS}]},
    think={"thinking": {"type": "enabled", "budget_tokens": 1024}},
    struct="anthropic.MessagesRequest",
    empty_body="EOF",
    must_call={"tool_choice": {"type": "any"}},
    too_long="; prompt is too long: 300 tokens > 200 maximum",
    thinks_if_it_can=True,
)
DIALECTS = [
    NATIVE,
    OLLAMA_GENERATE,
    OLLAMA_CHAT,
    OPENAI_CHAT,
    OPENAI_COMPLETIONS,
    OPENAI_RESPONSES,
    ANTHROPIC_MESSAGES,
]
