"""The models that clients can ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol

from axproxy.errors import ClientError, UnknownModel
from axproxy.models.model import Model
from axproxy.models.names import ModelName, local_name, same_model
from axproxy.models.pull_progress import LAST_STATUSES, PullFailed, PullProgress
from axproxy.models.store import ModelStore, read_record


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

    def pull(self, name: str) -> Iterator[PullProgress]:
        """Yield the progress until the model that `name` means is here.

        Closing the iterator stops the pull.  Raises `PullFailed`.
        """


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

    def pull(self, name: str) -> Iterator[PullProgress]:
        """Report that the model is here; there is no store for another one."""
        return pulled_before(self, name)


def pulled_before(models: Models, name: str) -> Iterator[PullProgress]:
    """Yield what is reported of a model that is here, as far as anything can be reported of it.

    Raises `PullFailed` for another one.
    """
    yield PullProgress("pulling manifest")
    try:
        model = models.find(name)
    except ClientError as error:
        here = ", ".join(model.name for model in models.all())
        raise PullFailed(f"this service has {here or 'no model'}", unknown=True) from error
    yield PullProgress(f"pulling {model.digest[:12]}", model.digest, model.size, model.size)
    for status in LAST_STATUSES:
        yield PullProgress(status)


class StoreCatalog:
    """The models of the store, and the one that `AX650_MODEL_PATH` names.

    `configured` is that one, None where the store has all of them.  `aliases` are further names;
    `*` stands for every name that is not known.  `context_length` returns what the runtime of a
    model has reported, None before that.  `pull` fetches one into the store.
    """

    def __init__(
        self,
        store: ModelStore,
        configured: Callable[[], Model] | None,
        aliases: Mapping[str, str] = MappingProxyType({}),
        context_length: Callable[[Model], int | None] = lambda _model: None,
        pull: Callable[[str], Iterator[PullProgress]] | None = None,
    ) -> None:
        self._store = store
        self._pull = pull
        self._configured = configured
        self._aliases = aliases
        self.context_length = context_length

    def find(self, name: str) -> Model:
        base = local_name(name)
        models = self._known()
        for wanted in (base, self._alias(base)):
            for model in models if wanted else ():
                if same_model(wanted, model.name):
                    return self._with_context(model)
        ModelName.parse(base)
        raise UnknownModel(f"model '{name}' not found", [model.name for model in models])

    def all(self) -> Sequence[Model]:
        return [self._with_context(model) for model in self._known()]

    def default(self) -> Model:
        models = self._known()
        if not models:
            raise UnknownModel("there is no model yet; get one with: ax650 pull qwen3:1.7b")
        return self._with_context(models[0])

    def pull(self, name: str) -> Iterator[PullProgress]:
        if self._pull is None or self._is_local(name):
            return pulled_before(self, name)
        return self._pull(name)

    def _is_local(self, name: str) -> bool:
        """Return whether the name means a model here that was not pulled, and so stays as it is."""
        try:
            model = self.find(name)
        except ClientError:
            return False
        return model.folder is None or not read_record(model.folder)

    def _known(self) -> list[Model]:
        """Return the models, the configured one first; it may be in the store, too."""
        first = [self._configured()] if self._configured else []
        used = {model.folder.resolve() for model in first if model.folder}
        others = [
            model
            for model in self._store.models()
            if model.folder and model.folder.resolve() not in used
        ]
        return [*first, *others]

    def _alias(self, base: str) -> str:
        for alias, name in self._aliases.items():
            if alias != "*" and same_model(base, alias):
                return name
        return self._aliases.get("*", "")

    def _with_context(self, model: Model) -> Model:
        return replace(model, context_length=self.context_length(model) or model.context_length)
