"""What `axllm` prints at its start, as on a Raspberry Pi 5 with an LLM-8850."""

from __future__ import annotations

import pytest

from axproxy.process.output import LineSplitter
from axproxy.prompts.fitting import Window
from axproxy.runtimes.axllm.exits import describe_axllm_exit
from axproxy.runtimes.axllm.load_log import AxllmLog

BAR = (
    "\r 97% | ###############################  |  38 /  39 [88.00s<90.32s, 0.43 count/s] "
    "init post axmodel ok,remain_cmm(1798 MB)"
)
START = f"""12:00:00.000 INF Init:218 | LLM init start
12:00:00.010 INF run:30 | AXCLWorker start with devid 0
tokenizer_type = 1
{BAR}
12:01:28.000 INF Init:368 | max_token_len : 2559
12:01:28.000 INF Init:371 | kv_cache_size : 1024, kv_cache_num: 2559
12:01:28.000 INF Init:374 | prefill_token_num : 128
12:01:28.000 INF Init:379 | grp: 1, prefill_max_kv_cache_num : 1
12:01:28.000 INF Init:379 | grp: 2, prefill_max_kv_cache_num : 256
12:01:28.000 INF Init:384 | prefill_max_token_num : 2048
12:01:28.100 INF Init:448 | LLM init ok
Starting server on port 8000 with model 'AXERA-TECH/Qwen3-4B'...
OpenAI API Server starting on http://0.0.0.0:8000
Max concurrency: 1
"""


def read(text: str, pieces: int = 1 << 16) -> AxllmLog:
    log, splitter = AxllmLog(), LineSplitter()
    data = text.encode()
    for at in range(0, len(data), pieces):
        for line in splitter.feed(data[at : at + pieces]):
            log.feed(line)
        log.glimpse(splitter.rest)
    return log


@pytest.mark.parametrize("pieces", [1, 7, 50, 1 << 16])
def test_the_window_is_read_in_whatever_pieces_the_lines_come(pieces: int) -> None:
    log = read(START, pieces)

    assert log.serving
    assert log.load_percent == 100
    assert log.window == Window(2559, 2048, 128)
    assert log.fault is None


def test_a_bar_without_a_line_end_shows_the_percentage() -> None:
    assert read(BAR).load_percent == 97
    assert read(BAR[:-3]).load_percent == 97
    assert read(BAR[:12]).load_percent is None


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("12:00:00.000 ERR main:300 | LLM.Init failed", "LLM.Init failed"),
        ("Port 8000 is unavailable: port is already in use", None),
        ("Model path does not exist: /models/x", None),
        ("Config file not found: /models/x/config.json", None),
        ("serve terminated by exception: bad", None),
        ("12:00:00.000 ERR g:1 | memory guard: estimate exceeds 1798 MB, abort", "memory guard"),
    ],
)
def test_the_line_that_says_why_it_cannot_start_is_kept(line: str, fault: str | None) -> None:
    log = read(f"{line}\nlater words\n")

    assert (log.fault or "").startswith(fault or line)


def test_text_of_an_answer_is_no_line_of_the_load() -> None:
    log = read(f"{START}LLM.Init failed\n\r 12% | # | 1 / 39 [1s<2s]\n")

    assert log.fault is None
    assert log.load_percent == 100


def test_tokens_that_were_reused_are_counted_and_the_first_line_counts() -> None:
    log = read(START)
    log.run.begin()
    place = "12:02:00.000 INF SetKVCache:406 | prefill_grpid:2 kv_cache_num:256"
    log.feed(f"{place} precompute_len:144 input_num_token:20")
    log.feed("12:02:00.800 INF Run:900 | ttft: 835.52 ms")
    log.feed(f"{place} precompute_len:9 input_num_token:20")
    log.feed("12:02:09.000 INF GetKVCache:420 | precompute_len:161, remaining:1887")

    assert log.run.facts().reused == 144
    assert log.run.facts().first_token == pytest.approx(0.83552)
    log.run.begin()
    assert log.run.facts().reused is None


@pytest.mark.parametrize(
    ("status", "fault", "words"),
    [
        (255, "LLM.Init failed", "exited with status 255: LLM.Init failed"),
        (255, None, "its start-up failed"),
        (0, None, "its port was taken while it loaded"),
        (-11, None, "killed by SIGSEGV (it crashed)"),
        (3, None, "exited with status 3"),
    ],
)
def test_an_exit_is_explained(status: int, fault: str | None, words: str) -> None:
    assert words in describe_axllm_exit(status, fault)
