"""The simulator of `axllm` against the literal bytes of the vendor's HTTP library."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.model_folders import axllm_model
from tests.support.ports import own_port
from tests.support.service import ROOT
from tests.support.waiting import eventually

MODEL = ROOT / "axmock" / "axllm" / "model"
NAME = "AXERA-TECH/Qwen3-Simulated"
QUICK = ("--load-seconds", "0.05", "--tokens-per-second", "0", "--prefill-tokens-per-second", "0")
HI = {"model": NAME, "messages": [{"role": "user", "content": "Hi"}], "stream": True}


class Simulator:
    """One process of the simulator."""

    def __init__(self, log: Path, *options: str, folder: Path = MODEL) -> None:
        self.port = own_port()
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, str(ROOT / "mock_axllm.py"), *QUICK, *options),
                    *("serve", str(folder), "--port", str(self.port)),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def until_open(self) -> Simulator:
        eventually(self.is_open)
        return self

    def is_open(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def raw(self, request: bytes) -> bytes:
        """Return all that the program answers until it closes the connection or is silent."""
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(request)
            connection.settimeout(0.5)
            received = b""
            try:
                while data := connection.recv(65536):
                    received += data
            except TimeoutError:
                pass
            return received

    def post(self, path: str, body: Any) -> bytes:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n"
        return self.raw(head.encode() + text)

    def events(self, body: Any) -> list[str]:
        """Return the data of the events of a stream."""
        reply = self.post("/v1/chat/completions", body)
        return [event.decode() for event in re.findall(rb"data: (.*)\n\n", reply)]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(20)


Begin = Callable[..., Simulator]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    begun: list[Simulator] = []

    def start(*options: str, folder: Path = MODEL) -> Simulator:
        begun.append(Simulator(tmp_path / f"log{len(begun)}", *options, folder=folder))
        return begun[-1]

    yield start
    for simulator in begun:
        simulator.process.kill()
        simulator.process.wait(20)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    folder = tmp_path_factory.mktemp("axllm")
    simulator = Simulator(folder / "log", "--reply", "Hé 你").until_open()
    yield simulator
    simulator.stop()


def test_health_has_the_librarys_headers_and_indentation(shared: Simulator) -> None:
    assert shared.raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") == (
        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\nContent-Length: 69\r\n"
        b"Content-Type: application/json\r\n\r\n"
        b'{\n  "concurrency": 0,\n  "max_concurrency": 1,\n  "status": "healthy"\n}'
    )


@pytest.mark.parametrize("request_line", [b"GET /v1/completions", b"PUT /health", b"GET /"])
def test_an_unknown_route_gets_a_404_without_a_body(shared: Simulator, request_line: bytes) -> None:
    reply = shared.raw(request_line + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")

    assert reply == b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def test_options_allows_every_page_and_other_replies_do_not(shared: Simulator) -> None:
    reply = shared.raw(b"OPTIONS /anything HTTP/1.1\r\nHost: x\r\n\r\n")

    assert b"Access-Control-Allow-Origin: *\r\n" in reply
    assert b"Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n" in reply
    assert b"Access-Control" not in shared.raw(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")


def test_a_stream_has_the_content_type_twice_and_a_new_id_in_each_piece(shared: Simulator) -> None:
    reply = shared.post("/v1/chat/completions", {**HI, "max_tokens": 40})
    head, _, body = reply.partition(b"\r\n\r\n")

    assert head + b"\r\n\r\n" == (
        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: keep-alive\r\nCache-Control: no-cache\r\n"
        b"Content-Type: text/event-stream\r\nContent-Type: text/event-stream\r\n\r\n"
    )
    assert body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    pieces = [json.loads(text) for text in re.findall(rb"data: ({.*})\n\n", body)]
    assert len({piece["id"] for piece in pieces}) == len(pieces)
    assert all(re.fullmatch("chatcmpl-[0-9a-f]{24}", piece["id"]) for piece in pieces)
    *deltas, last = [piece["choices"][0] for piece in pieces]
    assert "".join(delta["delta"]["content"] for delta in deltas) == "Hé 你"
    assert all(delta["delta"]["role"] == "assistant" for delta in deltas)
    assert all(delta["finish_reason"] is None for delta in deltas)
    assert (last["delta"], last["finish_reason"]) == ({}, "stop")
    usage = pieces[-1]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert {"ttft_ms", "decode_tps", "prefill_tps", "prefill_tokens"} <= usage.keys()


def test_every_answer_ends_with_stop_also_one_that_was_cut(shared: Simulator) -> None:
    last = json.loads(shared.events({**HI, "max_tokens": 1})[-2])

    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"]["completion_tokens"] == 1


def test_an_answer_in_one_piece_is_indented(shared: Simulator) -> None:
    reply = shared.post("/chat/completions", {**HI, "stream": False})
    body = reply.partition(b"\r\n\r\n")[2].decode()

    assert body.startswith('{\n  "choices": [\n    {\n      "finish_reason": "stop",')
    message = json.loads(body)["choices"][0]["message"]
    assert message == {"content": "Hé 你", "role": "assistant"}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "Invalid JSON: [json.exception.parse_error.101]"),
        (b"[]", 400, "Missing 'model' field"),
        ({"messages": []}, 400, "Missing 'model' field"),
        ({**HI, "model": "x"}, 400, f"Model 'x' is not available. Available models: {NAME}"),
        ({**HI, "messages": [{"role": "tool", "content": "x"}]}, 400, "Failed to parse chat"),
        ({**HI, "messages": [{"role": "user", "content": None}]}, 400, "Failed to parse chat"),
        (
            {**HI, "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400,
            f"Model '{NAME}' does not support image inputs",
        ),
    ],
    ids=["empty", "list", "no model", "other model", "role tool", "null content", "image"],
)
def test_a_bad_request_gets_the_programs_own_error(
    shared: Simulator, body: Any, status: int, message: str
) -> None:
    head, _, text = shared.post("/v1/chat/completions", body).partition(b"\r\n\r\n")

    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Connection: close" in head
    error = json.loads(text)["error"]
    assert error["message"].startswith(message)
    assert error["code"] == error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("field", "value", "wanted", "found"),
    [
        ("stream", None, "boolean", "null"),
        ("model", 1, "string", "number"),
        ("max_tokens", "5", "number", "string"),
        ("temperature", None, "number", "null"),
    ],
)
def test_a_field_of_another_type_is_an_empty_500_with_the_exception_in_a_header(
    shared: Simulator, field: str, value: Any, wanted: str, found: str
) -> None:
    head, _, body = shared.post("/v1/chat/completions", {**HI, field: value}).partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 500 ")
    what = f"[json.exception.type_error.302] type must be {wanted}, but is {found}"
    assert f"EXCEPTION_WHAT: {what}".encode() in head
    assert body == b""


def test_the_port_is_closed_while_the_model_loads_and_a_signal_is_lost_then(begin: Begin) -> None:
    simulator = begin("--load-seconds", "0.6")
    eventually(lambda: b"axmodel ok" in simulator.log.read_bytes())
    assert not simulator.is_open()
    simulator.process.send_signal(signal.SIGTERM)

    simulator.until_open()
    assert simulator.stop() == 0


def test_the_log_has_the_lines_of_a_real_start_in_their_order(shared: Simulator) -> None:
    log = shared.log.read_text()
    wanted = (
        r"server request/queue timeout: 300000 ms",
        r"\d\d:\d\d:\d\d\.\d{3} INF Init:218 \| LLM init start",
        r"INF run:30 \| AXCLWorker start with devid 0",
        r"tokenizer_type = 1",
        r"[\r\n] *\d+% \| #+ +\| +\d+ / +31 \[[\d.]+s<[\d.]+s, [\d.]+ count/s\] init \d+ axmodel",
        r"INF Init:368 \| max_token_len : 2559",
        r"INF Init:374 \| prefill_token_num : 128",
        r"INF Init:384 \| prefill_max_token_num : 2048",
        r"100% \| #{32} \|  31 /  31 \[.*embed_selector init ok\n",
        r"INF Init:448 \| LLM init ok",
        rf"Starting server on port \d+ with model '{NAME}'\.\.\.",
        r"OpenAI API Server starting on http://0\.0\.0\.0:\d+",
        r"Max concurrency: 1",
        rf"Models: {NAME}",
    )
    at = 0
    for pattern in wanted:
        found = re.compile(pattern).search(log, at)
        assert found, pattern
        at = found.end()


def test_two_streams_at_once_mix_their_texts(begin: Begin) -> None:
    simulator = begin("--tokens-per-second", "200").until_open()
    alone = text_of(simulator.events(HI))
    with socket.create_connection(("127.0.0.1", simulator.port)) as other:
        body = json.dumps({**HI, "messages": [{"role": "user", "content": "Count to ten."}]})
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        other.sendall(f"{head}{body}".encode())
        other.recv(1)
        assert text_of(simulator.events(HI)) != alone
    assert "another run is going on in the same model" in simulator.log.read_text()


def test_a_run_goes_on_after_its_client_has_left(begin: Begin) -> None:
    simulator = begin("--tokens-per-second", "300", "--reply", "word " * 80).until_open()
    with socket.create_connection(("127.0.0.1", simulator.port)) as leaving:
        body = json.dumps(HI)
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        leaving.sendall(f"{head}{body}".encode())
        leaving.recv(1000)

    eventually(lambda: "provider not writable" in simulator.log.read_text())
    eventually(lambda: "hit eos,decode avg" in simulator.log.read_text())


def test_sigterm_during_an_answer_cuts_its_stream_without_done(begin: Begin) -> None:
    simulator = begin("--tokens-per-second", "50", "--reply", "word " * 200).until_open()
    with socket.create_connection(("127.0.0.1", simulator.port)) as stream:
        body = json.dumps(HI)
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        stream.sendall(f"{head}{body}".encode())
        received = b""
        while b"data: " not in received:
            received += stream.recv(1000)
        assert simulator.stop() == 0
        while data := _receive(stream):
            received += data
    assert b"[DONE]" not in received


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionError:
        return b""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--no-last-piece-after", "3"], ["[DONE]"]),
        (["--error-event", "bad luck"], ["error", "[DONE]"]),
        (["--cut-after-tokens", "3"], []),
    ],
)
def test_a_run_can_end_without_its_last_piece(
    begin: Begin, options: list[str], said: list[str]
) -> None:
    events = begin(*options, "--reply", "one two three").until_open().events(HI)

    assert not any('"stop"' in event for event in events)
    kinds = [event if event == "[DONE]" else next(iter(json.loads(event))) for event in events]
    assert [kind for kind in kinds if kind != "choices"] == said


def test_the_whole_stream_is_cut_by_a_bare_done_when_its_time_is_over(begin: Begin) -> None:
    simulator = begin("--tokens-per-second", "20", "--reply", "word " * 99)
    simulator.until_open()
    assert simulator.stop() == 0
    port = own_port()
    command = [sys.executable, str(ROOT / "mock_axllm.py"), *QUICK]
    command += ["--tokens-per-second", "20", "--reply", "word " * 99]
    timed = subprocess.Popen(
        [*command, "serve", str(MODEL), "--port", str(port), "--server_timeout_ms", "400"],
        stdout=subprocess.DEVNULL,
    )
    try:
        simulator.port = port
        simulator.until_open()
        events = simulator.events(HI)
    finally:
        timed.kill()
        timed.wait()
    assert events[-1] == "[DONE]"
    assert '"stop"' not in "".join(events)
    assert len(events) > 2


def test_an_old_build_reports_no_counts_and_no_limits(begin: Begin) -> None:
    simulator = begin("--dialect", "old").until_open()

    listed = json.loads(simulator.raw(b"GET /v1/models HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")[2])
    assert "max_token_len" not in listed["data"][0]
    last = json.loads(simulator.events(HI)[-2])
    assert last["usage"] == {"completion_tokens": 0, "prompt_tokens": 0, "total_tokens": 0}
    long = {**HI, "messages": [{"role": "user", "content": "word " * 3000}]}
    assert simulator.events(long) == ["[DONE]"]


def test_a_new_build_refuses_a_prompt_that_is_too_long_in_the_stream(shared: Simulator) -> None:
    long = {**HI, "messages": [{"role": "user", "content": "word " * 3000}]}
    error, done = shared.events(long)

    assert "\u957f\u5ea6\u4e0a\u9650" in json.loads(error)["error"]["message"]
    assert done == "[DONE]"


@pytest.mark.parametrize(
    ("options", "folder", "status", "said"),
    [
        (["--memory-guard"], MODEL, 255, "memory guard"),
        (["--dead-card"], MODEL, 255, "LLM.Init failed"),
        (["--exit-during-load", "7"], MODEL, 7, "LLM init start"),
        ([], Path("/nowhere"), 255, "Model path does not exist: /nowhere"),
        ([], ROOT / "docs", 255, "Config file not found: "),
    ],
)
def test_a_start_that_fails_ends_with_its_status(
    begin: Begin, options: list[str], folder: Path, status: int, said: str
) -> None:
    simulator = begin(*options, folder=folder)

    assert simulator.process.wait(20) == status
    assert said in simulator.log.read_text()


def test_a_taken_port_ends_it_before_the_load(begin: Begin) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        command = [sys.executable, str(ROOT / "mock_axllm.py"), "serve", str(MODEL), "--port"]
        done = subprocess.run(
            [*command, str(holder.getsockname()[1])], capture_output=True, text=True, check=False
        )
    assert done.returncode == 255
    assert "is unavailable: port is already in use" in done.stdout
    assert "LLM init start" not in done.stdout


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["version"], 0, "axllm version\n  git commit        : "),
        (["-h"], 0, "usage: axllm"),
        ([], 255, "usage: axllm"),
        (["dance", "x"], 255, "Unknown mode: dance"),
    ],
)
def test_the_command_line_is_the_vendors(words: list[str], status: int, said: str) -> None:
    command = [sys.executable, str(ROOT / "mock_axllm.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, said in done.stdout) == (status, True)


def test_a_picture_of_another_address_is_opened_as_a_local_file(
    begin: Begin, tmp_path: Path
) -> None:
    folder = axllm_model(tmp_path / "model", vlm_type="Qwen3VL", model_name=NAME)
    shutil.copy(MODEL / "tokenizer.txt", folder / "qwen3_tokenizer.txt")
    simulator = begin("--reply", "Rex.", folder=folder).until_open()
    secret = tmp_path / "secret"
    secret.touch()

    def see(url: str) -> str:
        part = {"type": "image_url", "image_url": {"url": url}}
        return text_of(simulator.events({**HI, "messages": [{"role": "user", "content": [part]}]}))

    assert see("data:image/png;base64,aGk=") == "Rex."
    assert "made the program open" not in simulator.log.read_text()
    assert see(str(secret)) == "Rex."
    assert f"made the program open {secret}" in simulator.log.read_text()


def test_a_continued_conversation_reuses_what_the_cache_holds(begin: Begin) -> None:
    simulator = begin("--reply", "Blue.").until_open()
    first = [{"role": "user", "content": "Which colour has the sky on a day without clouds?"}]
    simulator.events({**HI, "messages": first, "thinking_mode": "no_think"})
    turns = [*first, {"role": "assistant", "content": "Blue."}, {"role": "user", "content": "Why?"}]
    simulator.events({**HI, "messages": turns, "thinking_mode": "no_think"})

    reused = re.findall(r"precompute_len:(\d+) input_num_token", simulator.log.read_text())
    assert int(reused[0]) == 0
    assert int(reused[1]) > 10


def text_of(events: list[str]) -> str:
    choices = [json.loads(event)["choices"][0] for event in events if event.startswith("{")]
    return "".join(choice["delta"].get("content", "") for choice in choices)
