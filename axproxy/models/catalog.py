"""The models that clients can ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from axproxy.errors import UnknownModel
from axproxy.models.model import Model
from axproxy.models.names import ModelName, local_name, same_model


class Models(Protocol):
    """The catalogue that the dialects get beside the engine; any thread may call it."""

    def find(self, name: str) -> Model:
        """Return the model that a client calls `name`.

        Raises `NoName`, `CloudModel`, `InvalidName` or `UnknownModel`, all of them `ClientError`,
        in Ollama's words.
        """

    def all(self) -> Sequence[Model]:
        """Return every model, in the order in which clients list them."""

    def default(self) -> Model:
        """Return the model of a request that names none, where its API allows that."""


class SingleModelCatalog:
    """A catalogue of the one model that is configured.

    `model` is that model, or returns how it is described now; the name that it had first stays
    valid.  `context_length` returns what the runtime has reported, None before that.
    """

    def __init__(
        self, model: Model | Callable[[], Model], context_length: Callable[[], int | None]
    ) -> None:
        self._model = model if callable(model) else lambda: model
        self._first_name = self._model().name
        self._context_length = context_length

    def find(self, name: str) -> Model:
        if name == self._first_name:  # as nearly every client writes it
            return self.default()
        base = local_name(name)
        if not any(same_model(base, known) for known in (self._model().name, self._first_name)):
            ModelName.parse(base)
            raise UnknownModel(f"model '{name}' not found", [self._model().name])
        return self.default()

    def all(self) -> Sequence[Model]:
        return (self.default(),)

    def default(self) -> Model:
        return replace(self._model(), context_length=self._context_length())
