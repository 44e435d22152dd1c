"""Checks in every dialect how answers and errors are sent, and that answers are closed."""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from axproxy.api.dialects import DIALECTS as ALL_DIALECTS
from axproxy.api.dialects import dialect_of
from axproxy.errors import (
    Busy,
    ClientError,
    ClientGone,
    GaveUp,
    PromptTooLong,
    ProxyError,
    RuntimeGone,
    RuntimeStalled,
    Starting,
    TokenizerGone,
)
from axproxy.messages import Finished, FinishReason, Text, Thinking, ToolCall
from tests.support.dialects import DIALECTS, NDJSON, Dialect, message_in
from tests.support.fakes import HELLO, QWEN, USAGE, FakeEngine, FakeModels, Step

OSLO = ToolCall("weather", {"city": "Oslo"}, "call_abcd1234")
ZURICH = ToolCall("weather", {"city": "Zürich"}, "call_efgh5678")
END = Finished("stop", USAGE)
COUNTS = (USAGE.prompt_tokens, USAGE.completion_tokens)
INTERNAL = "internal error; see the service's log"

both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


def only(wanted: Callable[[Dialect], Any]) -> pytest.MarkDecorator:
    """Run a test for the dialects that satisfy `wanted`."""
    chosen = [dialect for dialect in DIALECTS if wanted(dialect)]
    return pytest.mark.parametrize("dialect", chosen, ids=str)


with_tools = only(lambda dialect: dialect.tools)
with_thinking = only(lambda dialect: dialect.think)


@pytest.fixture(params=DIALECTS, ids=str)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    dialect: Dialect = request.param
    return dialect


@pytest.fixture
def models() -> FakeModels:
    return FakeModels(replace(QWEN, capabilities=("completion", "tools", "thinking")))


def environ(dialect: Dialect) -> dict[str, Any]:
    """Return the WSGI environment of a request that wants a stream."""
    body = {**dialect.body, "stream": True}
    return EnvironBuilder(dialect.path, method="POST", json=body).get_environ()


def pieces_of(app: Flask, dialect: Dialect) -> tuple[list[bytes], str, Headers]:
    """Return the pieces of a stream as the server gets them, its status and its headers."""
    pieces, status, headers = run_wsgi_app(app.wsgi_app, environ(dialect), buffered=True)
    return list(pieces), status, headers


def closed(engine: FakeEngine) -> bool:
    (answer,) = engine.answers
    return answer.closed > 0


@both_ways
def test_an_answer_has_text_a_finish_reason_and_usage(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect, stream: bool
) -> None:
    answer = dialect.read(dialect.ask(client, stream), stream)

    assert answer.text == "Hello"
    assert (answer.thinking, answer.calls, answer.error) == ("", [], None)
    assert answer.reason == dialect.reasons["stop"]
    assert answer.usage == COUNTS
    assert engine.history[0].stream == stream
    assert closed(engine)


@pytest.mark.parametrize("missing", [True, False], ids=["absent", "null"])
def test_a_request_that_does_not_set_stream_gets_the_dialects_default(
    client: FlaskClient, dialect: Dialect, missing: bool
) -> None:
    body = dict(dialect.body) if missing else {**dialect.body, "stream": None}
    reply = client.post(dialect.path, json=body)

    assert dialect.read(reply, dialect.streams_by_default).text == "Hello"


def test_each_event_is_one_piece_on_the_wire(app: Flask, dialect: Dialect) -> None:
    pieces, status, headers = pieces_of(app, dialect)

    assert status == "200 OK"
    assert headers["Content-Type"] == dialect.stream_type
    assert len(pieces) == len(HELLO)
    assert all(piece.endswith(b"\n") for piece in pieces)
    if dialect.stream_type == NDJSON:
        assert [piece.count(b"\n") for piece in pieces] == [1] * len(HELLO)


