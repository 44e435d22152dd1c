"""Start, ports, signals and exits."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.mock.byte_tokenizer import ByteTokenizer
from tests.mock.conftest import Start, eventually

pytestmark = pytest.mark.integration


def test_sigint_when_idle_exits_0_and_logs_it(start: Start) -> None:
    runtime = start()
    runtime.signal(signal.SIGINT)

    assert runtime.exit_status() == 0
    last = "[I][                             run][  80]: AXCLWorker exit with devid 0\x1b[0m\n"
    assert runtime.output.text.endswith(last)


def test_sigint_during_an_answer_closes_the_port_and_finishes_the_answer(
    start: Start, tokenizer: ByteTokenizer
) -> None:
    runtime = start("--reply", "y" * 100, "--tokens-per-second", "25")
    runtime.generate("x")
    eventually(lambda: tokenizer.requests("/decode"), "some text")
    runtime.signal(signal.SIGINT)
    eventually(lambda: refused(runtime.port), "the port is closed")
    assert runtime.process.poll() is None
    runtime.signal(signal.SIGINT)  # the second SIGINT changes nothing

    assert runtime.exit_status() == 0
    assert "y" * 100 in runtime.output.text
    assert len(tokenizer.requests("/decode")[-1]["token_ids"]) == 100


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return True
    return False


def test_sigint_during_a_chat_lets_it_end_first(start: Start, tokenizer: ByteTokenizer) -> None:
    runtime = start("--reply", "y" * 50, "--tokens-per-second", "100")
    with runtime.connect() as connection:
        body = b'{"messages": [{"role": "user", "content": "x"}]}'
        head = (
            f"POST /api/chat HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode() + body)
        eventually(lambda: tokenizer.requests("/tokenize"), "the run")
        runtime.signal(signal.SIGINT)
        data = b""
        while piece := connection.recv(65536):
            data += piece

    assert data.endswith(b'{"done":true,"message":"' + b"y" * 50 + b'"}')
    assert runtime.exit_status() == 0


def test_sigint_during_the_load_is_ignored_for_good(start: Start) -> None:
    runtime = start("--load-seconds", "3", ready=False)
    eventually(lambda: "axmodel ok" in runtime.output.text, "the first layer")
    runtime.signal(signal.SIGINT)
    runtime.ready()

    assert runtime.json("GET", "/api/stop") == (200, {"status": "ok"})
    runtime.signal(signal.SIGINT)
    assert runtime.exit_status() == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGQUIT"])
def test_other_signals_kill_at_once(start: Start, name: str) -> None:
    runtime = start()
    number = signal.Signals[name]
    runtime.signal(number)

    assert runtime.exit_status() == -number
    assert "AXCLWorker exit" not in runtime.output.text


def test_sigpipe_is_ignored(start: Start) -> None:
    runtime = start()
    runtime.signal(signal.SIGPIPE)

    assert runtime.json("GET", "/api/stop")[0] == 200


def test_sigterm_during_the_load_kills(start: Start) -> None:
    runtime = start("--load-seconds", "20", ready=False)
    eventually(lambda: "AXCLWorker start" in runtime.output.text or "embed" in runtime.output.text)
    runtime.signal(signal.SIGTERM)

    assert runtime.exit_status() == -15


def test_a_port_in_use_is_an_exit_0_after_the_announcement(start: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        runtime = start("--port", str(port), ready=False)

        assert runtime.exit_status() == 0
    assert f"Server running on port {port}...\n" in runtime.output.text
    assert "AXCLWorker exit with devid 0" in runtime.output.text


def test_two_runtimes_of_one_user_share_a_port(start: Start) -> None:
    first = start()
    second = start("--port", str(first.port))

    assert second.port == first.port
    for _ in range(10):
        assert first.json("GET", "/api/stop")[0] == 200


def test_it_listens_on_loopback_by_default(start: Start) -> None:
    addresses = {flags: start(*flags) for flags in ((), ("--host", "0.0.0.0"))}
    for flags, host in (((), "127.0.0.1"), (("--host", "0.0.0.0"), "0.0.0.0")):
        runtime = addresses[flags]
        with open("/proc/net/tcp") as table:
            rows = [line.split() for line in table.readlines()[1:]]
        wanted = f"{socket.inet_aton(host)[::-1].hex().upper()}:{runtime.port:04X}"
        assert any(row[1] == wanted and row[3] == "0A" for row in rows)


def test_a_card_that_is_not_there_ends_with_255(start: Start) -> None:
    runtime = start("--devices", "1", ready=False)

    assert runtime.exit_status() == 255
    assert "Invalid AXCL device id 1, find total 1 device." in runtime.output.text


def test_layers_are_spread_over_the_cards(start: Start) -> None:
    text = start("--devices", "0,1", "--cards", "2").output.text  # complete: the port came last

    for layer, card in ((0, 0), (1, 0), (2, 1), (3, 1)):
        assert f"init {layer} axmodel ok,devid({card})" in text
    assert "|     1|           7021|\n" in text


def test_an_incomplete_post_config_aborts(start: Start, tmp_path: Path) -> None:
    (tmp_path / "post_config.json").write_text("{}")

    assert start(ready=False).exit_status() == -6


def test_without_a_post_config_it_starts_with_a_warning(start: Start, tmp_path: Path) -> None:
    (tmp_path / "post_config.json").unlink()

    text = start().output.text
    assert "load postprocess config(post_config.json) failed" in text


def test_on_a_pipe_the_end_of_a_run_is_hidden_until_the_next(start: Start) -> None:
    runtime = start("--reply", "abc")
    runtime.answer("x")
    runtime.reset()
    hidden = runtime.output.text
    runtime.answer("y")
    eventually(lambda: "hit eos,avg" in runtime.output.text, "the next flush")

    assert "ttft" in hidden
    assert "hit eos" not in hidden
    assert "GetKVCache" not in hidden


def test_on_a_terminal_the_end_of_a_run_is_seen_at_once(start: Start) -> None:
    runtime = start("--reply", "abc", on_terminal=True)
    runtime.answer("x")

    eventually(lambda: "precompute_len:4, remaining:892" in runtime.output.text, "the line")


def test_a_crash_loses_the_buffered_lines(start: Start) -> None:
    runtime = start()
    runtime.generate("a prompt that is logged and lost" + "x" * 900)

    assert runtime.exit_status() == -11
    assert "a prompt that is logged" not in runtime.output.text
