"""The names by which Ollama's clients may call one model."""

from __future__ import annotations

from axproxy.errors import UnknownModel

_DEFAULT_PREFIXES = ("registry.ollama.ai/library/", "library/")


def with_tag(name: str) -> str:
    """`name` as Ollama lists it: without the default registry and namespace, with a tag."""
    name = name.strip()
    for prefix in _DEFAULT_PREFIXES:
        if name.lower().startswith(prefix):
            name = name[len(prefix) :]
            break
    return name if ":" in name else f"{name}:latest"


def full_name(name: str) -> str:
    """`name` as Ollama writes it where it says what a model cannot do."""
    return f"registry.ollama.ai/library/{with_tag(name)}"


def same_model(one: str, other: str) -> bool:
    return with_tag(one).lower() == with_tag(other).lower()


def require(name: str, resident: str) -> None:
    """Raises `UnknownModel` unless `name` means the model `resident`."""
    if not same_model(name, resident):
        raise UnknownModel(f"model '{name}' not found")
