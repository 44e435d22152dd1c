"""The client of the vendor's tokenizer script."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from axproxy.errors import TokenizerGone
from axproxy.prompts.vendor_script import estimated_tokens
from axproxy.tokenizer.client import SERVER
from axproxy.tokenizer.vendor_script import VendorScriptClient
from tests.support.loopback_server import CLOSE, Reply, loopback_server, reply

URL = "http://127.0.0.1:12345"  # not called

# Counted with Qwen's own vocabulary.
TRUTHS = {
    "": 0,
    "Hello": 1,
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.": 16,
    "def main() -> int:\n    return os.execv(sys.executable, command)\n": 17,
    "2026": 4,
    "请用三句话解释量子力学是什么": 8,
    "Erkläre mir bitte in drei Sätzen, was Quantenmechanik ist.": 19,
    "Привет, расскажи мне, пожалуйста, что такое квантовая механика": 24,
}


@pytest.mark.parametrize(("text", "tokens"), TRUTHS.items())
def test_an_estimate_is_not_too_low(text: str, tokens: int) -> None:
    assert tokens <= estimated_tokens(text) <= 4 * tokens


@pytest.mark.parametrize(
    ("answer", "there"),
    [
        (reply(json={"error": "Invalid GET endpoint"}), True),
        (reply(json={"server": SERVER}), False),  # our own server is not what was asked for
        (reply(json=[]), False),
        (reply(body="<html>"), False),
        (CLOSE, False),
    ],
    ids=["script", "ours", "array", "html", "closed"],
)
def test_it_is_there_if_it_refuses_as_the_script_does(answer: Reply, there: bool) -> None:
    with loopback_server() as server:
        server.on("GET", "/", answer)
        assert VendorScriptClient(server.url).answers() is there
    assert server.requests[0].headers["connection"] == "close"


@pytest.mark.parametrize(
    "ask",
    [lambda it: it.trace(), lambda it: it.tokenize("x"), lambda it: it.detokenize([1])],
    ids=["trace", "tokens", "text"],
)
def test_it_is_not_asked_what_it_answers_only_the_runtime(
    ask: Callable[[VendorScriptClient], object],
) -> None:
    with pytest.raises(TokenizerGone, match="AX650_TOKENIZER=builtin"):
        ask(VendorScriptClient(URL))