def test_a_heartbeat_is_sent_and_adds_nothing_to_the_answer(
    app: Flask, engine: FakeEngine, dialect: Dialect
) -> None:
    engine.script = (Text(""), *HELLO)
    pieces = pieces_of(app, dialect)[0]

    if dialect.stream_type == NDJSON:
        assert pieces[0] == b" "
    else:
        assert pieces[0] == b": still working\n\n"
    answer = dialect.read_stream(b"".join(pieces))
    assert (answer.text, answer.reason) == ("Hello", dialect.reasons["stop"])


@both_ways
def test_an_empty_answer_is_complete(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect, stream: bool
) -> None:
    engine.script = (END,)
    answer = dialect.read(dialect.ask(client, stream), stream)

    assert (answer.text, answer.thinking, answer.calls) == ("", "", [])
    assert answer.reason == dialect.reasons["stop"]


@both_ways
@pytest.mark.parametrize("text", ["Grüße, 世界 🙂", 'a"b\\c\n\n</s>data: [DONE]\n\n', "\0\u2028"])
def test_every_character_arrives(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect, text: str, stream: bool
) -> None:
    engine.script = (Text(text), Text(text), END)

    assert dialect.read(dialect.ask(client, stream), stream).text == text * 2


@both_ways
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_the_finish_reason_says_whether_the_limit_was_reached(
    client: FlaskClient,
    engine: FakeEngine,
    dialect: Dialect,
    reason: FinishReason,
    stream: bool,
) -> None:
    engine.script = (Text("Hel"), Finished(reason, USAGE))

    answer = dialect.read(dialect.ask(client, stream), stream)
    assert answer.reason == dialect.reasons[reason]


@both_ways
@with_thinking
def test_thinking_is_separate_from_the_text(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect, stream: bool
) -> None:
    engine.script = (Thinking("Ne"), Thinking("ed"), Text("Wa"), Text("it."), END)
    reply = dialect.ask(client, stream, **dialect.think or {})

    answer = dialect.read(reply, stream)
    assert (answer.thinking, answer.text) == ("Need", "Wait.")
    assert answer.reason == dialect.reasons["stop"]
    assert engine.history[0].think is True


@both_ways
@with_tools
def test_tool_calls_have_ids_and_arguments(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect, stream: bool
) -> None:
    nothing = replace(OSLO, id="c", arguments={})
    engine.script = (Thinking("Need"), Text("Wait."), OSLO, ZURICH, nothing, END)
    answer = dialect.read(dialect.ask(client, stream, **dialect.tools or {}), stream)

    assert answer.calls == [OSLO, ZURICH, nothing]
    assert (answer.thinking, answer.text) == ("Need", "Wait.")
    assert answer.reason == dialect.reasons["call"]
    assert answer.usage == COUNTS


@both_ways
@with_tools
def test_an_answer_may_be_a_tool_call_only(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect, stream: bool
) -> None:
    engine.script = (OSLO, END)
    answer = dialect.read(dialect.ask(client, stream, **dialect.tools or {}), stream)

    assert (answer.text, answer.thinking, answer.calls) == ("", "", [OSLO])


@both_ways
@with_tools
def test_the_finish_reason_of_a_tool_call_that_reached_the_limit(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect, stream: bool
) -> None:
    engine.script = (OSLO, Finished("length", USAGE))
    answer = dialect.read(dialect.ask(client, stream, **dialect.tools or {}), stream)

    assert answer.reason == dialect.call_at_limit


# Errors

QUEUE_FULL = "server busy, please try again.  maximum pending requests exceeded"
TOO_LONG = (
    "the prompt is longer than the context length currently available to the model; shorten the "
    "prompt, adjust the context length in settings, or use a model with a longer context length"
)
RUNNER_STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal "
    "error, check ollama server logs for details: it died"
)
MID_ANSWER = "an error was encountered while running the model: it died"
LOADING = "the model is being loaded"

