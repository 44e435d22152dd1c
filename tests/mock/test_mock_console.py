"""Log lines, the progress bar and what stdout holds back."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator

import pytest

from axmock.console import Console, Progress, bar_text, c_string
from axmock.stdout import BLOCK, Stdout


class Pipe:
    """A pipe; its reading end shows what has been written."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def seen(self) -> str:
        try:
            return os.read(self.reader, 1 << 20).decode()
        except BlockingIOError:
            return ""


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.reader)
    os.close(pipe.writer)


def test_a_log_line_is_coloured_and_padded(pipe: Pipe) -> None:
    Console(Stdout(pipe.writer, tty=True)).info("Run", 1016, "ttft: 36.78 ms")

    assert pipe.seen() == (
        "\x1b[1;30;32m[I][                             Run][1016]: ttft: 36.78 ms\x1b[0m\n"
    )


def test_on_a_pipe_nothing_leaves_before_a_flush(pipe: Pipe) -> None:
    out = Stdout(pipe.writer)
    out.write("hit eos\n")

    assert pipe.seen() == ""
    out.write("text")
    out.flush()
    assert pipe.seen() == "hit eos\ntext"


def test_on_a_pipe_full_blocks_leave(pipe: Pipe) -> None:
    Stdout(pipe.writer).write("x" * (BLOCK + 10))

    assert len(pipe.seen()) == BLOCK


def test_on_a_terminal_whole_lines_leave_at_once(pipe: Pipe) -> None:
    Stdout(pipe.writer, tty=True).write("one\ntwo\nthr")

    assert pipe.seen() == "one\ntwo\n"


def test_an_unread_pipe_blocks_every_thread_that_logs(pipe: Pipe) -> None:
    out = Stdout(pipe.writer)
    big = threading.Thread(target=out.write, args=("x" * (1 << 20),))
    small = threading.Thread(target=out.write, args=("y",))
    big.start()
    assert select.select([pipe.reader], [], [], 60)[0]  # the writer has begun
    small.start()
    small.join(0.1)
    blocked = small.is_alive()
    while big.is_alive() or small.is_alive():
        pipe.seen()

    assert blocked


def test_output_is_dropped_when_the_reader_is_gone(pipe: Pipe) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    out = Stdout(writer)
    out.write("text")

    out.flush()

    os.close(writer)


# as captured from the vendor's program
BARS = {
    (1, 7, 1, 0.037, "count", "tokenizer init ok"): (
        " 14% | █████                             |   1 /   7 [0.04s<0.26s, 27.03 count/s] "
        "\x1b[1;30;32mtokenizer init ok"
    ),
    (7, 7, 7, 0.224, "count", "x"): (
        "100% | ████████████████████████████████ |   7 /   7 [0.22s<0.22s, 31.25 count/s] "
        "\x1b[1;30;32mx"
    ),
    (6, 1023, 1, 0.032, "token", ""): (
        "  0% | █                                 |   6 / 1023 [0.03s<32.74s, 31.25 token/s] "
        "\x1b[1;30;32m"
    ),
}


@pytest.mark.parametrize("state", BARS, ids=lambda state: f"{state[0]} of {state[1]}")
def test_the_progress_bar_is_drawn_as_captured(
    state: tuple[int, int, int, float, str, str],
) -> None:
    done, total, updates, elapsed, unit, text = state

    drawn = bar_text(done, total, updates=updates, elapsed=elapsed, unit=unit, text=text)

    assert drawn == f"\x1b[1;30;33m\r{BARS[state]}\x1b[0m"


def test_a_bar_drawn_within_a_millisecond_has_an_infinite_rate(pipe: Pipe) -> None:
    Progress(Stdout(pipe.writer), 7, lambda: 5.0).update(1, "count")

    assert "[0.00s<0.00s, inf count/s]" in pipe.seen()


def test_a_nul_ends_a_c_string() -> None:
    assert c_string("a\0b") == "a"
