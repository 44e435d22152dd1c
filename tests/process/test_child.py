"""The life of one child, with a fake clock and fake processes."""

from __future__ import annotations

import logging
import signal
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.process.child import Child
from axproxy.process.restart import RestartPolicy
from axproxy.process.spec import ChildSpec
from axproxy.process.states import HAS_PROCESS, State

LADDER = ((signal.SIGINT, 10.0), (signal.SIGTERM, 5.0))


@dataclass
class FakeClock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeProcess:
    pid: int
    status: int | None = None
    signals: list[signal.Signals] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def poll(self) -> int | None:
        return self.status

    def signal(self, number: signal.Signals) -> None:
        self.signals.append(number)

    def last_words(self) -> list[str]:
        return self.words


@dataclass
class FakeProbe:
    ready: bool = False
    unusable: str | None = None
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """A child whose whole surroundings the test controls."""

    def __init__(self, **policy: float) -> None:
        self.clock = FakeClock()
        self.processes: list[FakeProcess] = []
        self.probes: list[FakeProbe] = []
        self.blocked_by: str | None = None
        self.spawn_error: OSError | None = None
        self.progress: object = 0
        self.stopped_answers = 0
        self.fails_before_stop = False
        self.hopeless: dict[int, str] = {}
        self.certain = True
        spec = ChildSpec(
            name="runtime",
            spawn=self._spawn,
            probe=self._probe,
            stop_ladder=lambda: LADDER,
            start_timeout=300,
            blocked_by=lambda: self.blocked_by,
            progress=lambda: self.progress,
            before_stop=self._before_stop,
            hopeless=self.hopeless.get,
            certain=lambda: self.certain,
            policy=RestartPolicy(**policy),
        )
        self.child = Child(spec, self.clock, logging.getLogger("test"))

    def _spawn(self) -> FakeProcess:
        if self.spawn_error:
            raise self.spawn_error
        self.processes.append(FakeProcess(100 + len(self.processes)))
        return self.processes[-1]

    def _probe(self, _pid: int) -> FakeProbe:
        self.probes.append(FakeProbe())
        return self.probes[-1]

    def _before_stop(self) -> None:
        self.stopped_answers += 1
        if self.fails_before_stop:
            raise OSError("too many open files")

    def tick(self, seconds: float = 0.25, may_start: bool = True, may_stay: bool = True) -> State:
        self.clock.now += seconds
        self.child.tick(may_start=may_start, may_stay=may_stay)
        return self.child.state

    def bring_up(self) -> None:
        while self.tick() is not State.STARTING:
            pass
        self.probes[-1].ready = True
        assert self.tick() is State.READY


def test_stopped_to_starting_to_ready() -> None:
    world = World()

    assert world.tick() is State.STARTING
    assert world.tick() is State.STARTING
    world.probes[0].ready = True
    assert world.tick() is State.READY


def test_it_waits_until_what_it_needs_is_ready() -> None:
    world = World()

    assert world.tick(may_start=False) is State.STOPPED
    assert world.tick(may_start=True) is State.STARTING


def test_it_waits_until_a_foreign_listener_is_gone_and_names_it() -> None:
    world = World()
    world.blocked_by = "port 8000 is held by llm-openai-api (pid 7)"

    for _ in range(50):
        assert world.tick() is State.STOPPED
    assert world.child.status().blocked_by == world.blocked_by
    world.blocked_by = None
    assert world.tick() is State.STARTING
    assert world.child.status().restarts == 0


def test_a_stop_whose_preparation_fails_still_begins_with_the_mildest_signal() -> None:
    world = World()
    world.bring_up()
    world.fails_before_stop = True
    with pytest.raises(OSError, match="too many open files"):
        world.tick(may_stay=False)
    assert world.tick(may_stay=False) is State.STOPPING

    assert world.processes[0].signals == [signal.SIGINT]


def test_it_waits_silently_while_it_is_not_known_what_blocks_it() -> None:
    world = World()
    world.blocked_by = ""

    assert world.tick() is State.STOPPED
    assert world.child.status().blocked_by is None
    world.blocked_by = None
    assert world.tick() is State.STARTING


def test_starting_to_backoff_when_it_exits() -> None:
    world = World()
    world.tick()
    world.processes[0].status = 255
    world.processes[0].words = ["lLaMa.Init failed"]

    assert world.tick() is State.BACKOFF
    status = world.child.status()
    assert status.last_exit == "exited with status 255"
    assert "lLaMa.Init failed" in status.note
    assert status.pid is None


def test_the_output_of_a_child_that_has_served_is_not_shown() -> None:
    world = World()
    world.bring_up()
    world.processes[0].status = -11
    world.processes[0].words = ["You said: my PIN is 4711"]
    world.tick()

    assert world.child.status().note == "killed by SIGSEGV"


