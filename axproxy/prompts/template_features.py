"""Finds out from a chat template what its model can do beyond answering.

The template is rendered, not searched: words such as `tools` or `<think>` are also in templates
that only clean up a history.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from axproxy.control_tokens import Escaper
from axproxy.errors import ClientError, RuntimeMisbehaved
from axproxy.messages import Message
from axproxy.output import thinking, tool_calls
from axproxy.prompts.template import ChatTemplate

CAPABILITIES = COMPLETION, TOOLS, THINKING = ("completion", "tools", "thinking")
EMBEDDING = "embedding"  # of models that do nothing else
VISION = "vision"

THINKING_TOKEN = thinking.OPEN

_PROBE = "probe_of_this_template"
_TOOL = {
    "type": "function",
    "function": {
        "name": _PROBE,
        "description": "",
        "parameters": {"type": "object", "properties": {}},
    },
}


def capabilities(template: str | None, tokens: Collection[str] = ()) -> tuple[str, ...]:
    """Return what a model with this template can do, in Ollama's words and order.

    `tokens` are control tokens of its vocabulary, as far as they are known.
    """
    try:
        chat = ChatTemplate(template, Escaper(()), Escaper(()), bos_token="", eos_token="")
    except RuntimeMisbehaved:
        return (COMPLETION,)
    without_thinking = _rendered(chat, enable_thinking=False)
    with_thinking = _rendered(chat, enable_thinking=True)
    with_tool = _rendered(chat, tools=[_TOOL], enable_thinking=False)
    # The model must write calls in the only form that we parse.
    calls = _PROBE in with_tool and tool_calls.OPEN in with_tool
    thinks = without_thinking != with_thinking or with_thinking.rstrip().endswith(thinking.OPEN)
    # A model that thinks unasked: it has a token for it, and its template cuts that from a history.
    cuts = any(thinking.CLOSE in text for text in chat.looks_for)
    unasked = thinking.OPEN in tokens and cuts
    thinks = thinks or (unasked and not with_thinking.rstrip().endswith(thinking.CLOSE))
    return (COMPLETION, *((TOOLS,) if calls else ()), *((THINKING,) if thinks else ()))


def _rendered(chat: ChatTemplate, **variables: Any) -> str:
    try:
        return chat.render([Message("user", "Hello")], variables)
    except ClientError:
        return ""
