"""Models as Ollama describes them: in `/api/show`, `/api/tags` and `/api/ps`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from axproxy.api.gojson.decode import compact, quoted
from axproxy.api.ollama.replies import timestamp
from axproxy.engine.protocol import Loaded
from axproxy.models.model import Model

# The model's own template, in Jinja, makes the prompts; these show in Ollama's template language
# what they look like.  Clients search them: `.Suffix` would promise completion of code around a
# cursor, and `tools` that the model can call functions.
_TOOLS = (
    "{{- if .Tools }}<|im_start|>system\n<tools>{{ range .Tools }}\n{{ . }}{{ end }}\n</tools>\n"
    '<tool_call>\n{"name": ..., "arguments": ...}\n</tool_call><|im_end|>\n{{ end }}'
)
_CHATML = (
    "{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n"
)
_CHATML_STOPS = ("<|im_start|>", "<|im_end|>")
_CHATML_FAMILIES = ("qwen", "smollm", "internlm")

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([MB])")
_MILLIONS = {"M": 1, "B": 1000}
# The longest time Go can count, which Ollama's command line prints as "Forever".
_FOREVER = timedelta(days=106_751)


def tags_entry(model: Model) -> dict[str, Any]:
    """Return an entry of `/api/tags`; an unknown length is Go's zero."""
    lengths = {
        "context_length": model.context_length or 0,
        "embedding_length": model.embedding_length or 0,
    }
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": timestamp(model.modified_at),
        "size": model.size,
        "digest": model.digest,
        "details": details(model) | lengths,
        "capabilities": list(model.capabilities),
    }


def ps_entry(loaded: Loaded, now: datetime) -> dict[str, Any]:
    """Return an entry of `/api/ps`; the whole model is in the card's memory."""
    model = loaded.model
    return {
        "name": model.name,
        "model": model.name,
        "size": model.size,
        "digest": model.digest,
        "details": details(model),
        "expires_at": timestamp(loaded.expires_at or now + _FOREVER),
        "size_vram": model.size,
        "context_length": model.context_length or 0,
    }


def details(model: Model) -> dict[str, Any]:
    """Return the six keys that strict clients require."""
    return {
        "parent_model": model.parent,
        "format": "axmodel",
        "family": model.family,
        "families": [model.family],
        "parameter_size": model.parameter_size,
        "quantization_level": model.quantization,
    }


def show_body(
    model: Model,
    system: str = "",
    options: Mapping[str, Any] = MappingProxyType({}),
    copilot_name: str | None = None,
) -> dict[str, Any]:
    """Return the body of `/api/show`; what is not known is left out, `model_info` never is.

    `system` and `options` are the client's, to be shown as if they were the model's; as in Ollama,
    options are in the modelfile only.

    GitHub's Copilot shows the base name to its users, so Ollama returns the name that Copilot
    asked for, here `copilot_name`.
    """
    info = model_info(model)
    if copilot_name:
        info["general.basename"] = copilot_name
    chatml = model.family.startswith(_CHATML_FAMILIES)
    lines = _parameters(model, _CHATML_STOPS if chatml else ())
    lines = list(_changed(lines, model.defaults.parameters))
    template, system = template_of(model), system or model.defaults.system
    texts = {
        "modelfile": _modelfile(model, template, system, _changed(lines, options)),
        "parameters": "\n".join(f"{name:<30} {value}" for name, value in lines),
        "template": template,
        "system": system,
    }
    messages = [{"role": m.role, "content": m.content} for m in model.defaults.messages]
    return {
        **{name: text for name, text in texts.items() if text},
        **({"messages": messages} if messages else {}),
        **({"license": "\n".join(model.defaults.license)} if model.defaults.license else {}),
        "details": details(model),
        "model_info": info,
        "capabilities": list(model.capabilities),
        "modified_at": timestamp(model.modified_at),
    }


def template_of(model: Model) -> str:
    """Return in Ollama's template language what the prompts of the model look like."""
    # Models that call tools in the form that we parse also write their turns like this.
    tools = "tools" in model.capabilities
    chatml = model.family.startswith(_CHATML_FAMILIES)
    return (_TOOLS if tools else "") + (_CHATML if tools or chatml else "")


def model_info(model: Model) -> dict[str, Any]:
    """Return what a GGUF file would contain.

    Clients size their prompts by the first key with `context_length` in it, so there is only one,
    and none before the window is known.
    """
    family, size = model.family, model.parameter_size
    info: dict[str, Any] = {
        "general.architecture": family,
        "general.basename": model.name.partition(":")[0],
        "general.parameter_count": _parameter_count(size),
        "general.size_label": size if _SIZE.fullmatch(size) else None,
        f"{family}.block_count": model.layers,
        f"{family}.context_length": model.context_length,
        f"{family}.embedding_length": model.embedding_length,
        f"{family}.vocab_size": model.vocabulary,
    }
    return {key: value for key, value in info.items() if value is not None}


def _parameter_count(size: str) -> int | None:
    """Return the rounded number in the model's name; the folder has no exact one."""
    if found := _SIZE.fullmatch(size):
        return round(float(found[1]) * _MILLIONS[found[2]] * 1e6)
    return None


def _parameters(model: Model, stops: tuple[str, ...]) -> list[tuple[str, str]]:
    window = [("num_ctx", str(model.context_length))] if model.context_length else []
    return [*window, *(("stop", quoted(stop)) for stop in stops)]


def _changed(
    lines: Sequence[tuple[str, str]], options: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield the parameters with a client's `options` in place of those of the same name."""
    yield from (line for line in lines if line[0] not in options)
    for name, value in options.items():
        for single in value if isinstance(value, list) else [value]:
            yield name, quoted(single) if isinstance(single, str) else compact(single).decode()


def _modelfile(
    model: Model, template: str, system: str, parameters: Iterator[tuple[str, str]]
) -> str:
    lines = [
        '# Modelfile generated by "ollama show"',
        "# To build a new Modelfile based on this, replace FROM with:",
        f"# FROM {model.name}",
        "",
        f"FROM {model.base or model.name}",  # a folder would be converted by `ollama create`
        *([f'TEMPLATE """{template}"""'] if template else []),
        *([f'SYSTEM """{system}"""'] if system else []),
        *(f"PARAMETER {name} {value}" for name, value in parameters),
        *(f'LICENSE """{text}"""' for text in model.defaults.license),
        *(
            f"MESSAGE {message.role} {_word(message.content)}"
            for message in model.defaults.messages
        ),
    ]
    return "\n".join(lines) + "\n"


def _word(text: str) -> str:
    """Return a text as Ollama writes it in a Modelfile: quoted where it is not one plain line."""
    if text and "\n" not in text and text == text.strip():
        return text
    return f'"""{text}"""' if '"' in text else f'"{text}"'