# Error, status, Retry-After; then Ollama's message and status where they differ.
ERRORS: list[tuple[ProxyError, int, str | None, str | None, int | None]] = [
    (Busy("full", retry_after=7), 503, "7", QUEUE_FULL, None),
    (PromptTooLong("too long"), 400, None, TOO_LONG, None),
    (Starting(LOADING), 503, "5", None, None),
    (GaveUp("ask an operator"), 503, None, None, None),
    (ClientError("the template refuses"), 400, None, None, None),
    (ClientError("too much", status=413), 413, None, None, None),
    (ProxyError("slow down", status=429), 429, None, None, None),
    (RuntimeGone("it died"), 502, None, RUNNER_STOPPED, 500),
    (RuntimeStalled("it died"), 504, None, RUNNER_STOPPED, 500),
    (TokenizerGone("in a moment"), 503, "2", None, None),
]


@both_ways
@pytest.mark.parametrize(
    ("error", "status", "retry_after", "words", "ollama_status"),
    ERRORS,
    ids=[f"{type(error).__name__} {status}" for error, status, *_ in ERRORS],
)
def test_an_error_before_the_first_event_has_a_status_and_a_retry_after(
    client: FlaskClient,
    engine: FakeEngine,
    dialect: Dialect,
    error: ProxyError,
    status: int,
    retry_after: str | None,
    words: str | None,
    ollama_status: int | None,
    stream: bool,
) -> None:
    if dialect.ollama_words:
        status = ollama_status or status
    expected = (words if dialect.ollama_words else None) or error.message
    if error.transient:
        expected = dialect.upstream + expected
    nothing: tuple[Step, ...] = ()
    for refusal, script in ((error, nothing), (None, (error,))):
        engine.refusal, engine.script = refusal, script
        reply = dialect.ask(client, stream)

        assert (reply.status_code, reply.headers.get("Retry-After")) == (status, retry_after)
        assert dialect.error_of(reply) == expected
    assert closed(engine)


@both_ways
@pytest.mark.parametrize("begun", [True, False], ids=["after a sign of life", "at once"])
def test_a_prompt_that_is_too_long_is_told_with_the_dialects_own_code_and_numbers(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect, begun: bool, stream: bool
) -> None:
    ours = "the prompt has at least 300 tokens and this model reads at most 200"
    engine.script = (*((Text(""),) if begun else ()), PromptTooLong(ours, 300, 200))
    reply = dialect.ask(client, stream)

    words = TOO_LONG + dialect.too_long if dialect.ollama_words else ours
    if reply.status_code == 200:
        assert (stream, begun) == (True, True)
        assert dialect.read(reply, stream).error == dialect.envelope(words, 400)
    else:
        assert (reply.status_code, dialect.error_of(reply)) == (400, words)


def test_an_error_in_mid_stream_is_the_last_thing_sent(
    app: Flask, engine: FakeEngine, dialect: Dialect
) -> None:
    engine.script = (Text("Hel"), RuntimeGone("it died"))
    pieces, status, _ = pieces_of(app, dialect)
    answer = dialect.read_stream(b"".join(pieces))

    assert status == "200 OK"
    assert (answer.text, answer.reason) == ("Hel", None)
    words = dialect.upstream + MID_ANSWER if dialect.ollama_words else "it died"
    assert answer.error == dialect.envelope(words, 500)
    assert closed(engine)


