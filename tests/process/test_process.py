"""Real processes: their group, their output and how they end."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from axproxy.process.process import RealProcess, describe_exit, telling_line
from axproxy.runtimes.main_api.load_log import RuntimeLog
from tests.support.waiting import eventually

LOG = logging.getLogger("test.child")

Start = Callable[..., RealProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[RealProcess] = []

    def start_python(code: str, listener: RuntimeLog | None = None) -> RealProcess:
        started.append(RealProcess([sys.executable, "-c", code], LOG, listener))
        return started[-1]

    yield start_python
    for process in started:
        process.signal(signal.SIGKILL)
        eventually(lambda: process.poll() is not None)  # noqa: B023 - waited for right here


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_child_ends_with_its_own_status_and_last_lines(start: Start) -> None:
    process = start("import sys; print('first'); print('last words'); sys.exit(7)")

    assert eventually(process.poll) == 7
    assert process.last_words() == ["first", "last words"]


def test_a_signal_gives_a_negative_status(start: Start) -> None:
    process = start("import time; time.sleep(60)")
    process.signal(signal.SIGTERM)

    assert eventually(process.poll) == -signal.SIGTERM


def test_output_is_drained_however_much_there_is(start: Start) -> None:
    process = start("for number in range(50_000): print('x' * 80)")

    assert eventually(lambda: process.poll() is not None)
    assert process.poll() == 0


def test_output_is_a_terminal_so_that_lines_come_when_they_are_written(start: Start) -> None:
    log = RuntimeLog()
    start("print('Server running on port 8000...'); import time; time.sleep(60)", log)

    assert eventually(lambda: log.serving)


def test_signals_reach_the_whole_group(start: Start) -> None:
    process = start(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    helper = int(eventually(lambda: process._tail.last_lines(1))[0])
    process.signal(signal.SIGTERM)

    assert eventually(lambda: gone(helper))


def test_helpers_of_a_wrapper_script_end_with_it(start: Start) -> None:
    process = start(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)"
    )
    assert eventually(lambda: process.poll() is not None)
    helper = int(process.last_words()[0])

    assert eventually(lambda: gone(helper))


def test_a_missing_program_is_reported_in_one_sentence() -> None:
    with pytest.raises(FileNotFoundError, match="main_api_axcl_aarch64 is not there"):
        RealProcess(["/nowhere/main_api_axcl_aarch64"], LOG)


def test_no_child_outlives_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import logging, sys, time\n"
            "from axproxy.process.process import RealProcess\n"
            "code = 'import time; time.sleep(60)'\n"
            "child = RealProcess([sys.executable, '-c', code], logging.getLogger())\n"
            "print(child.pid, flush=True)\n"
            "time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert parent.stdout
    child = int(parent.stdout.readline())
    # setpriv asks for the death signal a moment after the child has been started.
    # For a moment the child has no command line.
    eventually(lambda: psutil.Process(child).cmdline()[:1] == [sys.executable])
    parent.kill()
    parent.wait()
    parent.stdout.close()

    assert eventually(lambda: gone(child))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exited with status 0"),
        (3, "exited with status 3"),
        (-9, "killed by SIGKILL"),
        (-15, "killed by SIGTERM"),
        (-100, "killed by signal 100"),
    ],
)
def test_a_status_is_an_exit_or_a_signal(status: int, words: str) -> None:
    assert describe_exit(status) == words


def test_the_status_is_that_of_popen() -> None:
    program = f"import os; os.kill(os.getpid(), {signal.SIGABRT})"
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert describe_exit(ended.returncode) == "killed by SIGABRT"


@pytest.mark.parametrize(
    ("lines", "telling"),
    [
        ([], ""),
        (["loading", "lLaMa.Init failed"], "lLaMa.Init failed"),
        (["undefined option: --x", "usage: main [options] ... ", "options:", "  -?"], "undefined"),
        (
            ["usage: main [options] ... ", "options:", "  -?"],
            "  -?",
        ),  # the complaint is not among the lines
        (["usage: tokenizer [-h]", "tokenizer: error: bad port"], "tokenizer: error: bad port"),
    ],
)
def test_a_list_of_options_does_not_hide_the_complaint_above_it(
    lines: list[str], telling: str
) -> None:
    assert telling_line(lines).startswith(telling)
    assert bool(telling_line(lines)) == bool(lines)
