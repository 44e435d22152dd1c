"""The catalogue as the client of the present request may see it: without models it may not use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from flask import has_request_context, request

from axproxy.api.http.requests import NAMED_KEY
from axproxy.api_keys import NamedKey
from axproxy.errors import UnknownModel
from axproxy.models.catalog import Models
from axproxy.models.model import Model, ModelDefaults
from axproxy.models.names import same_model
from axproxy.models.pull_progress import PullProgress


class AllowedModels:
    """Leaves out what the key of the request does not name; clients know the error of such a name.

    That is the answer to a name that does not exist, so it tells nothing about other models.
    """

    def __init__(self, models: Models) -> None:
        self._models = models

    def find(self, name: str) -> Model:
        try:
            model = self._models.find(name)
        except UnknownModel:  # its message has the names of all models
            if _key() is None:
                raise
            raise self._unknown(name) from None
        if not _may_use(model):
            raise self._unknown(name)
        return model

    def all(self) -> Sequence[Model]:
        return [model for model in self._models.all() if _may_use(model)]

    def default(self) -> Model:
        model = self._models.default()
        if _may_use(model):
            return model
        allowed = self.all()
        if not allowed:
            raise UnknownModel("this key may use no model that is here; ask who gave it")
        return allowed[0]

    def create(self, name: str, base: Model, defaults: ModelDefaults, *, copy: bool) -> Model:
        return self._models.create(name, base, defaults, copy=copy)

    def delete(self, model: Model, free: Callable[[], None]) -> None:
        self._models.delete(model, free)

    def pull(self, name: str) -> Iterator[PullProgress]:
        return self._models.pull(name)

    def _unknown(self, name: str) -> UnknownModel:
        return UnknownModel(f"model '{name}' not found", [model.name for model in self.all()])


def _key() -> NamedKey | None:
    """Return the key of the present request if it may use some models only."""
    key: NamedKey | None = request.environ.get(NAMED_KEY) if has_request_context() else None
    return key if key and key.models else None


def _may_use(model: Model) -> bool:
    key = _key()
    return key is None or any(same_model(name, model.name) for name in key.models)
