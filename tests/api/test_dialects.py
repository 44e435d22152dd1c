"""Every path belongs to one dialect, which decides the shape of its errors."""

from __future__ import annotations

from itertools import pairwise

import pytest

from axproxy.api.dialects import DIALECTS, dialect_of
from axproxy.errors import Busy, ProxyError

NATIVE = {"error": "no"}
OPENAI = {"error": {"message": "no", "type": "api_error", "param": None, "code": None}}
ANTHROPIC = {"type": "error", "error": {"type": "api_error", "message": "no"}}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", NATIVE),
        ("/api/nothing", NATIVE),
        ("/v1/chat/completions", OPENAI),
        ("/v1/messages/count_tokens", ANTHROPIC),
        ("/v1/messagesX", OPENAI),
        ("/v1/messages", ANTHROPIC),
        ("/generate", NATIVE),
        ("/health", NATIVE),
        ("/", NATIVE),
        ("/v1", NATIVE),
    ],
)
def test_the_path_decides_the_shape_of_an_error(path: str, body: dict[str, object]) -> None:
    found, status = dialect_of(path).error_body(ProxyError("no", status=507))

    assert {name: value for name, value in found.items() if name != "request_id"} == body
    assert ("request_id" in found) == (body is ANTHROPIC)
    assert status == 507


def test_ollamas_words_are_used_where_ollama_has_the_route() -> None:
    words = {path: dialect_of(path).error_body(Busy("full"))[0] for path in ("/api/chat", "/load")}

    assert words["/api/chat"] != words["/load"] == {"error": "full"}


def test_a_dialect_comes_before_those_whose_prefixes_include_its_own() -> None:
    firsts = [dialect.prefixes[0] for dialect in DIALECTS]
    assert all(not later.startswith(earlier) for earlier, later in pairwise(firsts))
    assert DIALECTS[-1].prefixes == ("/",)
