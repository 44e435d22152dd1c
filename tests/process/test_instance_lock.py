"""Only one supervisor can look after a runtime port of a machine."""

import subprocess
import sys
import threading

import pytest

from axproxy.process.instance_lock import AlreadySupervised, InstanceLock
from tests.support.ports import own_port

HOLD = """
import sys
from axproxy.process.instance_lock import InstanceLock
only_one = InstanceLock(int(sys.argv[1]))
only_one.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_supervisor_is_refused_with_what_to_do() -> None:
    port = own_port()
    first, second = InstanceLock(port), InstanceLock(port)
    first.acquire()
    try:
        with pytest.raises(AlreadySupervised, match=f"port {port} .* AX650_RUNTIME=attach"):
            second.acquire(patience=0)
    finally:
        first.release()
    second.acquire(patience=0)
    second.release()


def test_another_port_has_its_own_supervisor() -> None:
    first, second = InstanceLock(own_port()), InstanceLock(own_port())
    first.acquire()
    second.acquire(patience=0)
    first.release()
    second.release()


def test_a_successor_waits_for_its_predecessor_to_leave() -> None:
    port = own_port()
    leaving = InstanceLock(port)
    leaving.acquire()
    leaves = threading.Timer(0.15, leaving.release)
    leaves.start()
    successor = InstanceLock(port)
    successor.acquire(patience=10)
    leaves.join()
    successor.release()


def test_a_second_release_does_nothing() -> None:
    only_one = InstanceLock(own_port())
    only_one.release()
    only_one.acquire()
    only_one.release()
    only_one.release()


def test_a_supervisor_that_is_killed_leaves_nothing_behind() -> None:
    port = own_port()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(AlreadySupervised):
            InstanceLock(port).acquire(patience=0)
        holder.kill()
        holder.wait()
    successor = InstanceLock(port)
    successor.acquire(patience=0)
    successor.release()
