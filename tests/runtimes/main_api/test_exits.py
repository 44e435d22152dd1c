"""What the exit statuses of the vendor's program mean."""

import pytest

from axproxy.process.process import describe_exit
from axproxy.runtimes.main_api.exits import describe_runtime_exit


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


@pytest.mark.parametrize("status", [0, 3, -9, -15, -100])
def test_the_meaning_follows_the_status_itself(status: int) -> None:
    assert describe_runtime_exit(status).startswith(describe_exit(status))
