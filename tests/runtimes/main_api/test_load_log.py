"""The vendor's program is believed about its loading, and about nothing after that."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.card.failure import why_hopeless
from axproxy.process.output import LineSplitter
from axproxy.prompts.fitting import Window
from axproxy.runtimes.main_api.exits import describe_runtime_exit
from axproxy.runtimes.main_api.load_log import RuntimeLog
from axproxy.runtimes.main_api.run_log import RunTimes

RECORDED = Path(__file__).parents[2] / "data" / "vendor-wire" / "stdout.pty.raw"
OUTPUT = RECORDED.read_bytes()

SERVING = "Server running on port 8000..."
BAR = "\x1b[1;30;33m\r {}% | \u2588\u2588    |   3 /   7 [0.17s<0.40s, 17.34 count/s] \x1b[0m"


def info(text: str) -> str:
    return f"\x1b[1;30;32m[I][                            Init][ 221]: {text}\x1b[0m"


def fed(*lines: str) -> RuntimeLog:
    log = RuntimeLog()
    for line in lines:
        log.feed(line)
    return log


@given(st.lists(st.integers(0, len(OUTPUT)), max_size=30))
def test_the_recorded_output_is_understood_in_any_pieces(cuts: list[int]) -> None:
    log, splitter, percents = RuntimeLog(), LineSplitter(), []
    for start, end in pairwise([0, *sorted(cuts), len(OUTPUT)]):
        for line in splitter.feed(OUTPUT[start:end]):
            log.feed(line)
            percents.append(log.load_percent or 0)
        log.glimpse(splitter.rest)
        percents.append(log.load_percent or 0)
    assert log.window == Window(context=1023, prefill_limit=896, prefill_chunk=128)
    assert log.fault is None
    assert log.serving
    assert percents == sorted(percents)
    assert log.load_percent == 100


def test_every_step_of_the_recorded_load_is_seen() -> None:
    log, splitter, percents = RuntimeLog(), LineSplitter(), []
    for line in splitter.feed(OUTPUT):
        log.feed(line)
        percents.append(log.load_percent)
    assert list(dict.fromkeys(percents)) == [None, 14, 28, 42, 57, 71, 85, 100]


def test_progress_is_seen_before_its_line_has_ended() -> None:
    log = RuntimeLog()
    log.glimpse(BAR.format(42))
    assert log.load_percent == 42
    log.glimpse(BAR.format(42) + BAR.format(57))
    assert log.load_percent == 57


def test_progress_stays_within_a_hundred() -> None:
    assert fed(BAR.format(999)).load_percent == 100


@pytest.mark.parametrize(
    "line",
    ["", "12% off today", "50% | half a bar", "  0% | \u2588 |   6 / 1023 [0.03s, 31 token/s]"],
)
def test_other_percentages_are_not_the_loads(line: str) -> None:
    assert fed(line).load_percent is None


def test_the_window_is_known_once_the_program_serves() -> None:
    lines = [
        info("max_token_len : 2559"),
        info("kv_cache_size : 1024, kv_cache_num: 2559"),
        info("prefill_token_num : 256"),
        info("grp: 1, prefill_max_token_num : 1"),
        info("grp: 2, prefill_max_token_num : 256"),
        info("prefill_max_token_num : 2048"),
    ]
    assert fed(*lines).window is None
    assert fed(*lines, SERVING).window == Window(2559, 2048, 256)


def test_a_program_that_does_not_log_its_window_leaves_it_open() -> None:
    assert fed(info("max_token_len : 2559"), SERVING).window is None
    assert fed(info("prefill_max_token_num : 2048"), SERVING).window is None


def test_without_a_total_the_largest_group_is_the_limit_of_a_prompt() -> None:
    lines = [
        info("max_token_len : 1023"),
        info("grp: 1, prefill_max_token_num : 1"),
        info("grp: 2, prefill_max_token_num : 512"),
    ]
    assert fed(*lines, SERVING).window == Window(1023, 512, 128)
    assert fed(*lines[:2], SERVING).window is None


def test_a_program_for_a_newer_system_says_so_and_is_not_started_again() -> None:
    line = "./p: /lib/libc.so.6: version `GLIBC_2.34' not found (required by ./p)"
    for quoted in (line, line.replace("`", "'")):
        reason = fed(quoted).why_useless() or ""
        assert reason.startswith("it needs a newer system: GLIBC_2.34 is not found here")
        assert "command line" not in describe_runtime_exit(1, reason)


def test_a_chunk_is_128_tokens_unless_the_log_says_otherwise() -> None:
    log = fed(info("max_token_len : 1023"), info("prefill_max_token_num : 896"), SERVING)
    assert log.window == Window(1023, 896, 128)


@pytest.mark.parametrize(
    "line",
    [
        "tokenizer.Init(http://127.0.0.1:12345) failed",
        "lLaMa.Init failed",
        "embed file(model.embed_tokens.weight.bfloat16.bin) open failed",
        "embed file(a.bin) size(133) not equal token_num(151936) * embed_size(1024) * 2",
        "embed_selector.Init(a.bin, 151936, 1024) failed",
        "axcl_Init(-2144337653) failed",
        "Get AXCL device failed{0x80300181}, find total 0 device.",
        "Set AXCL device failed{0x80300186}.",
        "Invalid AXCL device id 1, find total 1 device.",
        "init axmodel(qwen3_p128_l7_together.axmodel) failed",
        "init post axmodel(qwen3_post.axmodel) failed",
        "max_token_len(2559) > kv_cache_num(1023)",
        "AXCLWorker exit with devid 0",
        "[2025-11-09 08:46:00.029][10994][W][device manager][listen][292]: device 1 is dead",
        "[E][device manager][request_ports][464]: request ports from device 1 fail, errno: 1",
        "[E][engine][invoke][97]: Decode api(4) response failed.",
        "[E][ inference][ 12]: AX_ENGINE_CreateHandle",
        "  what():  stoi",
        "./main_api: error while loading shared libraries: libaxcl_rt.so: cannot open",
    ],
)
def test_a_line_that_means_the_end_is_kept_as_the_fault(line: str) -> None:
    assert fed(f"\x1b[1;30;31m{line}\x1b[0m").fault == line.strip()


@pytest.mark.parametrize(
    "line",
    [
        "connect failed http://127.0.0.1:12345, try again in  1/10 ",
        "sh: 1: /usr/bin/axcl/axcl-smi: not found",
        "get uid failed, try again 1/10",
        "AXCLWorker start with devid 0",
        "init 0 axmodel ok,devid(0) remain_cmm(-1 MB)",
        "load postprocess config(post_config.json) failed",
        "LLM init ok",
    ],
)
def test_what_it_recovers_from_is_no_fault(line: str) -> None:
    assert fed(info(line)).fault is None


def test_the_first_fault_is_the_one_that_explains() -> None:
    log = fed("axcl_Init(1) failed", "lLaMa.Init failed")
    assert log.fault == "axcl_Init(1) failed"


def test_what_a_model_prints_is_not_believed() -> None:
    log = fed(info("max_token_len : 1023"), info("prefill_max_token_num : 896"), SERVING)
    for line in (info("prefill_max_token_num : 99999"), "lLaMa.Init failed", SERVING):
        log.feed(line)
    log.glimpse(BAR.format(3))
    assert (log.fault, log.load_percent, log.window) == (None, 100, Window(1023, 896))


# How many tokens the vendor's program sampled after prompts of so many (observed on the binary).
@pytest.mark.parametrize(("prompt", "sampled"), [(700, 324), (701, 323), (702, 322)])
def test_the_room_for_an_answer_is_what_the_program_leaves(prompt: int, sampled: int) -> None:
    assert Window(1023, 896).room_for_answer(prompt) == sampled


def test_the_times_of_a_run_are_read_once_it_serves_and_even_in_mid_line() -> None:
    log = RuntimeLog()
    log.feed("[I][ Run][1016]: ttft: 1.00 ms")
    assert log.run.times() == RunTimes()  # nobody runs anything while it loads
    log.feed("Server running on port 8000...")
    log.feed("\x1b[1;30;32m[I][                             Run][1016]: ttft: 1339.01 ms\x1b[0m")
    assert log.run.times() == RunTimes(first_token=1.33901)
    log.feed("Hello world.[N][                             Run][1182]: hit eos,avg 3.65 token/s")
    assert log.run.times() == RunTimes(first_token=1.33901, speed=3.65)


# What the library, the tool and the program put in front of a line.
STAMPS = [
    "",
    "[2025-11-09 08:46:00.029][10994][E][device manager][request_ports][464]: ",
    "[08-11 16:01:16:933][E][smi][device_manager][  20]: ",
    "\x1b[1;30;31m[E][                             run][  41]: ",
    "100% | \u2588\u2588 |  39 /  39 [133.16s<133.16s, 0.29 count/s] remain_cmm(691 MB)(1096 MB)0",
]
DEAD_CARD = {
    "Decode api(4) response failed.": "Decode api(4) response failed",
    "request ports from device 1 fail, errno: 1 Operation not permitted": (
        "request ports from device"
    ),
    "device 1 is dead": "device 1 is dead",
    "device 81 is dead": "device 81 is dead",
    "device 0 is not connected": "device 0 is not connected",
    "Recv port ack timeout.": "Recv port ack timeout",
    "[1-21] recv dma size 614400 is not equal to 9743": "recv dma size 614400 is not equal to",
    "send 2807 bytes, but 0 bytes sent": "send 2807 bytes, but 0 bytes sent",
    "axcl.rt.reset_device failed with code -2144337532": "reset_device failed",
    "Set AXCL device failed{0x80300186}.": "Set AXCL device failed",
    "Get AXCL device failed{0x80300181}, find total 0 device.": "Get AXCL device failed",
}


@pytest.mark.parametrize("line", DEAD_CARD)
@given(st.sampled_from(STAMPS), st.sampled_from(["\n", "\r\n", "\r", "\x1b[0m\n"]), st.data())
def test_a_dead_card_is_seen_behind_any_stamp_colour_and_leftover(
    line: str, stamp: str, end: str, data: st.DataObject
) -> None:
    output = (BAR.format(57) + stamp + line + end + BAR.format(100) + "\n").encode()
    cut = data.draw(st.integers(0, len(output)))
    log, splitter = RuntimeLog(), LineSplitter()
    for said in [*splitter.feed(output[:cut]), *splitter.feed(output[cut:])]:
        log.feed(said)

    assert log.dead_card == DEAD_CARD[line]
    assert line in (log.fault or "")
    assert log.load_percent == 100  # so the percentage proves nothing


REFUSED = "[E][ inference][ 12]: AX_ENGINE_CreateHandle"


@pytest.mark.parametrize(
    ("lines", "file"),
    [
        ([REFUSED], "a model file"),
        ([REFUSED, BAR.format(100), SERVING], "a model file"),
        (
            [REFUSED, "init post axmodel(/m/q/qwen3_post.axmodel) failed", "AXCLWorker exit"],
            "the model file qwen3_post.axmodel",
        ),
        (["init axmodel(qwen3_p128_l7.axmodel) failed"], "the model file qwen3_p128_l7.axmodel"),
    ],
)
def test_a_model_file_that_the_card_refuses_is_not_a_dead_card(lines: list[str], file: str) -> None:
    log = fed(*lines)
    assert log.dead_card is None
    assert (log.why_useless() or "").startswith(f"the card refused {file}: it is damaged, made for")
    assert why_hopeless(log.dead_card or REFUSED, 9) is None


def test_a_refused_file_on_a_dead_card_is_blamed_on_the_card() -> None:
    log = fed(REFUSED, "device 1 is dead")
    assert log.dead_card == "device 1 is dead"
    assert log.why_useless() == f"it logged: {REFUSED}"


def test_harmless_probes_are_no_sign_of_a_dead_card() -> None:
    log = fed("open libax_sys.so failed", "open libax_engine.so failed", "device 0 is connected")
    assert (log.fault, log.dead_card) == (None, None)


@given(st.lists(st.binary(max_size=40) | st.sampled_from([BAR.encode(), b"\r", b"\n"])))
def test_any_bytes_are_read_without_harm(pieces: list[bytes]) -> None:
    log, splitter = RuntimeLog(), LineSplitter()
    for piece in pieces:
        for line in splitter.feed(piece):
            log.feed(line)
        log.glimpse(splitter.rest)
    assert log.load_percent is None or 0 <= log.load_percent <= 100


FAKES = st.sampled_from(
    [
        *DEAD_CARD,
        "AX_ENGINE_CreateHandle",
        SERVING,
        BAR.format(3),
        info("max_token_len : 1"),
        info("prefill_max_token_num : 99999"),
        "lLaMa.Init failed",
    ]
)


@given(st.lists(FAKES | st.text(max_size=30)))
def test_nothing_that_is_printed_while_it_serves_changes_what_was_learnt(lines: list[str]) -> None:
    log = fed(info("max_token_len : 1023"), info("prefill_max_token_num : 896"), SERVING)
    for line in lines:
        log.feed(line)
        log.glimpse(line)
    assert (log.fault, log.dead_card, log.serving) == (None, None, True)
    assert (log.load_percent, log.window) == (100, Window(1023, 896))
