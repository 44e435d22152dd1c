"""The recorded requests of clients get the recorded answers, without those clients."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.scripted import Scripted
from tests.support.service import Service
from tests.system.clients.recorder import FOLDER, LOAD, ask
from tests.system.clients.strictest import complaints
from tests.system.clients.transcripts import Exchange, parse, shape

pytestmark = pytest.mark.integration

# A simulator pulls nothing, and its model has another digest than a folder's.
OF_THE_STORE = {"/api/pull", "/api/create", "/api/delete"}
TRANSCRIPTS = sorted(FOLDER.glob("*.txt"))


@pytest.fixture
def service(scripted_service: Scripted) -> Iterator[Service]:
    """The service with the model loaded, even if a client has unloaded it."""
    scripted_service.says("I am a simulated model, no card is involved.")
    service = scripted_service.service
    assert "load" in ask(service.port, LOAD).lines[0]
    yield service
    ask(service.port, LOAD)


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_recorded_client_finds_everything_as_it_was(
    service: Service, scripted_service: Scripted, path: Path
) -> None:
    for exchange in parse(path.read_text()):
        recorded = on_axllm(exchange) if scripted_service.runtime == "mock-axllm" else exchange
        answer = ask(service.port, recorded.request)
        if scripted_service.runtime == "axengine" and exchange.request.path in OF_THE_STORE:
            continue
        assert shape(answer) == shape(recorded.answer), exchange.request
        if exchange.request.path.startswith("/api/"):
            for line in answer.lines:
                assert complaints(line) == []


def on_axllm(exchange: Exchange) -> Exchange:
    """Return what a client of `axllm` gets: no context, for that program has none.

    In its simulator's vocabulary a mark of thinking is several tokens; in a real one it is one.
    """
    body = exchange.request.body.replace('"num_predict":9}', '"num_predict":20}')
    lines = tuple(re.sub(r'"context":\[[\d,]*\],', "", line) for line in exchange.answer.lines)
    return Exchange(replace(exchange.request, body=body), replace(exchange.answer, lines=lines))


@pytest.mark.parametrize(
    "line",
    [
        '{"error":null}',
        '{"message":{"role":"assistant","content":null}}',
        '{"eval_count":1.0}',
        '{"total_duration":null}',
        '{"models":[{"size":"7"}]}',
        '{"models":[{"digest":""}]}',
        '{"models":null}',
        '{"expires_at":"2026-11-20 12:25:47"}',
        '{"created_at":"2026-11-20T12:25:47Z"}',
        '{"model_info":null}',
        '{"message":{"content":"","tool_calls":[{"function":{"arguments":"{}"}}]}}',
    ],
)
def test_what_strict_clients_reject_is_noticed(line: str) -> None:
    assert len(complaints(line)) == 1


LINE = '{"message":{"content":"Hi"},"done":false}'
LAST = '{"message":{"content":""},"done":true,"eval_count":2}'
CHUNKED = "application/x-ndjson | chunked"
TRANSCRIPT = f"< 200 {CHUNKED}\n< {LINE}\n<+ {LINE}\n< {LAST}\n"


def shape_of(transcript: str) -> object:
    (exchange,) = parse(f"# title\n\n> GET /\n{transcript}")
    return shape(exchange.answer)


@pytest.mark.parametrize(
    "transcript",
    [
        TRANSCRIPT.replace("200", "201"),
        TRANSCRIPT.replace("chunked", "length"),
        TRANSCRIPT.replace("x-ndjson", "json"),
        TRANSCRIPT.replace(f"< {LAST}\n", ""),
        TRANSCRIPT.replace('"done":true,"eval_count":2', '"eval_count":2,"done":true'),
        TRANSCRIPT.replace('"eval_count":2', '"eval_count":2.0'),
        TRANSCRIPT.replace('"eval_count":2', '"eval_count":null'),
        TRANSCRIPT.replace('"eval_count":2', '"eval_count":2,"context":[1]'),
        TRANSCRIPT.replace('"done":true', '"done":false'),
    ],
)
def test_another_status_type_framing_key_order_or_ending_is_noticed(transcript: str) -> None:
    assert shape_of(transcript) != shape_of(TRANSCRIPT)


def test_other_words_in_other_pieces_are_not() -> None:
    more = (
        TRANSCRIPT.replace(f"<+ {LINE}\n", f"< {LINE}\n" * 3)
        .replace("Hi", "Ho")
        .replace(":2}", ":9}")
    )
    assert shape_of(more) == shape_of(TRANSCRIPT)


def test_the_clients_on_the_compatibility_page_are_recorded() -> None:
    assert {path.stem for path in TRANSCRIPTS} >= {
        "home-assistant",
        "langchain-ollama",
        "ollama-js",
        "ollama-python",
        "open-webui",
        "openai-python",
    }
