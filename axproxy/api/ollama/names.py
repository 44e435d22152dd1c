"""The names by which Ollama's clients may call one model: `[host/][namespace/]model[:tag]`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from axproxy.errors import ClientError, UnknownModel

_HOST = re.compile(r"\w[\w.:-]{0,349}", re.ASCII)
_NAMESPACE = re.compile(r"\w[\w-]{0,79}", re.ASCII)
_WORD = re.compile(r"\w[\w.-]{0,79}", re.ASCII)
_NO_INFERENCE = "remote model is unavailable"
_NO_DETAILS = "remote model details are unavailable"
_DIGEST = re.compile(r"@\w[\w:.-]*\Z", re.ASCII)


class NoName(ClientError):
    """The request names no model; each of Ollama's routes has its own words for that."""


class InvalidName(ClientError):
    """No model can have this name."""


class CloudModel(ClientError):
    """The name means a model of ollama.com, and this service never goes there."""

    status_hint = 403


@dataclass(frozen=True)
class ModelName:
    """A name with its defaults filled in, its case as it was written."""

    model: str
    tag: str = "latest"
    namespace: str = "library"
    host: str = "registry.ollama.ai"

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Raises `InvalidName`; a digest at the end is not looked at."""
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
        """As Ollama lists it: without the default host and namespace, always with the tag."""
        short = f"{self.model}:{self.tag}"
        if self.host.lower() != ModelName.host:
            return f"{self.host}/{self.namespace}/{short}"
        if self.namespace.lower() != ModelName.namespace:
            return f"{self.namespace}/{short}"
        return short


def referred(text: str, consequence: str = _NO_INFERENCE) -> str:
    """The local model's name in what a client wrote: without blanks around it and `:local`.

    Raises `NoName`, `CloudModel` with the `consequence` in Ollama's words, and `ClientError` for a
    name that asks for both.
    """
    name = text.strip()
    if not name:
        raise NoName("model is required")
    base, source = _cut_source(name)
    if source and _cut_source(base)[1]:
        raise ClientError(f'use either :local or :cloud, not both: "{name}"')
    if source == "cloud":
        raise CloudModel(f"ollama cloud is disabled: {consequence}")
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
    """`name` as Ollama writes it where it says what a model cannot do."""
    try:
        named = ModelName.parse(name)
    except InvalidName:  # a model may be configured under a name that Ollama would not take
        return name if ":" in name else f"{name}:{ModelName.tag}"
    return f"{named.host}/{named.namespace}/{named.model}:{named.tag}"


def short_name(name: str) -> str:
    """`name` as Ollama lists it.  Raises `InvalidName`."""
    return ModelName.parse(name).short


def same_model(one: str, other: str) -> bool:
    """Whether both names mean the same model; case does not matter."""
    return full_name(one.strip()).lower() == full_name(other.strip()).lower()


def require(name: str, resident: str, consequence: str = _NO_INFERENCE) -> None:
    """Raises `UnknownModel` unless `name` means the model `resident`, and what `referred` and
    `ModelName.parse` raise."""
    base = referred(name, consequence)
    if not same_model(base, resident):
        ModelName.parse(base)
        raise UnknownModel(f"model '{name}' not found")


def require_for_details(name: str, resident: str) -> None:
    """As `require`, for whoever wants to know about a model: that one is told the short name."""
    try:
        require(name, resident, _NO_DETAILS)
    except UnknownModel as error:
        short = short_name(referred(name, _NO_DETAILS))
        raise UnknownModel(f"model '{short}' not found") from error
