"""The general supervisor over rows of one, two and three made-up children."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from axproxy.errors import GaveUp, Restarting, Starting, Unavailable, Unloaded
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
    history: History
    name: str
    unusable: str | None = None

    @property
    def ready(self) -> bool:
        return self.name not in self.history.dying | self.history.loading

    def cancel(self) -> None: ...


class History:
    """A row of fake processes; `walk` lets time pass.

    Children named in `surviving` go on without the one before them, those in `dying` end at once,
    those in `stubborn` heed no signal, those in `loading` are not ready yet.
    """

    def __init__(
        self,
        size: int,
        surviving: Sequence[str] = (),
        dying: Sequence[str] = (),
        stubborn: Sequence[str] = (),
        loading: Sequence[str] = (),
        dies_with: int = 1,
        policy: RestartPolicy = QUICK,
    ) -> None:
        self.now = 1000.0
        self.lines: list[str] = []
        self.alive: dict[str, FakeProcess] = {}
        self.dying = set(dying)
        self.stubborn = set(stubborn)
        self.loading = set(loading)
        self.spent: set[str] = set()
        self.blocked_by: str | None = None
        self.waiting_for: str | None = None
        self._dies_with = dies_with
        self._policy = policy
        self._pids = iter(range(100, 10_000))
        specs = [self._spec(name, name in surviving) for name in NAMES[-size:]]
        self.supervisor = RowSupervisor(MadeUpRecipe(specs), lambda: self.now)

    def _spec(self, name: str, survives: bool) -> ChildSpec:
        def spawn() -> FakeProcess:
            self.lines.append(f"start {name}")
            process = FakeProcess(name, next(self._pids), self.lines, name in self.stubborn)
            if name in self.dying:
                process.status = self._dies_with
            self.alive[name] = process
            return process

        return ChildSpec(
            name=name,
            spawn=spawn,
            probe=lambda _pid: FakeProbe(self, name),
            stop_ladder=lambda: ((signal.SIGINT, 60.0),),
            start_timeout=300,
            survives_previous=survives,
            spent=lambda _row: name in self.spent,
            blocked_by=lambda: self.blocked_by,
            waits_for=lambda: self.waiting_for,
            policy=self._policy,
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
def test_an_ordered_restart_is_no_failure_and_nothing_waits_for_it(size: int) -> None:
    history = History(size)
    history.walk()
    for number in range(1, 13):
        history.supervisor.order_restart()
        assert isinstance(history.supervisor.not_ready(), Starting)
        assert history.walk(4) == ["SIGINT to runtime", "start runtime"]  # within a second
        assert history.supervisor.not_ready() is None
        status = history.supervisor.snapshot()[-1]
        assert (status.restarts, status.failures) == (number, 0)
    assert status.last_exit == "killed by SIGINT"


@SIZES
def test_an_order_ends_a_pause_and_forgets_the_failures(size: int) -> None:
    history = History(size, dying=["runtime"], policy=RestartPolicy(first_delay=300.0))
    history.walk()
    assert history.lines.count("start runtime") == 1
    assert history.states()[-1] is State.BACKOFF
    history.dying.clear()
    history.supervisor.order_restart()

    assert history.walk(4) == ["start runtime"]
    assert history.supervisor.not_ready() is None
    assert history.supervisor.snapshot()[-1].failures == 0


def test_an_order_during_a_load_lets_the_load_go_on() -> None:
    history = History(1, loading=["runtime"])
    history.walk()
    history.supervisor.order_restart()
    history.walk()
    history.loading.clear()

    assert history.walk() == []
    assert history.supervisor.not_ready() is None


def waits(history: History, seconds: float, hold: float) -> bool:
    """Whether a request that would wait `hold` seconds in a pause still waits after `seconds`."""
    waiting = history.supervisor.until_ready(lambda: False, hold)
    end = history.now + seconds
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("axproxy.process.supervisor.TICK", 0.0)  # the time is made up here
        for _ in waiting:
            history.walk(1)
            if history.now > end:
                return True
    return False


def test_a_request_waits_for_the_load_after_a_crash_as_for_a_first_load() -> None:
    history = History(1)
    history.walk()
    history.loading.add("runtime")
    history.kill("runtime")
    history.walk(1)

    assert waits(history, 250, hold=30)  # a slow card on a Pi


def test_a_request_does_not_wait_out_a_long_pause() -> None:
    history = History(1, dying=["runtime"], policy=RestartPolicy(first_delay=40.0))
    history.walk(8)
    with pytest.raises(Restarting, match="exited with status 1") as raised:
        waits(history, 250, hold=30)
    assert (raised.value.retry_after or 0) > 30
    assert history.now < 1010


@pytest.mark.parametrize(("status", "starts"), [(3, 1), (-signal.SIGSEGV, 2)])
def test_a_load_ends_with_the_first_failure_or_the_second_where_that_may_be_chance(
    status: int, starts: int
) -> None:
    history = History(2, dying=["runtime"], dies_with=status, policy=RestartPolicy())
    with pytest.raises(Restarting, match="the runtime failed"):
        waits(history, 250, hold=0)
    assert history.lines.count("start runtime") == starts


def test_what_goes_away_by_itself_is_waited_for_and_named() -> None:
    history = History(1)
    history.walk()
    history.waiting_for = "waiting for the card to free its memory, at most 60 s"
    history.kill("runtime")
    history.walk()
    problem = history.supervisor.not_ready()

    assert isinstance(problem, Starting)
    assert "about to start: waiting for the card to free its memory" in problem.message
    assert history.supervisor.health().runtime.note == history.waiting_for
    assert waits(history, 59, hold=0)
    history.waiting_for = None
    assert not waits(history, 2, hold=0)


def test_what_stands_in_the_way_is_waited_for_as_long_as_it_may_be_over_by_itself() -> None:
    history = History(1)
    history.blocked_by = "port 8000 is held by main_api (pid 7), left from an earlier run"
    history.walk(2)
    assert waits(history, 5, hold=30)
    with pytest.raises(Unavailable, match="cannot start: port 8000") as raised:
        waits(history, 250, hold=30)
    assert not isinstance(raised.value, Starting)


def test_the_reason_of_the_last_failure_is_still_known_during_the_next_start() -> None:
    history = History(1, dying=["runtime"], loading=["runtime"])
    history.walk(1)
    history.dying.clear()
    history.walk(4)
    assert history.states() == [State.STARTING]
    problem = history.supervisor.not_ready()
    assert problem
    assert "(before: exited with status 1)" in problem.message
    history.loading.clear()
    history.walk()
    assert history.supervisor.health().runtime.note is None


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
