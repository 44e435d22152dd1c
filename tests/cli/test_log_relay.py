"""A log and an answer on the same terminal."""

from __future__ import annotations

import io
import os
import threading

import pytest

from axproxy.cli.log_relay import CLEAR_LINE, LogRelay


class Target(io.BytesIO):
    """Tells when something has been written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def flush(self) -> None:
        self.written.set()


def test_lines_are_printed_as_they_come() -> None:
    reading, writing = os.pipe()
    target = Target()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb", 0) as log:
        LogRelay(source, target)
        log.write(b"one\n")
        assert target.written.wait(30)
        assert target.getvalue() == b"one\n"


def test_no_line_of_the_log_comes_into_an_answer_and_the_service_never_waits() -> None:
    many = b"a line of the log\n" * 20_000  # more than a pipe holds
    reading, writing = os.pipe()
    target = Target()
    with os.fdopen(reading, "rb") as source:
        relay = LogRelay(source, target)
        with relay.paused():
            with os.fdopen(writing, "wb", 0) as log:
                log.write(many)
            relay.wait(30)  # all has been read
            target.write(b"the whole answer\n")
        assert target.getvalue() == b"the whole answer\n" + many


def test_an_answer_that_fails_does_not_keep_the_log_back() -> None:
    target = Target()
    relay = LogRelay(io.BytesIO(b"why\n"), target)
    with pytest.raises(ZeroDivisionError):
        fail_within(relay)
    assert target.getvalue() == b"why\n"


def fail_within(relay: LogRelay) -> None:
    with relay.paused():
        relay.wait(30)
        raise ZeroDivisionError


def test_a_line_that_moves_is_cleared_before_a_line_of_the_log() -> None:
    target = Target()
    LogRelay(io.BytesIO(b"one\ntwo\n"), target, CLEAR_LINE).wait(30)
    assert target.getvalue() == b"\r\x1b[Kone\n\r\x1b[Ktwo\n"
