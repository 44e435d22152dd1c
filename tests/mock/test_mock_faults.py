"""Each fault of the simulator does what --help says."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.mock.byte_tokenizer import ByteTokenizer
from tests.mock.conftest import Start, eventually

pytestmark = pytest.mark.integration


def test_reply_file_is_the_answer_and_is_read_again(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "reply.txt"
    file.write_text("one\n")
    runtime = start("--reply-file", str(file))

    assert runtime.answer("x") == "one\n"
    file.write_text("two")
    assert runtime.answer("x") == "two"


def test_crash_after_tokens(start: Start) -> None:
    runtime = start("--reply", "abcdefghi", "--crash-after-tokens", "5")
    runtime.generate("x")

    assert runtime.exit_status() == -11
    assert runtime.output.text.endswith("abc")


def test_hang_after_tokens_leaves_only_sigterm(start: Start, tokenizer: ByteTokenizer) -> None:
    runtime = start("--reply", "abcdefghi", "--hang-after-tokens", "3")
    runtime.generate("x")
    eventually(lambda: runtime.poll()[1] == "abc", "the text")

    assert runtime.json("GET", "/api/stop") == (200, {"status": "ok"})
    assert runtime.poll() == (False, "")
    assert runtime.json("POST", "/api/reset", {})[0] == 400
    runtime.signal(signal.SIGINT)
    time.sleep(0.2)
    assert runtime.process.poll() is None
    runtime.signal(signal.SIGTERM)
    assert runtime.exit_status() == -15


def test_lose_card_after_tokens_repeats_one_token_to_the_limit(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    flags = ["--reply", "abcdef", "--lose-card-after-tokens", "4", "--tokens-per-second", "20"]
    runtime = start(*flags, on_terminal=True)
    text = runtime.answer("x" * 23)

    assert text == ("abcd" + "d" * 2000)[: (1023 - 23 + 1) // 3 * 3]
    failed, times = "[E][                       inference][ 526]: AX_ENGINE_Execute", 5 * (1001 - 4)
    assert runtime.output.shows(failed, times)
    assert runtime.output.text.count(failed) == times
    assert runtime.answer("y").startswith("error: SetKVCache failed")


@pytest.mark.parametrize(
    ("flag", "code"), [("--exit-during-load", 255), ("--exit-during-load=7", 7)]
)
def test_exit_during_load(start: Start, flag: str, code: int) -> None:
    runtime = start(flag, ready=False)

    assert runtime.exit_status() == code
    lines = runtime.output.text.splitlines()
    assert "axmodel ok" in runtime.output.text
    assert [line.partition("]: ")[2].removesuffix("\x1b[0m") for line in lines[-4:]] == [
        "AX_ENGINE_CreateHandle",
        "init post axmodel(tinyllama-int8/tinyllama_post.axmodel) failed",
        "lLaMa.Init failed",
        "AXCLWorker exit with devid 0",
    ]


@pytest.mark.parametrize("code", [11, 129])
def test_without_a_driver_or_a_card_the_log_is_empty(start: Start, code: int) -> None:
    runtime = start(f"--exit-during-load={code}", ready=False)

    assert runtime.exit_status() == code
    assert runtime.output.text == ""


def test_a_refused_layer_aborts_the_first_reset(start: Start) -> None:
    runtime = start("--refuse-layer", "3")
    assert "AX_ENGINE_CreateHandle" in runtime.output.text
    assert "100% |" in runtime.output.text

    runtime.json("POST", "/api/reset", {"system_prompt": "x" * 20})
    assert runtime.exit_status() == -6
    assert runtime.errors.text == "input tensor not found: K_cache\n"


def test_a_refused_first_layer_aborts_the_load(start: Start) -> None:
    runtime = start("--refuse-layer", "0", ready=False)

    assert runtime.exit_status() == -6
    assert runtime.errors.text == "input tensor not found: mask\n"


def test_a_negative_device_kills_the_program(start: Start) -> None:
    assert start("--devices", "-1", ready=False).exit_status() == -11


def test_ignore_sigint_and_sigterm(start: Start) -> None:
    runtime = start("--ignore-sigint", "--ignore-sigterm")
    runtime.signal(signal.SIGINT)
    runtime.signal(signal.SIGTERM)
    time.sleep(0.2)

    assert runtime.json("GET", "/api/stop")[0] == 200


def test_stick_running(start: Start) -> None:
    runtime = start("--reply", "abc", "--stick-running")
    runtime.generate("x")
    eventually(lambda: runtime.poll()[1] == "abc", "the text")

    assert runtime.poll() == (False, "")
    assert runtime.json("POST", "/api/generate", {"prompt": "y"})[0] == 400


def test_bad_utf8_loses_the_first_text(start: Start, tokenizer: ByteTokenizer) -> None:
    runtime = start("--reply", "abc", "--bad-utf8")
    runtime.generate("x")
    eventually(lambda: tokenizer.requests("/decode"), "the text")
    eventually(runtime.idle, "the end")
    raw = runtime.call("GET", "/api/generate_provider")

    assert raw.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    what = (
        b"EXCEPTION_WHAT: [json.exception.type_error.316] invalid UTF-8 byte at index 0: 0xFF\r\n"
    )
    assert what in raw
    assert runtime.settle() == ""
    assert runtime.answer("x") == "abc"


def test_refuse_port(start: Start) -> None:
    runtime = start("--refuse-port", "--port", "8123", ready=False)

    assert runtime.exit_status() == 0
    assert "Server running on port 8123...\n" in runtime.output.text


def test_flood_output(start: Start) -> None:
    runtime = start("--flood-output")

    eventually(lambda: runtime.output.text.count("a line that says nothing") > 100, "the flood")
    assert runtime.answer("x").endswith("You said: x")


def test_failing_and_garbled_polls_come_first_in_each_answer(start: Start) -> None:
    runtime = start("--reply", "abc", "--fail-polls", "2", "--garbage-polls", "1")
    assert runtime.poll() == (True, "")
    for _ in range(2):
        runtime.generate("x")
        for status in (500, 500, 200):
            raw = runtime.call("GET", "/api/generate_provider")
            assert int(raw.split()[1]) == status
            assert not raw.endswith(b"}")
        assert runtime.settle() == "abc"


def test_full_context_refuses_every_prompt(start: Start) -> None:
    runtime = start("--full-context", "--spare-answers", "1", "--reply", "abc")

    assert runtime.answer("x") == "abc"
    assert runtime.answer("x").startswith("error: SetKVCache failed: %d,")
    assert runtime.answer("x").startswith("error: SetKVCache failed: %d,")


def test_spared_answers_go_well(start: Start) -> None:
    flags = ["--crash-after-tokens", "1", "--bad-utf8", "--fail-polls", "3", "--stick-running"]
    runtime = start(*flags, "--spare-answers", "2", "--reply", "abc")

    assert [runtime.answer("x") for _ in range(2)] == ["abc"] * 2
    runtime.generate("x")
    assert runtime.exit_status() == -11