def test_backoff_to_starting_after_a_growing_delay() -> None:
    world = World(first_delay=1, longest_delay=8, attempts=10)
    delays = []
    for _ in range(5):
        while world.tick() is not State.STARTING:
            pass
        world.processes[-1].status = 1
        world.tick()
        died = world.clock.now
        while world.child.state is State.BACKOFF:
            world.tick(0.25)
        delays.append(round(world.clock.now - died))
    assert delays == [1, 2, 4, 8, 8]


def test_backoff_to_failed_after_too_many_failures_in_a_row() -> None:
    world = World(attempts=3, first_delay=1)
    for _ in range(200):
        if world.tick() is State.STARTING:
            world.processes[-1].status = -11
        if world.child.state is State.FAILED:
            break

    assert world.child.state is State.FAILED
    assert len(world.processes) == 4
    assert "4 failures" in world.child.status().note
    assert world.tick(1000) is State.FAILED


def test_failed_to_starting_by_an_operator_only() -> None:
    world = World(attempts=0)
    world.tick()
    world.processes[0].status = 1
    world.tick()
    assert world.tick() is State.FAILED

    world.child.reset_failed()
    assert world.tick() is State.STARTING
    assert world.child.status().restarts == 1


def give_up(world: World) -> None:
    while world.tick() is not State.FAILED:
        if world.processes[-1].status is None:
            world.processes[-1].status = -11


def test_a_failed_child_is_tried_once_an_hour() -> None:
    world = World(attempts=2, first_delay=1)
    give_up(world)
    for trial in range(3):
        assert len(world.processes) == 3 + trial
        assert world.tick(3590) is State.FAILED
        assert world.tick(20, may_start=False) is State.FAILED  # the child before it is not ready
        assert world.tick() is State.STARTING
        give_up(world)  # after one failure


def test_a_trial_that_succeeds_resets_the_failures() -> None:
    world = World(attempts=2, first_delay=1, settled_after=60)
    give_up(world)
    world.tick(3600)
    world.probes[-1].ready = True
    assert world.tick() is State.READY
    world.tick(61)
    for _ in range(2):
        world.processes[-1].status = -11
        assert world.tick() is State.BACKOFF
        world.bring_up()


def test_a_reset_by_an_operator_allows_all_attempts_again() -> None:
    world = World(attempts=2, first_delay=1)
    give_up(world)
    world.child.reset_failed()
    assert world.tick() is State.STARTING
    give_up(world)

    assert len(world.processes) == 6


def test_a_child_that_stays_ready_is_forgiven_its_failures() -> None:
    world = World(attempts=1, first_delay=1, settled_after=60)
    for _ in range(5):
        world.bring_up()
        world.tick(61)
        world.processes[-1].status = -11
        assert world.tick() is State.BACKOFF


def test_a_spawn_that_fails_counts_as_a_failure() -> None:
    world = World()
    world.spawn_error = FileNotFoundError("main_api is not there")
    world.tick()

    assert world.tick() is State.BACKOFF
    assert world.child.status().note == "main_api is not there"


def test_a_slow_start_is_not_stopped_while_it_makes_progress() -> None:
    world = World()
    for percent in range(20):
        world.progress = percent
        assert world.tick(250) is State.STARTING


def test_no_progress_while_starting_times_out_and_counts_as_a_failure() -> None:
    world = World()
    world.tick()
    assert world.tick(301) is State.STOPPING
    world.processes[0].status = 0
    assert world.tick() is State.STOPPED
    assert world.tick() is State.BACKOFF
    assert "no progress for 300 s" in world.child.status().note


def test_a_stop_goes_through_the_ladder_step_by_step() -> None:
    world = World()
    world.bring_up()
    process = world.processes[0]

    assert world.tick(may_stay=False) is State.STOPPING
    assert world.stopped_answers == 1
    assert process.signals == [signal.SIGINT]
    for _ in range(39):
        world.tick(may_stay=False)
    assert set(process.signals) == {signal.SIGINT}  # repeated: one during a load is lost
    for _ in range(10):
        world.tick(may_stay=False)
    assert process.signals[-1] is signal.SIGTERM
    for _ in range(22):
        world.tick(may_stay=False)
    assert process.signals[-1] is signal.SIGKILL
    process.status = -9
    assert world.tick(may_stay=False) is State.STOPPED


def test_a_child_that_exits_at_once_gets_no_stronger_signal() -> None:
    world = World()
    world.bring_up()
    world.tick(may_stay=False)
    world.processes[0].status = 0

    assert world.tick(may_stay=False) is State.STOPPED
    assert world.processes[0].signals == [signal.SIGINT]
    assert world.probes[0].cancelled


