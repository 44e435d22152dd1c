"""The general supervisor over rows of one, two and three made-up children."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from axproxy.errors import GaveUp, Starting, Unavailable, Unloaded
from axproxy.health import ChildHealth, RuntimeHealth
from axproxy.process.probe import NotReady, Probe
from axproxy.process.process import RealProcess
from axproxy.process.restart import RestartPolicy
from axproxy.process.spec import ChildSpec, Status
from axproxy.process.states import HAS_PROCESS, State
from axproxy.process.supervisor import RowSupervisor
from tests.support.ports import own_port
from tests.support.waiting import eventually

NAMES = ("store", "tokenizer", "runtime")
SIZES = pytest.mark.parametrize("size", [1, 2, 3])
QUICK = RestartPolicy(attempts=2, first_delay=0.05, longest_delay=0.1, settled_after=60)


@dataclass
class MadeUpRecipe:
    """A row that knows no vendor program."""

    specs: Sequence[ChildSpec]
    port: int = 0
    calls: list[str] = field(default_factory=list)

    def children(self) -> Sequence[ChildSpec]:
        return self.specs

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def load_percent(self) -> int | None:
        return None

    def health(self, status: str, children: Sequence[ChildHealth]) -> RuntimeHealth:
        tokenizer = children[-2] if len(children) > 1 else None
        return RuntimeHealth(status, "made-up", children[-1], tokenizer)


# Fake processes on a clock of their own: what is started and signalled, in which order.


@dataclass
class FakeProcess:
    name: str
    pid: int
    history: list[str]
    stubborn: bool
    status: int | None = None

    def poll(self) -> int | None:
        return self.status

    def signal(self, number: signal.Signals) -> None:
        self.history.append(f"{number.name} to {self.name}")
        if not self.stubborn:
            self.status = -number

    def last_words(self) -> list[str]:
        return []


@dataclass
class FakeProbe:
    ready: bool = True
    unusable: str | None = None

    def cancel(self) -> None: ...


class History:
    """A row of fake processes; `walk` lets time pass.

    Children named in `surviving` go on without the one before them, those in `dying` end at once,
    those in `stubborn` heed no signal.
    """

    def __init__(
        self,
        size: int,
        surviving: Sequence[str] = (),
        dying: Sequence[str] = (),
        stubborn: Sequence[str] = (),
    ) -> None:
        self.now = 1000.0
        self.lines: list[str] = []
        self.alive: dict[str, FakeProcess] = {}
        self.dying = set(dying)
        self.stubborn = set(stubborn)
        self.spent: set[str] = set()
        self._pids = iter(range(100, 10_000))
        specs = [self._spec(name, name in surviving) for name in NAMES[-size:]]
        self.supervisor = RowSupervisor(MadeUpRecipe(specs), lambda: self.now)

    def _spec(self, name: str, survives: bool) -> ChildSpec:
        def spawn() -> FakeProcess:
            self.lines.append(f"start {name}")
            process = FakeProcess(name, next(self._pids), self.lines, name in self.stubborn)
            if name in self.dying:
                process.status = 1
            self.alive[name] = process
            return process

        return ChildSpec(
            name=name,
            spawn=spawn,
            probe=lambda _pid: FakeProbe(ready=name not in self.dying),
            stop_ladder=lambda: ((signal.SIGINT, 60.0),),
            start_timeout=300,
            survives_previous=survives,
            spent=lambda _row: name in self.spent,
            policy=QUICK,
        )

    def walk(self, ticks: int = 40) -> list[str]:
        """Let `ticks` quarters of a second pass; return what happened meanwhile."""
        before = len(self.lines)
        for _ in range(ticks):
            self.now += 0.25
            self.supervisor._tick()
        return self.lines[before:]

    def kill(self, name: str) -> None:
        self.alive[name].status = -signal.SIGKILL

    def states(self) -> list[State]:
        return [status.state for status in self.supervisor.snapshot()]


@SIZES
def test_children_start_in_order_each_once_the_one_before_it_is_ready(size: int) -> None:
    history = History(size)
    for index, name in enumerate(NAMES[-size:]):
        while f"start {name}" not in history.lines:
            history.walk(1)
        assert history.states()[:index] == [State.READY] * index
    history.walk()

    assert history.lines == [f"start {name}" for name in NAMES[-size:]]
    assert history.supervisor.not_ready() is None


@SIZES
def test_children_stop_in_the_reverse_order_each_once_the_next_has_ended(size: int) -> None:
    history = History(size, stubborn=NAMES)
    history.walk()
    history.supervisor._wanted = False
    for name in reversed(NAMES[-size:]):
        seen = history.walk(4)
        assert set(seen) == {f"SIGINT to {name}"}
        history.kill(name)
    history.walk(4)
    assert history.states() == [State.STOPPED] * size


def test_the_death_of_the_middle_one_takes_only_the_last_with_it() -> None:
    history = History(3)
    history.walk()
    history.kill("tokenizer")

    assert history.walk() == ["SIGINT to runtime", "start tokenizer", "start runtime"]
    assert history.supervisor.not_ready() is None


def test_a_child_that_survives_goes_on_while_the_one_before_it_is_restarted() -> None:
    history = History(3, surviving=["runtime"])
    history.walk()
    history.kill("tokenizer")
    seen = history.walk(2)
    problem = history.supervisor.not_ready()

    assert isinstance(problem, Starting)
    assert problem.message == "the tokenizer is being restarted; try again in a moment"
    assert [*seen, *history.walk()] == ["start tokenizer"]
    assert history.supervisor.not_ready() is None


def test_the_death_of_the_first_one_takes_all_that_need_it() -> None:
    history = History(3)
    history.walk()
    history.kill("store")
    seen = history.walk()

    assert seen[-3:] == ["start store", "start tokenizer", "start runtime"]
    assert set(seen[:-3]) == {"SIGINT to tokenizer", "SIGINT to runtime"}


def test_a_child_that_has_served_its_purpose_is_replaced() -> None:
    history = History(2)
    history.walk()
    history.spent.add("tokenizer")
    history.walk(1)
    history.spent.clear()

    assert history.walk()[-2:] == ["start tokenizer", "start runtime"]


@SIZES
def test_a_restart_concerns_the_last_one_and_only_the_process_that_was_meant(size: int) -> None:
    history = History(size)
    history.walk()
    pid = history.supervisor.pid()
    assert history.supervisor.restart("an operator asked", pid)
    assert isinstance(history.supervisor.not_ready(), Starting)

    assert history.walk() == ["SIGINT to runtime", "start runtime"]
    history.supervisor.restart("late", pid)
    assert history.walk() == []


@SIZES
def test_unloading_stops_the_last_one_and_loading_starts_it_again(size: int) -> None:
    history = History(size)
    history.walk()
    history.supervisor.unload()
    assert history.walk() == ["SIGINT to runtime"]
    assert isinstance(history.supervisor.not_ready(), Unloaded)
    assert history.supervisor.health().status == "unloaded"
    history.supervisor.load()

    assert history.walk() == ["start runtime"]
    assert history.supervisor.not_ready() is None


@SIZES
def test_a_child_that_keeps_dying_is_given_up_until_it_is_loaded_again(size: int) -> None:
    history = History(size, dying=["runtime"])
    history.walk()
    assert history.lines.count("start runtime") == 3
    assert isinstance(history.supervisor.not_ready(), GaveUp)
    assert history.supervisor.health().status == "failed"
    history.dying.clear()
    history.supervisor.load()

    history.walk()
    assert history.supervisor.not_ready() is None
    assert set(history.states()) == {State.READY}


@SIZES
def test_leaving_refuses_requests_and_stops_nothing(size: int) -> None:
    history = History(size)
    history.walk()
    history.supervisor.leave()

    assert isinstance(history.supervisor.not_ready(), Unavailable)
    assert history.supervisor.interruption() is None
    assert history.walk() == []


def test_an_answer_is_interrupted_from_the_first_signal_until_the_next_start() -> None:
    history = History(1, stubborn=NAMES)
    history.walk()
    history.supervisor.restart("stuck", history.supervisor.pid())
    assert history.supervisor.interruption() is None
    history.walk(1)
    assert history.supervisor.interruption()
    history.kill("runtime")
    history.walk()
    assert history.supervisor.interruption() is None


def test_health_shows_one_child_without_a_tokenizer() -> None:
    history = History(1)
    history.walk()
    health = history.supervisor.health()

    assert health.as_json()["tokenizer"] is None
    assert health.model_loaded
    assert health.status == "ok"


# The same with real processes.

IDLE = "import time; time.sleep(600)"
DIES = "import sys; print('no such model'); sys.exit(3)"


def real(name: str, code: str = IDLE) -> ChildSpec:
    def check_ready(_cancelled: object) -> None:
        if code is DIES:
            raise NotReady

    return ChildSpec(
        name=name,
        spawn=lambda: RealProcess([sys.executable, "-c", code], logging.getLogger(name)),
        probe=lambda _pid: Probe(check_ready, lambda: None, pause=0.01),
        stop_ladder=lambda: ((signal.SIGTERM, 5.0),),
        start_timeout=60,
        policy=QUICK,
    )


Make = Callable[[Sequence[ChildSpec]], RowSupervisor]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[RowSupervisor] = []

    def started(specs: Sequence[ChildSpec]) -> RowSupervisor:
        made.append(RowSupervisor(MadeUpRecipe(specs, own_port())))
        made[-1].start()
        return made[-1]

    yield started
    for supervisor in made:
        supervisor.stop()


def pids(supervisor: RowSupervisor) -> list[int]:
    return [status.pid or 0 for status in supervisor.snapshot()]


def running(row: Sequence[Status]) -> list[bool]:
    return [status.state in HAS_PROCESS for status in row]


@SIZES
def test_a_row_of_real_processes_starts_restarts_unloads_and_stops(make: Make, size: int) -> None:
    supervisor = make([real(name) for name in NAMES[-size:]])
    supervisor.wait_ready(lambda: False)
    first = pids(supervisor)
    os.kill(first[-1], signal.SIGKILL)
    assert "killed by SIGKILL" in supervisor.why_gone(first[-1])
    supervisor.wait_ready(lambda: False)
    assert pids(supervisor)[:-1] == first[:-1]
    supervisor.unload()
    eventually(lambda: running(supervisor.snapshot()) == [True] * (size - 1) + [False])
    supervisor.load()
    supervisor.wait_ready(lambda: False)
    last = pids(supervisor)
    supervisor.stop()

    assert running(supervisor.snapshot()) == [False] * size
    for pid in last:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert supervisor.recipe.calls == ["start", "stop"]  # type: ignore[attr-defined]  # ours


def test_the_middle_one_of_real_processes_comes_back_with_the_last(make: Make) -> None:
    supervisor = make([real(name) for name in NAMES])
    supervisor.wait_ready(lambda: False)
    store, tokenizer, runtime = pids(supervisor)
    os.kill(tokenizer, signal.SIGKILL)
    eventually(lambda: pids(supervisor)[2] not in (runtime, 0))
    supervisor.wait_ready(lambda: False)

    assert pids(supervisor)[0] == store
    assert pids(supervisor)[1] != tokenizer
    assert supervisor.snapshot()[2].last_exit == "killed by SIGTERM"


@SIZES
def test_a_real_process_that_cannot_work_is_given_up(make: Make, size: int) -> None:
    supervisor = make([*(real(name) for name in NAMES[-size:-1]), real("runtime", DIES)])
    problem = eventually(lambda: isinstance(found := supervisor.not_ready(), GaveUp) and found)

    assert "no such model" in problem.message
    assert "POST /restart" in problem.message
