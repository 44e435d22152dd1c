"""The id and the log line of a request, and what is never logged."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from axproxy.errors import ClientGone, GaveUp, RuntimeGone
from axproxy.messages import Finished, Text
from axproxy.ops.request_log import current_id, id_for
from tests.support.fakes import USAGE, FakeEngine

PROMPT, ANSWER, KEY = "prompt-marker", "answer-marker", "key-marker"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.fixture(autouse=True)
def at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.mark.parametrize("path", ["/", "/health", "/nothing", "/api/tags", "/v1/nothing"])
def test_every_response_has_an_id(client: FlaskClient, path: str) -> None:
    ids = {client.get(path).headers["X-Request-Id"] for _ in range(3)}
    assert len(ids) == 3


def test_a_client_may_choose_the_id(client: FlaskClient) -> None:
    reply = client.get("/health", headers={"X-Request-Id": "a-1.b/2:c=3"})
    assert reply.headers["X-Request-Id"] == "a-1.b/2:c=3"


@pytest.mark.parametrize("sent", ["", "a b", "a\x1b[31m", "ä", "a\n", "x" * 101, '"'])
def test_an_id_that_would_break_a_log_line_is_replaced(sent: str) -> None:
    assert re.fullmatch("[0-9a-f]{16}", id_for(sent))


def test_a_request_is_logged_in_one_line(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    reply = client.post("/generate?q=secret", json={"prompt": PROMPT})
    reply.close()

    (line,) = lines(caplog)
    facts = "client=127.0.0.1 model=qwen3:0.6b tokens=12+2 queue=0.25s first=0.00s reason=stop"
    assert re.fullmatch(
        rf"POST /generate 200 \d+ ms {len(reply.data)} bytes {re.escape(facts)}", line
    )


def test_the_line_of_a_refused_request_says_why(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.post("/api/chat", json={"model": "other", "messages": []}).close()
    (line,) = lines(caplog)
    assert line.startswith("POST /api/chat 404 ")
    assert "client=127.0.0.1 reason=\"model 'other' not found" in line


def test_a_reason_cannot_forge_a_log_line(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.post("/api/chat", json={"model": "a\nb\x1b[31m" + "x" * 999}).close()
    (line,) = lines(caplog)
    assert not re.search("[\n\x1b]", line)
    assert len(line) < 350


def test_watchdogs_do_not_fill_the_log(
    client: FlaskClient, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for path in ("/", "/health", "/ready"):
        client.get(path).close()
    assert lines(caplog) == []

    engine.problem = GaveUp("mend it")
    client.get("/ready").close()
    assert len(lines(caplog)) == 1


def test_a_path_cannot_forge_a_log_line(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.get("/a%0AINFO%20forged%1B[31m" + "x" * 500).close()

    (line,) = lines(caplog)
    assert "\n" not in line
    assert "\x1b" not in line
    assert len(line) < 350


def test_a_stream_keeps_its_request_id_to_its_end(client: FlaskClient, engine: FakeEngine) -> None:
    seen = []

    def script() -> Iterator[Text | Finished]:
        seen.append(current_id())
        yield Text("Hi")
        seen.append(current_id())
        yield Finished("stop", USAGE)

    engine.script = script()
    body = {"prompt": "Hi", "stream": True}
    reply = client.post("/generate", json=body, headers={"X-Request-Id": "mine"})

    assert reply.data.count(b"\n") == 2
    assert seen == ["mine", "mine"]
    assert current_id() == ""


ENDINGS = {
    "well": (Finished("stop", USAGE),),
    "with a fault of the runtime": (RuntimeGone("the runtime has gone"),),
    "with the client gone": (ClientGone(),),
    "with a fault of ours": (ZeroDivisionError("of ours"),),
}
CALLS = {
    "/generate": {"prompt": PROMPT, "system": PROMPT, "stop": [PROMPT]},
    "/api/generate": {"model": "qwen3:0.6b", "prompt": PROMPT},
    "/api/chat": {"model": "qwen3:0.6b", "messages": [{"role": "user", "content": PROMPT}]},
    "/v1/chat/completions": {
        "model": "qwen3:0.6b",
        "messages": [{"role": "user", "content": PROMPT}],
    },
}


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("ending", ENDINGS.values(), ids=list(ENDINGS))
def test_no_prompt_no_answer_and_no_key_is_logged(
    client: FlaskClient,
    engine: FakeEngine,
    caplog: pytest.LogCaptureFixture,
    path: str,
    begun: bool,
    stream: bool,
    ending: tuple[Finished | Exception, ...],
) -> None:
    engine.script = (*((Text(ANSWER),) if begun else ()), *ending)
    headers = {"Authorization": f"Bearer {KEY}"}
    # The test client has no server that could answer after an error of the application.
    with contextlib.suppress(ZeroDivisionError):
        client.post(path, json={**CALLS[path], "stream": stream}, headers=headers).close()

    assert lines(caplog)
    for marker in (PROMPT, ANSWER, KEY):
        assert marker not in caplog.text


@pytest.mark.parametrize(
    "body",
    [f'{{"prompt": "{PROMPT}"', f'{{"prompt": {PROMPT}}}', f'["{PROMPT}"]', f'{{"{PROMPT}": 1}}'],
)
@pytest.mark.parametrize("path", [*CALLS, "/load", "/api/show", "/api/pull"])
def test_a_body_that_is_refused_is_not_logged(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, path: str, body: str
) -> None:
    client.post(path, data=body).close()

    assert len(lines(caplog)) == 1
    assert PROMPT not in caplog.text