def test_a_wedged_child_is_restarted_and_counted() -> None:
    world = World()
    world.bring_up()
    world.child.restart(100, "no token for 60 s")

    assert world.tick() is State.STOPPING
    world.processes[0].status = 0
    assert world.tick() is State.STOPPED
    assert world.tick() is State.BACKOFF
    assert world.child.status().note == "no token for 60 s"


def test_a_late_restart_does_not_hit_the_successor() -> None:
    world = World()
    world.bring_up()
    world.processes[0].status = -11
    world.tick()
    world.bring_up()
    world.child.restart(100, "about the first one")

    assert world.tick() is State.READY
    assert world.tick() is State.READY


def test_a_child_that_is_unusable_counts_as_failed() -> None:
    world = World(attempts=2, first_delay=1)
    for _ in range(500):
        state = world.tick(1)
        if state is State.STARTING:
            world.probes[-1].unusable = "the self-test failed"
        if state is State.STOPPING:
            world.processes[-1].status = 0
        if state is State.FAILED:
            break

    assert world.child.state is State.FAILED
    assert "the self-test failed" in world.child.status().note


def test_backoff_to_stopped_when_no_longer_wanted() -> None:
    world = World()
    world.tick()
    world.processes[0].status = 1
    world.tick()

    assert world.tick(may_stay=False) is State.STOPPED
    assert world.tick(1000, may_stay=False, may_start=False) is State.STOPPED


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["tick", "exit", "ready", "unusable", "wedge", "revive", "block"]),
            st.booleans(),
            st.booleans(),
            st.floats(0, 400),
        ),
        max_size=60,
    )
)
def test_whatever_happens_a_child_has_at_most_one_process(
    history: list[tuple[str, bool, bool, float]],
) -> None:
    world = World(attempts=2)
    for what, start, stay, seconds in history:
        if what == "exit" and world.processes:
            world.processes[-1].status = 1
        elif what == "ready" and world.probes:
            world.probes[-1].ready = True
        elif what == "unusable" and world.probes:
            world.probes[-1].unusable = "so it is"
        elif what == "wedge" and world.processes:
            world.child.restart(world.processes[-1].pid, "stuck")
        elif what == "revive":
            world.child.reset_failed()
        elif what == "block":
            world.blocked_by = None if world.blocked_by else "the port is held"
        state = world.tick(seconds, may_start=start and stay, may_stay=stay)
        running = [process for process in world.processes if process.status is None]
        assert len(running) <= 1
        if state not in HAS_PROCESS:
            assert not running


@pytest.mark.parametrize("state", list(State))
def test_the_status_of_every_state_can_be_shown(state: State) -> None:
    world = World()
    world.child.state = state

    assert world.child.status().state is state


def test_a_hopeless_child_is_not_started_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(attempts=8, first_delay=1)
    world.hopeless[2] = "the card is dead; power off at the wall"
    while world.tick() is not State.FAILED:
        if world.processes[-1].status is None:
            world.processes[-1].status = 255

    assert len(world.processes) == 2
    note = world.child.status().note
    assert note == "gave up after 2 failures in a row: the card is dead; power off at the wall"
    assert note in caplog.text
    assert world.tick(1e9) is State.FAILED  # no hourly trial for a dead card
    world.child.reset_failed()
    assert world.tick() is State.STARTING  # an operator may have fixed it


def test_a_reason_that_is_in_doubt_is_tried_again_every_minute() -> None:
    world = World(attempts=8, first_delay=1)
    world.hopeless[2], world.certain = "the card may be dead", False
    while world.tick() is not State.FAILED:
        if world.processes[-1].status is None:
            world.processes[-1].status = 255

    assert world.tick(59.0) is State.FAILED
    assert world.tick(1.0) is State.STARTING


def test_a_child_that_ends_while_it_starts_has_its_last_lines_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.tick()
    failed = "[E][ Init][ 210]: init axmodel(l7.axmodel) failed"
    world.processes[-1].words = [
        *map(str, range(50)),
        failed,
        "[E][ main][ 531]: lLaMa.Init failed",
    ]
    world.processes[-1].status = 255
    world.tick()

    logged = [r.getMessage().partition("ended: ")[2] for r in caplog.records]
    assert [line for line in logged if line] == world.processes[-1].words[-20:]
    note = world.child.status().note
    assert note == f"exited with status 255; it printed: {failed}"  # the first error, not the last


def test_the_lines_of_a_child_that_serves_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.tick()
    world.probes[-1].ready = True
    world.tick()
    world.processes[-1].words, world.processes[-1].status = ["a prompt"], 255
    world.tick()

    assert "a prompt" not in caplog.text


def test_the_exit_of_a_child_that_was_told_to_stop_is_not_explained_as_a_failure() -> None:
    world = World()
    world.tick()
    world.tick(may_start=False, may_stay=False)
    world.processes[-1].status = 0
    world.tick(may_start=False, may_stay=False)

    assert world.child.status().last_exit == "exited with status 0"
