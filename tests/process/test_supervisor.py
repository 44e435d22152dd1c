"""The tokenizer and the runtime under their supervisor, with small real programs for both."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

from axproxy.errors import GaveUp, Starting, Unavailable, Unloaded
from axproxy.process.instance_lock import AlreadySupervised, InstanceLock
from axproxy.process.probe import NotReady, Probe
from axproxy.process.process import RealProcess
from axproxy.process.restart import RestartPolicy
from axproxy.process.spec import ChildSpec
from axproxy.process.states import State
from axproxy.settings import Settings
from runtime_supervisor import RuntimeSupervisor
from tests.support.ports import own_port
from tests.support.waiting import eventually

IDLE = "import time; time.sleep(60)"
DIES = "import sys; print('no card'); sys.exit(255)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "print('ignoring SIGINT', flush=True); time.sleep(60)"
)

QUICK = RestartPolicy(attempts=2, first_delay=0.05, longest_delay=0.1, settled_after=60)


def spec(name: str, code: str = IDLE, check: Callable[[], None] | None = None) -> ChildSpec:
    def checked(_cancelled: object = None) -> None:
        if check:
            check()

    return ChildSpec(
        name=name,
        spawn=lambda: RealProcess([sys.executable, "-c", code], logging.getLogger(name)),
        probe=lambda _pid: Probe(checked, lambda: None, pause=0.01),
        stop_ladder=lambda: ((signal.SIGINT, 0.3), (signal.SIGTERM, 2.0)),
        start_timeout=10,
        policy=QUICK,
    )


def dying() -> ChildSpec:
    """A runtime that ends during its load; it is never ready, even if it ends late."""

    def not_yet() -> None:
        raise NotReady

    return spec("runtime", DIES, not_yet)


Make = Callable[..., RuntimeSupervisor]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[RuntimeSupervisor] = []

    def supervisor(
        tokenizer: ChildSpec | None = None, runtime: ChildSpec | None = None, **settings: str
    ) -> RuntimeSupervisor:
        environ = {"AX650_RUNTIME_PORT": str(own_port()), **settings}
        specs = (tokenizer or spec("tokenizer"), runtime or spec("runtime"))
        made.append(RuntimeSupervisor(Settings.from_env(environ), specs))
        made[-1].start()
        return made[-1]

    yield supervisor
    for each in made:
        each.stop()


def pids(supervisor: RuntimeSupervisor) -> list[int | None]:
    return [status.pid for status in supervisor.snapshot()]


def test_the_runtime_starts_once_the_tokenizer_is_ready(make: Make) -> None:
    supervisor = make()
    supervisor.wait_ready(lambda: False)

    assert supervisor.not_ready() is None
    tokenizer, runtime = supervisor.snapshot()
    assert tokenizer.state is runtime.state is State.READY
    assert tokenizer.since <= runtime.since
    assert supervisor.health().status == "ok"


def test_stop_ends_both_and_not_ready_gives_the_reason(make: Make) -> None:
    supervisor = make()
    supervisor.wait_ready(lambda: False)
    was = pids(supervisor)
    supervisor.stop()

    assert pids(supervisor) == [None, None]
    for pid in was:
        with pytest.raises(ProcessLookupError):
            os.kill(pid or 0, 0)
    assert isinstance(supervisor.not_ready(), Unavailable)


def test_a_killed_runtime_comes_back_and_the_tokenizer_stays(make: Make) -> None:
    supervisor = make()
    supervisor.wait_ready(lambda: False)
    tokenizer, runtime = pids(supervisor)
    os.kill(runtime or 0, signal.SIGKILL)

    eventually(lambda: pids(supervisor)[1] not in (runtime, None))
    eventually(lambda: supervisor.not_ready() is None)
    assert pids(supervisor)[0] == tokenizer
    assert supervisor.snapshot()[1].last_exit == "killed by SIGKILL"
    assert supervisor.snapshot()[1].restarts == 1


def test_the_runtime_survives_a_restart_of_our_tokenizer(make: Make) -> None:
    supervisor = make()
    supervisor.wait_ready(lambda: False)
    tokenizer, runtime = pids(supervisor)
    os.kill(tokenizer or 0, signal.SIGKILL)

    eventually(lambda: pids(supervisor)[0] not in (tokenizer, None))
    eventually(lambda: supervisor.not_ready() is None)
    assert pids(supervisor)[1] == runtime


def test_the_vendors_tokenizer_takes_the_runtime_with_it(make: Make) -> None:
    supervisor = make(AX650_TOKENIZER="vendor")
    supervisor.wait_ready(lambda: False)
    tokenizer, runtime = pids(supervisor)
    os.kill(tokenizer or 0, signal.SIGKILL)

    eventually(lambda: pids(supervisor)[1] not in (runtime, None))
    eventually(lambda: supervisor.not_ready() is None)
    assert supervisor.snapshot()[1].last_exit == "killed by SIGINT"


def test_each_runtime_gets_a_vendors_script_of_its_own(make: Make) -> None:
    supervisor = make(AX650_TOKENIZER="vendor")
    supervisor.wait_ready(lambda: False)
    tokenizer, runtime = pids(supervisor)
    supervisor.restart("it is silent", runtime)

    eventually(lambda: supervisor.not_ready() is None)
    assert pids(supervisor)[0] not in (tokenizer, None)
    assert pids(supervisor)[1] not in (runtime, None)


def test_a_new_script_for_each_runtime_does_not_reset_its_failures(make: Make) -> None:
    supervisor = make(runtime=dying(), AX650_TOKENIZER="vendor")

    eventually(lambda: isinstance(supervisor.not_ready(), GaveUp))
    assert supervisor.snapshot()[1].restarts == 2


def test_a_runtime_that_cannot_work_is_given_up_with_its_last_line(make: Make) -> None:
    supervisor = make(runtime=dying())

    problem = eventually(lambda: isinstance(p := supervisor.not_ready(), GaveUp) and p)
    assert "no card" in problem.message
    assert "POST /restart" in problem.message
    with pytest.raises(GaveUp):
        supervisor.wait_ready(lambda: False)


def test_an_operator_can_start_again_what_was_given_up(make: Make) -> None:
    supervisor = make(runtime=dying())
    eventually(lambda: isinstance(supervisor.not_ready(), GaveUp))
    starts = supervisor.snapshot()[1].restarts
    supervisor.load()

    eventually(lambda: supervisor.snapshot()[1].restarts > starts)


def test_unloading_frees_the_card_and_keeps_the_tokenizer(make: Make) -> None:
    supervisor = make()
    supervisor.wait_ready(lambda: False)
    tokenizer, _ = pids(supervisor)
    supervisor.unload()

    assert isinstance(supervisor.not_ready(), Unloaded)
    eventually(lambda: pids(supervisor) == [tokenizer, None])
    assert supervisor.health().status == "unloaded"
    supervisor.load()
    assert isinstance(supervisor.not_ready(), Unloaded)
    supervisor.wait_ready(lambda: False)
    assert supervisor.not_ready() is None
    assert supervisor.snapshot()[1].restarts == 0


def test_of_many_loads_and_unloads_the_last_one_counts(make: Make) -> None:
    supervisor = make()
    supervisor.wait_ready(lambda: False)
    for _ in range(5):
        supervisor.unload()
        supervisor.load()
    supervisor.wait_ready(lambda: False)
    assert supervisor.pid()
    supervisor.load()
    supervisor.unload()
    eventually(lambda: supervisor.pid() is None)


def test_a_wedged_runtime_is_restarted_at_once_and_refuses_requests_meanwhile(make: Make) -> None:
    supervisor = make()
    supervisor.wait_ready(lambda: False)
    runtime = supervisor.pid()
    supervisor.restart("no token for 60 s", runtime)

    assert isinstance(supervisor.not_ready(), Starting)
    eventually(lambda: pids(supervisor)[1] not in (runtime, None))
    eventually(lambda: supervisor.not_ready() is None)


def test_a_child_that_ignores_a_signal_gets_a_stronger_one(make: Make) -> None:
    supervisor = make(runtime=spec("runtime", STUBBORN))
    supervisor.wait_ready(lambda: False)
    eventually(lambda: supervisor._runtime._process and supervisor._runtime._process.last_words())
    supervisor.stop()

    assert supervisor.snapshot()[1].last_exit == "killed by SIGTERM"


def test_why_gone_waits_until_it_is_known(make: Make) -> None:
    supervisor = make()
    supervisor.wait_ready(lambda: False)
    runtime = supervisor.pid()
    os.kill(runtime or 0, signal.SIGSEGV)

    assert "killed by SIGSEGV" in supervisor.why_gone(runtime)


def test_there_is_one_supervisor_per_machine_and_port() -> None:
    port = own_port()
    first, second = InstanceLock(port), InstanceLock(port)
    first.acquire()
    with pytest.raises(AlreadySupervised, match=str(port)):
        second.acquire(patience=0)
    first.release()
    second.acquire(patience=0)
    second.release()
