"""How a process ended is told in words."""

import signal
import subprocess
import sys

import pytest

from axproxy.process.exits import describe_exit, describe_runtime_exit, telling_line


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
    assert describe_runtime_exit(status).startswith(words)


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (0, "its port was taken"),
        (1, "command line"),
        (11, "/dev/axcl_host"),
        (127, "LD_LIBRARY_PATH"),
        (129, "no card"),
        (255, "start-up failed"),
        (-6, "tokenizer's answer"),
        (-11, "prompt was too long"),
        (126, "no program for this machine"),
        (134, "tokenizer's answer"),  # a shell in front of it
        (139, "prompt was too long"),
        (-9, "want of memory"),
        (137, "want of memory"),
        (-15, "without unloading"),
        (143, "without unloading"),
    ],
)
def test_the_vendors_statuses_are_explained(status: int, hint: str) -> None:
    assert hint in describe_runtime_exit(status)
    assert hint not in describe_exit(status)


@pytest.mark.parametrize("status", [2, -1, -3])
def test_other_statuses_speak_for_themselves(status: int) -> None:
    assert describe_runtime_exit(status) == describe_exit(status)


def test_status_11_is_not_signal_11() -> None:
    assert "SIGSEGV" not in describe_runtime_exit(11)
    assert "axcl_host" not in describe_runtime_exit(-11)


def test_the_status_is_the_one_that_popen_gives() -> None:
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
        ),  # the complaint is out of sight
        (["usage: tokenizer [-h]", "tokenizer: error: bad port"], "tokenizer: error: bad port"),
    ],
)
def test_a_manual_of_options_does_not_bury_the_complaint_above_it(
    lines: list[str], telling: str
) -> None:
    assert telling_line(lines).startswith(telling)
    assert bool(telling_line(lines)) == bool(lines)
