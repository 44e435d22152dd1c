"""What a model can do beyond answering, which its chat template tells.

The template is tried, not searched: words such as `tools` or `<think>` also stand in templates
that only tidy up a history.
"""

from __future__ import annotations

from typing import Any

from axproxy.control_tokens import Escaper
from axproxy.errors import ClientError, RuntimeMisbehaved
from axproxy.messages import Message
from axproxy.output import thinking, tool_calls
from axproxy.prompts.template import ChatTemplate

COMPLETION, TOOLS, THINKING = "completion", "tools", "thinking"

_PROBE = "probe_of_this_template"
_TOOL = {
    "type": "function",
    "function": {
        "name": _PROBE,
        "description": "",
        "parameters": {"type": "object", "properties": {}},
    },
}


def capabilities(template: str | None) -> tuple[str, ...]:
    """What a model with this template can do, in Ollama's words and order."""
    try:
        chat = ChatTemplate(template, Escaper(()), Escaper(()), bos_token="", eos_token="")
    except RuntimeMisbehaved:
        return (COMPLETION,)
    plain = _rendered(chat, enable_thinking=False)
    ready = _rendered(chat, enable_thinking=True)
    shown = _rendered(chat, tools=[_TOOL], enable_thinking=False)
    # It must call in the one form that we can read.
    calls = _PROBE in shown and tool_calls.OPEN in shown
    thinks = plain != ready or ready.rstrip().endswith(thinking.OPEN)
    return (COMPLETION, *((TOOLS,) if calls else ()), *((THINKING,) if thinks else ()))


def _rendered(chat: ChatTemplate, **variables: Any) -> str:
    try:
        return chat.render([Message("user", "Hello")], variables)
    except ClientError:
        return ""
