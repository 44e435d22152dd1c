"""An engine that answers from a script and records its requests, and a catalogue for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from axproxy.engine.protocol import Gone, Loaded
from axproxy.errors import ProxyError
from axproxy.health import ChildHealth, Health, RuntimeHealth
from axproxy.messages import (
    ChatRequest,
    Embeddings,
    EmbedRequest,
    Event,
    Finished,
    Text,
    Usage,
)
from axproxy.models.catalog import ModelCatalog, pulled_before
from axproxy.models.model import Model, ModelDefaults
from axproxy.models.pull_progress import PullProgress

USAGE = Usage(
    prompt_tokens=12, completion_tokens=2, total=1.5, load=0.25, prompt_eval=0.5, eval=0.125
)
QWEN = Model(
    name="qwen3:0.6b",
    folder=Path("/models/qwen3-0.6b"),
    family="qwen3",
    parameter_size="0.6B",
    quantization="W8A16",
    size=780_000_000,
    digest="3bd6d254bdf09b63423230a3bd0ee4f9a72930998fe68e6807755ce00d6f737e",
    modified_at=datetime(2026, 11, 20, 12, 25, 47, tzinfo=UTC),
    context_length=2559,
    layers=28,
    embedding_length=1024,
    vocabulary=151936,
)

Step = Event | BaseException  # an exception is raised instead of an event

HELLO: tuple[Step, ...] = (Text("Hel"), Text("lo"), Finished("stop", USAGE))


class FakeAnswer:
    """`taken` counts the events asked for, `closed` the calls of `close`."""

    def __init__(self, script: Iterable[Step]) -> None:
        self._script = iter(script)
        self.taken = 0
        self.closed = 0

    def __iter__(self) -> FakeAnswer:
        return self

    def __next__(self) -> Event:
        if self.closed:
            raise StopIteration
        step = next(self._script)
        self.taken += 1
        if isinstance(step, BaseException):
            raise step
        return step

    def close(self) -> None:
        self.closed += 1


@dataclass
class FakeModels:
    """The catalogue of one model, which a test may replace."""

    model: Model = QWEN

    def find(self, name: str) -> Model:
        return ModelCatalog(lambda: self.model).find(name)

    def all(self) -> Sequence[Model]:
        return (self.model,)

    def default(self) -> Model:
        return self.model

    def create(self, name: str, base: Model, defaults: ModelDefaults, *, copy: bool) -> Model:
        return ModelCatalog(lambda: self.model).create(name, base, defaults, copy=copy)

    def delete(self, model: Model, free: Callable[[], None]) -> None:
        ModelCatalog(lambda: self.model).delete(model, free)

    def pull(self, name: str) -> Iterator[PullProgress]:
        return pulled_before(self, name)


@dataclass
class FakeEngine:
    """Every answer follows `script`; `refusal` is raised instead of an answer or a load."""

    script: Iterable[Step] = HELLO
    problem: ProxyError | None = None
    refusal: BaseException | None = None
    on_card: Sequence[Loaded] = (Loaded(QWEN, None),)
    models: list[Model] = field(default_factory=list)  # that were asked to answer
    history: list[ChatRequest] = field(default_factory=list)
    counted: list[ChatRequest] = field(default_factory=list)  # instead of answered
    embedded: list[EmbedRequest] = field(default_factory=list)
    gones: list[Gone] = field(default_factory=list)
    answers: list[FakeAnswer] = field(default_factory=list)
    loads: list[float | None] = field(default_factory=list)  # each with its `keep_alive`
    unloads: int = 0
    restarts: int = 0

    def answer(self, model: Model, request: ChatRequest, gone: Gone) -> FakeAnswer:
        self.models.append(model)
        self.history.append(request)
        self.gones.append(gone)
        if self.refusal:
            raise self.refusal
        self.answers.append(FakeAnswer(self.script))
        return self.answers[-1]

    def embed(self, model: Model, request: EmbedRequest, gone: Gone) -> Embeddings:
        self.models.append(model)
        self.embedded.append(request)
        self.gones.append(gone)
        if self.refusal:
            raise self.refusal
        vectors = tuple((3.0, 4.0, float(at)) for at in range(len(request.inputs)))
        return Embeddings(vectors, 7 * len(request.inputs), 1.5, 0.25)

    def count_tokens(self, model: Model, request: ChatRequest, gone: Gone) -> int:
        self.models.append(model)
        self.counted.append(request)
        self.gones.append(gone)
        if self.refusal:
            raise self.refusal
        return USAGE.prompt_tokens

    def render(self, model: Model, request: ChatRequest, gone: Gone) -> str:
        self.count_tokens(model, request, gone)
        return "<|im_start|>" + request.messages[-1].content

    def not_ready(self) -> ProxyError | None:
        return self.problem

    def loaded(self) -> Sequence[Loaded]:
        return self.on_card

    def unload(self, _model: Model) -> None:
        self.unloads += 1

    def load(self, _model: Model, gone: Gone, keep_alive: float | None = None) -> None:
        self.loads.append(keep_alive)
        self.gones.append(gone)
        if self.refusal:
            raise self.refusal

    def restart(self) -> None:
        self.restarts += 1
        if self.refusal:
            raise self.refusal

    def health(self) -> Health:
        return Health(
            model=QWEN.name,
            model_path=str(QWEN.folder),
            runtime=RuntimeHealth("ok", "vendor", ChildHealth("ready", since=0.0)),
        )