def test_an_error_after_heartbeats_only_is_in_the_stream(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    engine.script = (Text(""), RuntimeGone("it died"))
    answer = dialect.read(dialect.ask(client, stream=True), stream=True)

    assert (answer.text, answer.reason) == ("", None)
    assert answer.error
    words = dialect.upstream + MID_ANSWER if dialect.ollama_words else "it died"
    assert message_in(answer.error) == words


@pytest.mark.parametrize(
    "before", [(Text("Hel"),), (Thinking("Hm"),), (OSLO,)], ids=["text", "thinking", "call"]
)
def test_half_an_answer_is_never_sent_as_a_whole_one(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect, before: tuple[Step, ...]
) -> None:
    engine.script = (Text(""), *before, RuntimeGone("it died"))
    reply = dialect.ask(client, stream=False)

    assert reply.status_code == (500 if dialect.ollama_words else 502)
    words = dialect.upstream + MID_ANSWER if dialect.ollama_words else "it died"
    assert dialect.error_of(reply) == words
    assert closed(engine)


def test_heartbeats_do_not_count_as_a_part_of_a_whole_answer(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    engine.script = (Text(""), RuntimeGone("it died"))
    reply = dialect.ask(client, stream=False)

    words = dialect.upstream + RUNNER_STOPPED if dialect.ollama_words else "it died"
    assert dialect.error_of(reply) == words


def test_an_internal_error_ends_a_stream_properly(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    engine.script = (Text("Hel"), RecursionError("maximum recursion depth exceeded"))
    answer = dialect.read(dialect.ask(client, stream=True), stream=True)

    assert (answer.text, answer.reason) == ("Hel", None)
    assert answer.error == dialect.envelope(INTERNAL, 500)
    assert closed(engine)


@both_ways
def test_details_of_an_internal_error_are_only_logged(
    client: FlaskClient,
    engine: FakeEngine,
    caplog: pytest.LogCaptureFixture,
    dialect: Dialect,
    stream: bool,
) -> None:
    engine.refusal = ZeroDivisionError("secret detail")
    reply = dialect.ask(client, stream)

    assert reply.status_code == 500
    assert dialect.error_of(reply) == INTERNAL
    assert f"POST {dialect.path} failed" in caplog.text
    assert "secret detail" in caplog.text


@both_ways
def test_an_answer_without_an_end_is_an_internal_error(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect, stream: bool
) -> None:
    engine.script = ()
    reply = dialect.ask(client, stream)

    assert reply.status_code == 500
    assert dialect.error_of(reply) == INTERNAL
    assert closed(engine)


# Clients that disconnect


@both_ways
def test_a_client_that_left_before_the_answer_gets_nothing(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect, stream: bool
) -> None:
    engine.script = (ClientGone(),)
    reply = dialect.ask(client, stream)

    assert (reply.status_code, reply.data) == (499, b"")
    assert closed(engine)


def test_a_client_that_leaves_in_mid_stream_ends_the_stream(
    app: Flask, engine: FakeEngine, caplog: pytest.LogCaptureFixture, dialect: Dialect
) -> None:
    caplog.set_level(logging.INFO)
    engine.script = (Text("Hel"), ClientGone())
    pieces = pieces_of(app, dialect)[0]

    assert len(pieces) == 1
    assert 'reason="the client left"' in caplog.text
    assert closed(engine)


def test_a_client_that_leaves_before_a_whole_answer_is_complete_gets_nothing(
    client: FlaskClient, engine: FakeEngine, dialect: Dialect
) -> None:
    engine.script = (Text("Hel"), ClientGone())
    reply = dialect.ask(client, stream=False)

    assert (reply.status_code, reply.data) == (499, b"")
    assert closed(engine)


@pytest.mark.parametrize("read", [0, 1, 2, 3])
def test_closing_a_response_early_closes_the_answer(
    app: Flask, engine: FakeEngine, dialect: Dialect, read: int
) -> None:
    pieces = iter(app.wsgi_app(environ(dialect), lambda *_: io.BytesIO().write))
    for _ in range(read):
        assert next(pieces).endswith(b"\n")
    (answer,) = engine.answers

    assert answer.taken == max(read, 1)
    assert not answer.closed
    pieces.close()  # type: ignore[attr-defined]  # werkzeug's ClosingIterator
    assert answer.closed


@both_ways
def test_a_response_that_cannot_be_made_closes_the_answer(
    client: FlaskClient,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    dialect: Dialect,
    stream: bool,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("axproxy.api.streaming.Response", fail)
    reply = dialect.ask(client, stream)

    assert reply.status_code == 500
    assert closed(engine)


def test_the_engine_can_check_whether_the_client_is_gone(
    app: Flask, engine: FakeEngine, dialect: Dialect
) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        run_wsgi_app(app.wsgi_app, {**environ(dialect), "gunicorn.socket": ours})
        (gone,) = engine.gones
        assert not gone()
        theirs.close()
        assert gone()


def test_the_suite_covers_every_dialect() -> None:
    covered = {id(dialect_of(dialect.path)) for dialect in DIALECTS}

    assert covered == set(map(id, ALL_DIALECTS))
