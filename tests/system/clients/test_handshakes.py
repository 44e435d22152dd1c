"""What clients asked when they were recorded is answered as it was, without those clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import Service
from tests.system.clients.recorder import FOLDER, LOAD, ask
from tests.system.clients.strictest import complaints
from tests.system.clients.transcripts import parse, shape

pytestmark = pytest.mark.integration

TRANSCRIPTS = sorted(FOLDER.glob("*.txt"))


@pytest.fixture
def service(shared: Service) -> Iterator[Service]:
    """With the model loaded, whatever another client has done to it, or this one will do."""
    assert "load" in ask(shared.port, LOAD).lines[0]
    yield shared
    ask(shared.port, LOAD)


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_recorded_client_finds_everything_as_it_was(service: Service, path: Path) -> None:
    for exchange in parse(path.read_text()):
        answer = ask(service.port, exchange.request)
        assert shape(answer) == shape(exchange.answer), exchange.request
        if exchange.request.path.startswith("/api/"):
            for line in answer.lines:
                assert complaints(line) == []


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
def test_what_strict_clients_stumble_over_is_noticed(line: str) -> None:
    assert len(complaints(line)) == 1


LINE = '{"message":{"content":"Hi"},"done":false}'
LAST = '{"message":{"content":""},"done":true,"eval_count":2}'
CHUNKED = "application/x-ndjson | chunked"
TOLD = f"< 200 {CHUNKED}\n< {LINE}\n<+ {LINE}\n< {LAST}\n"


def shape_of(told: str) -> object:
    (exchange,) = parse(f"# title\n\n> GET /\n{told}")
    return shape(exchange.answer)


@pytest.mark.parametrize(
    "told",
    [
        TOLD.replace("200", "201"),
        TOLD.replace("chunked", "length"),
        TOLD.replace("x-ndjson", "json"),
        TOLD.replace(f"< {LAST}\n", ""),
        TOLD.replace('"done":true,"eval_count":2', '"eval_count":2,"done":true'),
        TOLD.replace('"eval_count":2', '"eval_count":2.0'),
        TOLD.replace('"eval_count":2', '"eval_count":null'),
        TOLD.replace('"eval_count":2', '"eval_count":2,"context":[1]'),
        TOLD.replace('"done":true', '"done":false'),
    ],
)
def test_another_status_type_framing_key_order_or_ending_is_noticed(told: str) -> None:
    assert shape_of(told) != shape_of(TOLD)


def test_other_words_in_other_pieces_are_not() -> None:
    more = TOLD.replace(f"<+ {LINE}\n", f"< {LINE}\n" * 3).replace("Hi", "Ho").replace(":2}", ":9}")
    assert shape_of(more) == shape_of(TOLD)


def test_the_clients_of_the_page_on_compatibility_are_recorded() -> None:
    assert {path.stem for path in TRANSCRIPTS} >= {
        "home-assistant",
        "langchain-ollama",
        "ollama-js",
        "ollama-python",
        "open-webui",
        "openai-python",
    }
