"""Whether to think before the answer, as requests under `/v1` say it.

Efforts are OpenAI's, with Ollama's messages; other servers have switches of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from axproxy.api.gojson.decode import Fields, quoted
from axproxy.errors import ClientError
from axproxy.models.model import Model

_EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "ultra", "max")
_ON = ("on", "true", "enabled", *_EFFORTS)
_OFF = ("off", "false", "disabled", "none")


def parse_effort(effort: str) -> bool | None:
    """Return whether to think, `None` if the request has no effort.  Raises `ClientError`."""
    if not effort:
        return None
    if effort == "none":
        return False
    if effort not in _EFFORTS:
        allowed = ", ".join(map(quoted, _EFFORTS))
        raise ClientError(
            f'invalid reasoning value: {quoted(effort)} (must be {allowed}, or "none")'
        )
    return True


def other_servers_switch(fields: Fields, model: Model) -> bool | None:
    """Return the first switch that the request sets, `None` if it sets none.

    vLLM, SGLang and llama.cpp have `chat_template_kwargs`, Alibaba and SiliconFlow
    `enable_thinking`, Ollama `think`, Anthropic, DeepSeek and Z.ai `thinking.type`, OpenRouter
    `reasoning.enabled`.  OpenAI's efforts count where another API is called with them.  Those
    servers ignore them for a model that cannot think, and so does this one.  Values of other types
    are ignored, as unknown fields are.
    """
    template = _mapping(fields.anything("chat_template_kwargs"))
    thinking = fields.anything("thinking")
    reasoning = _mapping(fields.anything("reasoning"))
    switches = (
        template.get("enable_thinking"),
        template.get("thinking"),
        fields.anything("enable_thinking"),
        fields.anything("think"),
        _mapping(thinking).get("type") if isinstance(thinking, dict) else thinking,
        reasoning.get("enabled"),
        reasoning.get("effort"),
        fields.anything("reasoning_effort"),
    )
    on = next((on for on in map(_on, switches) if on is not None), None)
    return None if on and "thinking" not in model.capabilities else on


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _on(value: Any) -> bool | None:
    match value:
        case bool():
            return value
        case str() if value.lower() in _ON:
            return True
        case str() if value.lower() in _OFF:
            return False
    return None
