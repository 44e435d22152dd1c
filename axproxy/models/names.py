"""The names by which clients may ask for a model: `[host/][namespace/]model[:tag]`.

The rules and the error messages are Ollama's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from axproxy.errors import ClientError

_HOST = re.compile(r"\w[\w.:-]{0,349}", re.ASCII)
_NAMESPACE = re.compile(r"\w[\w-]{0,79}", re.ASCII)
_WORD = re.compile(r"\w[\w.-]{0,79}", re.ASCII)
_DIGEST = re.compile(r"@\w[\w:.-]*\Z", re.ASCII)


class NoName(ClientError):
    """The request names no model; each of Ollama's routes words that differently."""


class InvalidName(ClientError):
    """No model can have this name."""


class CloudModel(ClientError):
    """The name means a model of ollama.com, which this service never contacts."""

    status_hint = 403


@dataclass(frozen=True)
class ModelName:
    """A name with its defaults filled in; its case is kept."""

    model: str
    tag: str = "latest"
    namespace: str = "library"
    host: str = "registry.ollama.ai"

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Parse `text`; a digest at its end is ignored.  Raises `InvalidName`."""
        rest, tag = _DIGEST.sub("", text), "latest"
        if rest.rfind(":") > rest.rfind("/"):
            rest, _, tag = rest.rpartition(":")
        *before, model = rest.rsplit("/", 2)
        namespace = before[-1] if before else cls.namespace
        host = before[0].rpartition("://")[2] if len(before) == 2 else cls.host
        named = cls(model, tag, namespace, host)
        rules = ((_HOST, host), (_NAMESPACE, namespace), (_WORD, model), (_WORD, tag))
        if not all(rule.fullmatch(part) for rule, part in rules):
            raise InvalidName("invalid model name")
        return named

    @property
    def short(self) -> str:
        """The name as Ollama lists it: without default host and namespace, always with a tag."""
        short = f"{self.model}:{self.tag}"
        if self.host.lower() != ModelName.host:
            return f"{self.host}/{self.namespace}/{short}"
        if self.namespace.lower() != ModelName.namespace:
            return f"{self.namespace}/{short}"
        return short


def local_name(text: str) -> str:
    """Return the local model's name in what a client sent, without blanks and `:local`.

    Raises `NoName`, `CloudModel`, and `ClientError` for a name that asks for both.
    """
    name = text.strip()
    if not name:
        raise NoName("model is required")
    base, source = _cut_source(name)
    if source and _cut_source(base)[1]:
        raise ClientError(f'use either :local or :cloud, not both: "{name}"')
    if source == "cloud":
        raise CloudModel("ollama cloud is disabled: remote model is unavailable")
    return base


def _cut_source(name: str) -> tuple[str, str]:
    base, _, last = name.rpartition(":")
    last = last.strip().lower()
    if base and last in ("local", "cloud"):
        return base, last
    if base and "/" not in last and last.endswith("-cloud"):
        return name[: -len("-cloud")], "cloud"
    return name, ""


def full_name(name: str) -> str:
    """Return `name` as Ollama writes it in messages about what a model cannot do."""
    try:
        named = ModelName.parse(name)
    except InvalidName:  # the name in the settings may be one that Ollama rejects
        return name if ":" in name else f"{name}:{ModelName.tag}"
    return f"{named.host}/{named.namespace}/{named.model}:{named.tag}"


def short_name(name: str) -> str:
    """Return `name` as Ollama lists it.  Raises `InvalidName`."""
    return ModelName.parse(name).short


def same_model(first: str, second: str) -> bool:
    """Return whether both names mean the same model; case does not matter."""
    return full_name(first.strip()).lower() == full_name(second.strip()).lower()
