"""The pool of engines: which one answers, and what those who wait see."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from axproxy.engine.pool import EnginePool
from axproxy.engine.protocol import Loaded
from axproxy.errors import (
    ClientGone,
    NoModelYet,
    OnChange,
    ProxyError,
    RuntimeFault,
    Stopping,
    Unloadable,
)
from axproxy.messages import ChatRequest, Event, Finished, Message, Text
from axproxy.models.model import Model
from tests.support.fakes import QWEN, FakeEngine
from tests.support.waiting import eventually

A, B, C = (replace(QWEN, name=f"{name}:latest", folder=Path(f"/models/{name}")) for name in "abc")
HI = ChatRequest(messages=(Message("user", "Hi"),))


def here() -> bool:
    return False


@dataclass
class PooledEngine(FakeEngine):
    """A fake engine of one model; `hold` keeps its stop from ending."""

    model: Model = QWEN
    unloaded: bool = False
    started: int = 0
    stopped: int = 0
    hold: threading.Event | None = None

    def start(self, _on_change: OnChange) -> None:
        self.started += 1
        self.on_card = (Loaded(self.model, None),)

    def leave(self, _grace: float) -> None:
        self.stop()

    def stop(self) -> None:
        if self.hold:
            self.hold.wait(10)
        self.stopped += 1

    def context_length(self) -> int | None:
        return self.model.context_length


class Pool:
    """A pool in which `room` models fit together, and the engines that it has made."""

    def __init__(
        self,
        *preload: Model,
        room: int = 1,
        refusal: ProxyError | None = None,
        refused: Model | None = None,
    ) -> None:
        self.made: list[PooledEngine] = []
        self.refusal = refusal
        self.refused = refused  # the only model that is refused
        self.hold: threading.Event | None = None
        self.pool = EnginePool(self.make, lambda m: len(m) <= room, lambda: preload)
        self.pool.start()

    def make(self, model: Model, _beside: Sequence[Model]) -> PooledEngine:
        if self.refusal and self.refused in (None, model):
            raise self.refusal
        self.made.append(PooledEngine(model=model, hold=self.hold))
        return self.made[-1]

    def ask(self, model: Model) -> list[Event]:
        answer = self.pool.answer(model, HI, here)
        try:
            return [event for event in answer if event != Text("")]
        finally:
            answer.close()

    def on_card(self) -> list[str]:
        return sorted(loaded.model.name[0] for loaded in self.pool.loaded())


@pytest.fixture(name="pools")
def pools_to_stop() -> Iterator[list[Pool]]:
    pools: list[Pool] = []
    yield pools
    for each in pools:
        if each.hold:
            each.hold.set()
        each.pool.stop()


def test_the_preloaded_model_answers_at_once(pools: list[Pool]) -> None:
    pools.append(Pool(A))
    assert isinstance(pools[0].ask(A)[-1], Finished)
    assert [engine.started for engine in pools[0].made] == [1]


def test_another_model_is_loaded_in_its_place(pools: list[Pool]) -> None:
    pools.append(pool := Pool(A))
    assert pool.ask(B)
    assert pool.on_card() == ["b"]
    assert [engine.stopped for engine in pool.made] == [1, 0]
    assert pool.ask(A)  # a new engine: an old one was stopped for good
    assert [engine.model.name for engine in pool.made] == [A.name, B.name, A.name]


def test_models_that_fit_together_stay_on_the_card(pools: list[Pool]) -> None:
    pools.append(pool := Pool(A, room=2))
    pool.ask(B)
    assert pool.on_card() == ["a", "b"]
    pool.ask(A)
    pool.ask(C)  # b was not used since
    assert pool.on_card() == ["a", "c"]


def test_derived_models_share_the_engine_of_their_base(pools: list[Pool]) -> None:
    pools.append(pool := Pool(A))
    pool.ask(replace(A, name="pirate:latest"))
    assert len(pool.made) == 1


def test_a_running_answer_ends_before_its_model_leaves(pools: list[Pool]) -> None:
    pools.append(pool := Pool(A))
    running = pool.pool.answer(A, HI, here)
    waiting = pool.pool.answer(B, HI, here)
    assert [next(waiting) for _ in range(3)] == [Text("")] * 3
    assert pool.on_card() == ["a"]
    assert next(running) == Text("Hel")
    running.close()
    eventually(lambda: pool.on_card() == ["b"])
    waiting.close()


def test_an_answer_that_was_never_begun_frees_its_model_when_it_is_closed(
    pools: list[Pool],
) -> None:
    pools.append(pool := Pool(A))
    pool.pool.answer(A, HI, here).close()
    assert pool.ask(B)


def test_those_who_wait_for_a_switch_see_signs_of_life(pools: list[Pool]) -> None:
    pools.append(pool := Pool())
    pool.hold = threading.Event()
    pool.ask(A)
    waiting = pool.pool.answer(B, HI, here)
    assert next(waiting) == Text("")
    assert pool.pool.health().switching_to == B.name
    pool.hold.set()
    assert [event for event in waiting if event != Text("")]
    waiting.close()


def test_a_client_that_leaves_while_it_waits_holds_nothing_up(pools: list[Pool]) -> None:
    pools.append(pool := Pool(A))
    running = pool.pool.answer(A, HI, here)
    gone = pool.pool.answer(B, HI, lambda: True)
    with pytest.raises(ClientGone):
        list(gone)
    abandoned = pool.pool.answer(B, HI, here)
    next(abandoned)
    abandoned.close()
    running.close()
    assert pool.ask(A)
    assert [engine.model for engine in pool.made] == [A]


def test_a_model_that_cannot_be_loaded_says_why_and_leaves_the_other_on_the_card(
    pools: list[Pool],
) -> None:
    pools.append(pool := Pool(A))
    pool.refusal = RuntimeFault("layer 3 is missing; download the model again")
    with pytest.raises(RuntimeFault, match="layer 3 is missing"):
        pool.ask(B)
    assert pool.on_card() == ["a"]
    assert pool.ask(A)
    assert pool.made[0].stopped == 0


def test_an_unexpected_fault_of_a_start_reaches_those_who_wait(
    pools: list[Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.append(pool := Pool(A))

    def refuse(_engine: PooledEngine, _on_change: OnChange) -> None:
        raise OSError("port 8000 is taken")

    monkeypatch.setattr(PooledEngine, "start", refuse)
    with pytest.raises(RuntimeFault, match="b:latest cannot be started: port 8000 is taken"):
        pool.ask(B)
    monkeypatch.undo()
    assert pool.ask(B)


def test_a_model_that_left_by_its_keep_alive_is_loaded_by_its_own_engine(
    pools: list[Pool],
) -> None:
    pools.append(pool := Pool(A, room=2))
    pool.ask(B)
    pool.made[0].unloaded = True
    assert pool.ask(A)
    assert len(pool.made) == 2


def test_a_model_that_left_and_fits_no_more_takes_the_place_of_another(pools: list[Pool]) -> None:
    pools.append(pool := Pool(A, room=2))
    pool.ask(B)
    pool.made[0].unloaded = True
    pool.ask(C)
    pool.ask(A)
    assert pool.made[1].stopped == 1
    assert pool.made[0].stopped == 0


def test_every_question_goes_to_the_engine_of_its_model(pools: list[Pool]) -> None:
    pools.append(pool := Pool(A))
    assert pool.pool.count_tokens(B, HI, here) == 12
    assert pool.pool.render(B, HI, here).endswith("Hi")
    pool.pool.load(B, here, 5.0)
    pool.pool.unload(B)
    pool.pool.unload(A)  # which is not here
    pool.pool.restart()
    engine = pool.made[1]
    assert (engine.loads, engine.unloads, engine.restarts) == ([5.0], 1, 1)
    assert pool.pool.context_length(B) == 2559
    assert pool.pool.context_length(A) is None


def test_without_any_model_the_service_says_how_to_get_one(pools: list[Pool]) -> None:
    pools.append(pool := Pool())
    assert isinstance(pool.pool.not_ready(), NoModelYet)
    assert pool.pool.health().as_json()["status"] == "no model"
    with pytest.raises(RuntimeFault, match="no model is loaded"):
        pool.pool.restart()


def test_a_first_model_that_cannot_be_loaded_is_a_state_and_is_loaded_once_it_can(
    pools: list[Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("axproxy.engine.pool.NO_MODEL_INTERVAL", 0.01)
    pools.append(pool := Pool(A, refusal=Unloadable("there is no axllm on the PATH; build it")))
    problem = pool.pool.not_ready()
    body = pool.pool.health().as_json()
    assert isinstance(problem, Unloadable)
    assert (body["status"], body["runtime"]["note"]) == ("blocked", problem.message)
    with pytest.raises(Unloadable, match="no axllm on the PATH"):
        pool.ask(A)

    pool.refusal = None  # the owner has built it
    eventually(lambda: pool.on_card() == ["a"])
    assert pool.pool.not_ready() is None


def test_a_first_model_that_cannot_be_loaded_does_not_keep_out_the_next(
    pools: list[Pool], caplog: pytest.LogCaptureFixture
) -> None:
    pools.append(pool := Pool(A, B, room=2, refusal=Unloadable("a is damaged"), refused=A))
    assert pool.on_card() == ["b"]
    assert pool.pool.not_ready() is None
    assert "a is damaged" in caplog.text


def test_several_models_are_listed_in_the_health(pools: list[Pool]) -> None:
    pools.append(pool := Pool(A, room=2))
    assert "models" not in pool.pool.health().as_json()
    pool.ask(B)
    body = pool.pool.health().as_json()
    assert [each["status"] for each in body["models"]] == ["ok", "ok"]
    assert body["switching_to"] is None


def test_a_pool_that_leaves_refuses_what_is_new_and_ends_every_engine() -> None:
    pool = Pool(A, B, room=2)
    waiting = pool.pool.answer(C, HI, here)
    busy = [pool.pool.answer(model, HI, here) for model in (A, B)]
    next(waiting)
    pool.pool.leave(0)
    with pytest.raises(Stopping):
        next(waiting)
    with pytest.raises(Stopping):
        pool.pool.answer(A, HI, here)
    assert isinstance(pool.pool.not_ready(), Stopping)
    assert [engine.stopped for engine in pool.made] == [1, 1]
    for answer in busy:
        answer.close()


def test_many_clients_and_models_at_once_are_all_answered_and_never_overfill_the_card(
    pools: list[Pool],
) -> None:
    pools.append(pool := Pool(room=2))
    most, done = 0, list[str]()

    def client(model: Model) -> None:
        nonlocal most
        for _ in range(5):
            pool.ask(model)
            running = [engine for engine in pool.made if engine.started > engine.stopped]
            most = max(most, len(running))
            done.append(model.name)

    threads = [threading.Thread(target=client, args=(model,)) for model in (A, B, C, A, B, C)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert len(done) == 30
    assert most <= 2
