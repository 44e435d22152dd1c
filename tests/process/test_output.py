"""The output of a child is drained all the time, line by line."""

import logging
import os
import pty
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.process.output import LineSplitter, LogTail
from tests.support.waiting import eventually

LOG = logging.getLogger("child")
PATIENCE = 60.0  # seconds


@st.composite
def split_bytes(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """Any bytes, rich in line ends and characters of several bytes, and any pieces of them."""
    parts = st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b" ", "\u2588".encode(), b"\xe2\x96"])
    data = b"".join(draw(st.lists(parts | st.binary(max_size=3), max_size=20)))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return data, [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]


@given(split_bytes())
def test_lines_are_the_same_in_any_pieces(output: tuple[bytes, list[bytes]]) -> None:
    data, pieces = output
    whole, pieced = LineSplitter(), LineSplitter()
    assert [line for piece in pieces for line in pieced.feed(piece)] == whole.feed(data)
    assert pieced.rest == whole.rest


@given(split_bytes())
def test_every_complete_character_comes_out_once(output: tuple[bytes, list[bytes]]) -> None:
    data, pieces = output
    splitter = LineSplitter()
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    assert all(line and not re.search("[\r\n]", line) for line in lines)
    text = "".join(lines) + splitter.rest
    complete = re.sub("[\r\n]", "", data.decode(errors="replace"))
    # What may be missing are the bytes of a last character whose end has not come yet.
    assert complete.startswith(text)
    assert complete[len(text) :] in ("", "\ufffd", "\ufffd\ufffd", "\ufffd\ufffd\ufffd")


def test_a_progress_bar_is_one_line_for_each_time_it_is_drawn() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"\r 14% |#\r 28% |##\rdone\r\n") == [" 14% |#", " 28% |##", "done"]
    assert splitter.rest == ""


def test_text_without_line_ends_is_passed_on_before_it_fills_memory() -> None:
    splitter, passed = LineSplitter(), 0
    for _ in range(100):
        passed += sum(len(line) for line in splitter.feed(b"x" * 1000))
        assert len(splitter.rest) <= 16_384
    assert passed + len(splitter.rest) == 100_000


class Notes:
    """A listener that records what it gets."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.glimpses: list[str] = []

    def feed(self, line: str) -> None:
        self.lines.append(line)

    def glimpse(self, unfinished: str) -> None:
        self.glimpses.append(unfinished)


def test_the_last_lines_are_kept_the_oldest_first(caplog: pytest.LogCaptureFixture) -> None:
    read, write = os.pipe()
    with caplog.at_level(logging.DEBUG, "child"):
        tail = LogTail(read, LOG)
        os.write(write, b"".join(b"line %d\n" % number for number in range(250)) + b"last words")
        os.close(write)
        tail.join(PATIENCE)
    assert tail.last_lines(3) == ["line 248", "line 249", "last words"]
    assert len(tail.last_lines(1000)) == 200
    assert caplog.messages[:2] == ["line 0", "line 1"]
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}


def test_a_child_that_prints_without_end_is_never_blocked() -> None:
    read, write = os.pipe()
    tail = LogTail(read, LOG)
    for _ in range(64):  # far more than a pipe holds
        os.write(write, b"x" * 16_384)
    os.close(write)
    tail.join(PATIENCE)
    assert tail.last_lines(1) != []


def test_the_listener_sees_unfinished_lines_too() -> None:
    read, write = os.pipe()
    notes = Notes()
    tail = LogTail(read, LOG, notes)
    os.write(write, b"one\nload 4")
    eventually(lambda: "load 4" in notes.glimpses)
    assert notes.lines == ["one"]
    os.write(write, b"2%\n")
    os.close(write)
    tail.join(PATIENCE)
    assert notes.lines == ["one", "load 42%"]


def test_kept_lines_are_plain_text_and_the_listener_gets_the_colours() -> None:
    read, write = os.pipe()
    notes = Notes()
    tail = LogTail(read, LOG, notes)
    os.write(write, b"\x1b[1;30;32mready\x1b[0m\n\x1b[0m\n  \nindented \n")
    os.close(write)
    tail.join(PATIENCE)
    assert tail.last_lines(9) == ["ready", "indented"]
    assert notes.lines == ["\x1b[1;30;32mready\x1b[0m", "indented "]


def test_the_end_of_a_terminal_is_handled_like_that_of_a_pipe() -> None:
    read, write = pty.openpty()
    tail = LogTail(read, LOG)
    os.write(write, b"on a terminal\n")
    os.close(write)
    tail.join(PATIENCE)
    assert tail.last_lines(5) == ["on a terminal"]


def test_the_descriptor_is_closed_at_the_end() -> None:
    read, write = os.pipe()
    tail = LogTail(read, LOG)
    os.close(write)
    tail.join(PATIENCE)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(read)


def test_the_last_lines_of_a_program_are_safe_to_show() -> None:
    ours, theirs = os.pipe()
    tail = LogTail(ours, LOG)
    os.write(theirs, b"\x1b[1mloud\x1b[0m \x1b]0;title\x07\xc2\x9b2J \xe2\x80\xaeend\n")
    os.close(theirs)
    tail.join(PATIENCE)

    assert tail.last_lines(1) == [r"loud ]0;title2J \u202eend"]
