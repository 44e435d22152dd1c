"""The models that clients can ask for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from axproxy.errors import ClientError, ProxyError, UnknownModel
from axproxy.models.context_length import ReportedContexts
from axproxy.models.derived import DerivedModels, TooManyDerived
from axproxy.models.model import Model, ModelDefaults
from axproxy.models.names import ModelName, local_name, same_model
from axproxy.models.pull_progress import LAST_STATUSES, PullFailed, PullProgress
from axproxy.models.store import ModelStore, read_record

_NONE = "there is no model yet; get one with: ax650 pull qwen3:1.7b"


class NoStore(ClientError):
    """Models cannot be kept or deleted here."""

    status_hint = 403


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

    def create(self, name: str, base: Model, defaults: ModelDefaults, *, copy: bool) -> Model:
        """Make `name` a model with the files of `base`; with `copy` it is the same model.

        Raises `ClientError` where the name belongs to a model with files of its own, or where
        there is no store.
        """

    def delete(self, model: Model, free: Callable[[], None]) -> None:
        """Delete a derived model, or a pulled one with its files, once `free` has returned.

        Raises `ClientError` for another one, and what `free` raises.
        """

    def pull(self, name: str) -> Iterator[PullProgress]:
        """Yield the progress until the model that `name` means is here.

        Closing the iterator stops the pull.  Raises `PullFailed`.
        """


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


class ModelCatalog:
    """The models of the store, those derived from them, and the one that is configured.

    `configured` returns that one as it is described now, and is None where the store has all
    models; the name that it had first stays valid.  `store` and `derived` are None where there is
    no store.  `default_folder` is that of the model for requests that name none.  `aliases` are
    further names; `*` stands for every name that is not known.  `context_length` returns what the
    runtime of a model has reported, None before that; `contexts` keeps it.  `pull` fetches a model
    into the store.
    """

    def __init__(
        self,
        configured: Callable[[], Model] | None,
        store: ModelStore | None = None,
        derived: DerivedModels | None = None,
        *,
        aliases: Mapping[str, str] = MappingProxyType({}),
        default_folder: Path | None = None,
        pull: Callable[[str], Generator[PullProgress, None, None]] | None = None,
        context_length: Callable[[Model], int | None] = lambda _model: None,
        contexts: ReportedContexts | None = None,
    ) -> None:
        self._configured = configured
        self._first_name = configured().name if configured else ""
        self._store = store
        self._derived = derived
        self._aliases = aliases
        self._default_folder = default_folder
        self._pull = pull
        self.context_length = context_length
        self._contexts = contexts

    def find(self, name: str) -> Model:
        base = local_name(name)
        if model := self._found(base):
            return model
        if self._store:  # it may have come within the last second
            self._store.look_again()
            if model := self._found(base):
                return model
        ModelName.parse(base)
        here = [model.name for model in self._known()]
        if not here:
            raise UnknownModel(f"model '{name}' not found; {_NONE}")
        raise UnknownModel(f"model '{name}' not found", here)

    def _found(self, base: str) -> Model | None:
        models = self._known()
        for wanted in filter(None, (base, self._alias(base))):
            for model in models:
                if same_model(wanted, model.name):
                    return self._with_context(model)
        if self._first_name and same_model(base, self._first_name):
            return self._with_context(models[0])
        return None

    def all(self) -> Sequence[Model]:
        return [self._with_context(model) for model in self._known()]

    def default(self) -> Model:
        models = self._known()
        if not models:
            raise UnknownModel(_NONE)
        chosen = next((each for each in models if each.folder == self._default_folder), models[0])
        return self._with_context(chosen)

    def create(self, name: str, base: Model, defaults: ModelDefaults, *, copy: bool) -> Model:
        if self._derived is None:
            raise NoStore("there is no store for models; set AX650_MODELS_DIR to a folder")
        if any(same_model(name, model.name) for model in self._with_files()):
            raise ClientError(f"'{name}' is a model with files of its own; choose another name")
        try:
            return self._derived.create(name, base, defaults, copy=copy)
        except TooManyDerived as error:
            raise ClientError(str(error)) from error
        except OSError as error:
            problem = f"cannot write to the store ({error.strerror}); make room, or fix its rights"
            raise ProxyError(problem) from error

    def delete(self, model: Model, free: Callable[[], None]) -> None:
        pulled = self._store is not None and self._store.has_pulled(model)
        if not (model.base or pulled):
            help_ = f"; remove its folder {model.folder} yourself" if model.folder else ""
            raise NoStore(f"'{model.name}' was not pulled, so it stays{help_}")
        made = self._derived.made_from(model) if self._derived and not model.base else []
        if made:  # Ollama would keep the files for them
            raise ClientError(
                f"'{model.name}' has the files of {', '.join(made)}; delete that first", status=409
            )
        try:
            if model.base and self._derived:
                self._derived.delete(model.name)
            elif self._store:
                free()
                self._store.delete(model)
        except OSError as error:
            raise ProxyError(f"cannot delete '{model.name}' ({error.strerror})") from error

    def pull(self, name: str) -> Iterator[PullProgress]:
        if self._pull is None or self._is_local(name):
            return pulled_before(self, name)
        return self._until_listed(self._pull(name))

    def _until_listed(
        self, progress: Generator[PullProgress, None, None]
    ) -> Generator[PullProgress, None, None]:
        """Yield the progress; the model is in the list when success is reported."""
        with contextlib.closing(progress):
            for each in progress:
                if self._store and each.status == LAST_STATUSES[-1]:
                    self._store.look_again()
                yield each

    def _is_local(self, name: str) -> bool:
        """Return whether the name means a model here that was not pulled, and so stays as it is."""
        try:
            model = self.find(name)
        except ClientError:
            return False
        return bool(model.base) or model.folder is None or not read_record(model.folder)

    def _known(self) -> list[Model]:
        """Return all models, the configured one first."""
        models = self._with_files()
        return models + (self._derived.models(models) if self._derived else [])

    def _with_files(self) -> list[Model]:
        first = [self._configured()] if self._configured else []
        used = {model.folder.resolve() for model in first if model.folder}
        stored = self._store.models() if self._store else []
        return first + [
            each for each in stored if each.folder and each.folder.resolve() not in used
        ]

    def _alias(self, base: str) -> str:
        for alias, name in self._aliases.items():
            if alias != "*" and same_model(base, alias):
                return name
        return self._aliases.get("*", "")

    def _with_context(self, model: Model) -> Model:
        """Return the model with the window that its runtime reports, or has reported before."""
        length = self.context_length(model)
        if self._contexts:
            if length:
                self._contexts.note(model.digest, length)
            else:
                length = self._contexts.get(model.digest)
        return replace(model, context_length=length or model.context_length)
