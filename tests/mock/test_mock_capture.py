"""The simulator compared byte for byte with what the vendor's real program wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile, groupby
from pathlib import Path

import pytest

from tests.mock.byte_tokenizer import ByteTokenizer
from tests.mock.conftest import FAST, POST_CONFIG, SMALL_MODEL, Runtime, eventually

pytestmark = pytest.mark.integration

CAPTURES = Path(__file__).parents[1] / "data" / "vendor-wire"
IDLE = b'{"done":true,"response":""}'
POLL = ("GET", "/api/generate_provider")
# The capture has only the beginning of this body; its length is in the tokenizer's calls.
LONG_PROMPT = json.dumps({"prompt": "x" * 880})


@dataclass
class Exchange:
    """One request of the capture and the raw response."""

    title: str
    method: str
    path: str
    body: str
    response: bytes

    @property
    def is_poll(self) -> bool:
        return (self.method, self.path) == POLL


def captured() -> list[Exchange]:
    exchanges = []
    for block in (CAPTURES / "http.txt").read_bytes().split(b"### ")[1:]:
        title, _, rest = block.partition(b"\n>>> ")
        request, _, response = rest.partition(b"\n<<<\n")
        line, _, body = request.decode().partition("\n")
        method, path = line.split()
        length = re.search(rb"Content-Length: (\d+)", response)
        assert length is not None
        end = response.index(b"\r\n\r\n") + 4 + (int(length[1]) if method != "HEAD" else 0)
        exchanges.append(Exchange(title.decode(), method, path, body, response[:end]))
    return exchanges


@dataclass
class Replay:
    """The same requests played to the simulator."""

    pairs: list[tuple[Exchange, bytes]]
    polls: list[tuple[list[bytes], list[bytes]]]
    stdout: str
    tokenizer: ByteTokenizer


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    folder = tmp_path_factory.mktemp("replay")
    (folder / "post_config.json").write_text(json.dumps(POST_CONFIG))
    tokenizer = ByteTokenizer()
    flags = "--kv-cache-size 16 --use_mmap_load_embed 1 --devices 0 --tokens-per-second 36".split()
    flags += ["--url_tokenizer_model", tokenizer.url, "--reply", "Hello world."]
    runtime = Runtime(folder, [*SMALL_MODEL, *FAST, *flags], on_terminal=True)
    try:
        runtime.ready()
        pairs, polls = [], []
        for is_poll, group in groupby(captured(), key=lambda exchange: exchange.is_poll):
            exchanges = list(group)
            if is_poll and exchanges[0].title != "provider when idle":
                polls.append(([e.response for e in exchanges], poll_like(runtime, exchanges)))
                continue
            for exchange in exchanges:
                body = LONG_PROMPT if "too long" in exchange.title else exchange.body
                if exchange.title == "generate while running (or accepted in the window)":
                    eventually(lambda: tokenizer.requests("/encode"), "the run has begun")
                sent = body if exchange.method == "POST" else None
                pairs.append((exchange, runtime.call(exchange.method, exchange.path, sent)))
                if exchange.path == "/api/reset" and b"200" in exchange.response[:15]:
                    runtime.settle()
        eventually(lambda: runtime.output.text.count("GetKVCache") == 3, "the last log line")
        yield Replay(pairs, polls, runtime.output.text, tokenizer)
    finally:
        runtime.close()
        tokenizer.close()


def poll_like(runtime: Runtime, exchanges: list[Exchange]) -> list[bytes]:
    """Poll until as much text as in the capture has come and the runtime is done."""
    wanted = text_of(e.response for e in exchanges)
    raw: list[bytes] = []

    def complete() -> bool:
        raw.append(runtime.call(*POLL))
        return text_of(raw) == wanted and raw[-1].endswith(IDLE)

    eventually(complete, f"the text {wanted!r}")
    return raw


def text_of(polls: object) -> str:
    assert hasattr(polls, "__iter__")
    return "".join(json.loads(raw.partition(b"\r\n\r\n")[2])["response"] for raw in polls)


def test_every_response_of_the_capture_is_repeated_byte_for_byte(replay: Replay) -> None:
    ours = {exchange.title: response for exchange, response in replay.pairs}
    theirs = {exchange.title: exchange.response for exchange, _ in replay.pairs}

    assert len(theirs) > 20
    assert ours == theirs


def test_polls_have_the_captures_form_and_yield_the_same_text(replay: Replay) -> None:
    theirs = {raw for polls, _ in replay.polls for raw in polls}

    for captured_polls, our_polls in replay.polls:
        assert text_of(our_polls) == text_of(captured_polls)
        assert set(our_polls) <= theirs
        # Until the worker has taken the job, "done" means "not begun".
        begun = list(dropwhile(lambda raw: raw.endswith(IDLE), our_polls))
        dones = [b'"done":true' in raw for raw in begun]
        assert dones == sorted(dones)


def test_the_tokenizer_is_asked_the_same_in_the_same_order(replay: Replay) -> None:
    theirs = []
    for line in (CAPTURES / "tokenizer-calls.jsonl").read_text().splitlines():
        entry = json.loads(line)
        path = entry.get("get") or "/" + entry["post"]
        theirs.append((path, entry.get("req", {}), entry.get("len", 0)))
    ours = [
        (call.path, call.request, call.length)
        for call in replay.tokenizer.calls
        if call.path != "/tokenize"
    ]

    assert ours == theirs


def test_the_tokenizer_is_asked_with_the_vendors_headers(replay: Replay) -> None:
    calls = replay.tokenizer.calls
    port = replay.tokenizer.url.rpartition(":")[2]
    common = [("Accept", "*/*"), ("Connection", "close")]
    tail = [("Host", f"127.0.0.1:{port}"), ("User-Agent", "cpp-httplib/0.15.3")]

    assert calls[0].headers == common + tail
    length = [("Content-Length", "21"), ("Content-Type", "application/json")]
    posted = next(call for call in calls if call.length == 21)
    assert posted.headers == common + length + tail
    # the first connection sends nothing
    assert replay.tokenizer.connections == len(calls) + 1


def test_a_terminal_shows_the_same_bytes_but_for_timings(replay: Replay) -> None:
    theirs = (CAPTURES / "stdout.pty.raw").read_bytes().decode()

    assert masked(replay.stdout) == masked(theirs)
    for busy in ("handle_generate][ 369]", "handle_reset][ 409]"):
        assert replay.stdout.count(busy) == theirs.count(busy) == 1


def masked(stdout: str) -> list[str]:
    """Lines without timings, ports and the two lines that come from racing requests."""
    stdout = re.sub(r"\[\d+\.\d+s<\d+\.\d+s, [\d.inf]+ (count|token)/s\]", r"[t \1/s]", stdout)
    stdout = re.sub(r"(ttft: |avg )\d+\.\d+", r"\1t", stdout)
    stdout = re.sub(r"(127\.0\.0\.1:|port )\d+", r"\1n", stdout)
    return [line for line in stdout.split("\n") if "model not available" not in line]
