"""The vendor's tokenizer script, as seen by everybody but the runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
import responses

from axproxy.errors import TokenizerGone
from axproxy.prompts.vendor_script import estimated_tokens
from axproxy.tokenizer.client import SERVER
from axproxy.tokenizer.vendor_script import VendorScriptClient

URL = "http://127.0.0.1:12345"

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
def test_an_estimate_is_rather_too_high_than_too_low(text: str, tokens: int) -> None:
    assert tokens <= estimated_tokens(text) <= 4 * tokens


@pytest.mark.parametrize(
    ("answer", "there"),
    [
        ({"json": {"error": "Invalid GET endpoint"}}, True),
        ({"json": {"server": SERVER}}, False),  # ours is not what was asked for
        ({"json": []}, False),
        ({"body": "<html>"}, False),
        ({"body": requests.ConnectionError()}, False),
    ],
)
@responses.activate
def test_it_is_there_if_it_refuses_as_the_script_does(answer: dict[str, Any], there: bool) -> None:
    responses.get(f"{URL}/", **answer)
    assert VendorScriptClient(URL).answers() is there


@pytest.mark.parametrize(
    "ask",
    [lambda it: it.trace(), lambda it: it.tokenize("x"), lambda it: it.detokenize([1])],
    ids=["trace", "tokens", "text"],
)
def test_what_it_tells_nobody_is_not_asked(ask: Callable[[VendorScriptClient], object]) -> None:
    with pytest.raises(TokenizerGone, match="AX650_TOKENIZER=builtin"):
        ask(VendorScriptClient(URL))
