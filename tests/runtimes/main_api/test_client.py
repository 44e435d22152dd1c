"""The client of the vendor's HTTP API, and the sampling keys that its program understands."""

import ctypes
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from axproxy.errors import RuntimeGone, RuntimeMisbehaved, RuntimeStalled
from axproxy.messages import Sampling
from axproxy.runtimes.main_api import client as runtime_client
from axproxy.runtimes.main_api.client import NO_PENALTY, Poll, RuntimeClient, sampling_keys
from tests.support.loopback_server import (
    CLOSE,
    HANG,
    RESET,
    LoopbackServer,
    Reply,
    loopback_server,
    reply,
)
from tests.support.ports import own_port

BUSY = {"error": "llm is running"}


@pytest.fixture(name="vendor")
def vendors_server() -> Iterator[LoopbackServer]:
    """Answers in the vendor's place; a test must request every path that it prepares."""
    with loopback_server() as server:
        yield server


@pytest.fixture(name="client")
def client_of_the_vendors_server(vendor: LoopbackServer) -> Iterator[RuntimeClient]:
    client = RuntimeClient(vendor.url)
    yield client
    client.close()


@dataclass(frozen=True)
class Sampler:
    """How the vendor's program chooses the next token: its rules and its defaults."""

    temperature: float | None = None
    penalty: float | None = None
    mode: tuple[str, float] = ("top-k", 1)

    def after(self, keys: dict[str, float | int]) -> "Sampler":
        """Return its state after a request with these keys; other keys keep their values."""
        sampler = self
        if "temperature" in keys:
            warm = keys["temperature"] > 0
            sampler = replace(sampler, temperature=keys["temperature"] if warm else None)
        if ctypes.c_float(keys.get("repetition_penalty", 0)).value - 1 >= 0.0001:
            sampler = replace(sampler, penalty=keys["repetition_penalty"])
        if "top-p" in keys:
            in_range = 0 < ctypes.c_float(keys["top-p"]).value < 1
            sampler = replace(sampler, mode=("top-p", keys["top-p"]) if in_range else ("greedy", 0))
        if "top-k" in keys:
            above = keys["top-k"] > 0
            sampler = replace(sampler, mode=("top-k", keys["top-k"]) if above else ("greedy", 0))
        return sampler

    @property
    def greedy(self) -> bool:
        return self.mode in (("greedy", 0), ("top-k", 1))


samplings = st.builds(
    Sampling,
    temperature=st.none() | st.floats(-1, 0) | st.floats(0.01, 2),
    top_k=st.none() | st.integers(-1, 100),
    top_p=st.none() | st.just(0.0) | st.floats(0.01, 1.5),
    repeat_penalty=st.none() | st.floats(-1, 2),
)


@given(st.lists(samplings, max_size=3), samplings)
def test_no_request_is_sampled_with_the_options_of_an_earlier_one(
    earlier: list[Sampling], sampling: Sampling
) -> None:
    sampler = Sampler()
    for before in earlier:
        sampler = sampler.after(sampling_keys(before))
    assert sampler.after(sampling_keys(sampling)) == Sampler().after(sampling_keys(sampling))


@given(samplings)
@example(Sampling(top_k=-1))
@example(Sampling(top_p=0.99999999))
def test_an_answer_is_greedy_only_on_request(sampling: Sampling) -> None:
    asked = (
        (sampling.temperature is not None and sampling.temperature <= 0)
        or sampling.top_k == 1
        or sampling.top_p == 0
    )
    sampler = Sampler().after(sampling_keys(sampling))
    assert sampler.greedy == asked
    assert (sampler.temperature is None) == asked


any_number = st.none() | st.floats() | st.integers(-(2**80), 2**80)


@given(
    st.builds(
        Sampling,
        temperature=any_number,
        top_k=st.none() | st.integers(),
        top_p=any_number,
        repeat_penalty=any_number,
    )
)
@example(Sampling(temperature=1e308, top_k=2**80, top_p=5e-324, repeat_penalty=1e308))
@example(Sampling(temperature=math.nan, top_p=math.nan, repeat_penalty=math.nan))
@example(Sampling(temperature=math.inf, top_p=-math.inf, repeat_penalty=math.inf))
@example(Sampling(temperature=-0.0, top_p=-0.0, repeat_penalty=-0.0))
@example(Sampling(temperature=5e-324, top_p=0.5))
def test_every_number_sent_is_one_that_the_program_can_compute_with(sampling: Sampling) -> None:
    keys = sampling_keys(sampling)
    sent = {name: ctypes.c_float(value).value for name, value in keys.items()}

    assert json.loads(json.dumps(keys, allow_nan=False)) == keys
    assert 0 <= sent["temperature"] <= 100
    assert sent["temperature"] == 0 or sent["temperature"] >= 0.009
    assert 1.00009 < sent["repetition_penalty"] <= 10
    assert 1e-7 < sent.get("top-p", 0.5) < 1
    assert 1 <= keys.get("top-k", 1) <= 32_000
    assert isinstance(keys.get("top-k", 1), int)
    assert {"top-p", "top-k"} & keys.keys()


@pytest.mark.parametrize(
    ("vocabulary", "sent"), [(512, 512), (30, 30), (None, 32_000), (151_936, 151_936)]
)
def test_top_k_never_exceeds_the_models_vocabulary(vocabulary: int | None, sent: int) -> None:
    assert sampling_keys(Sampling(top_k=2**31 - 1), vocabulary)["top-k"] == sent
    assert sampling_keys(Sampling(), vocabulary)["top-k"] == min(40, sent)


@pytest.mark.parametrize(
    ("sampling", "keys"),
    [
        (
            Sampling(),
            {"temperature": 0.8, "repetition_penalty": NO_PENALTY, "top-p": 0.9, "top-k": 40},
        ),
        (
            Sampling(temperature=0),
            {"temperature": 0, "repetition_penalty": NO_PENALTY, "top-k": 1},
        ),
        (
            Sampling(temperature=0.5, top_k=1),
            {"temperature": 0, "repetition_penalty": NO_PENALTY, "top-k": 1},
        ),
        (
            Sampling(top_p=0),
            {"temperature": 0, "repetition_penalty": NO_PENALTY, "top-k": 1},
        ),
        (
            Sampling(temperature=1, top_p=0.5),
            {"temperature": 1, "repetition_penalty": NO_PENALTY, "top-p": 0.5},
        ),
        (
            Sampling(top_p=1),
            {"temperature": 0.8, "repetition_penalty": NO_PENALTY, "top-p": 0.9999},
        ),
        (
            Sampling(top_k=0),
            {"temperature": 0.8, "repetition_penalty": NO_PENALTY, "top-p": 0.9},
        ),
        (
            Sampling(top_k=20, top_p=0.5, repeat_penalty=1.2),
            {"temperature": 0.8, "repetition_penalty": 1.2, "top-p": 0.5, "top-k": 20},
        ),
        (
            Sampling(repeat_penalty=0.5),
            {"temperature": 0.8, "repetition_penalty": NO_PENALTY, "top-p": 0.9, "top-k": 40},
        ),
    ],
)
def test_options_become_the_vendors_keys(sampling: Sampling, keys: dict[str, float | int]) -> None:
    assert sampling_keys(sampling) == keys


def test_a_reset_leaves_the_system_prompt_to_the_template(
    vendor: LoopbackServer, client: RuntimeClient
) -> None:
    vendor.on("POST", "/api/reset", reply(json={"status": "ok"}))
    assert client.reset() is True
    assert vendor.requests[0].json() == {}


def test_a_reset_carries_the_system_prompt_for_the_vendors_script(
    vendor: LoopbackServer, client: RuntimeClient
) -> None:
    vendor.on("POST", "/api/reset", reply(json={"status": "ok"}))
    assert client.reset(system="Be brief.") is True
    assert vendor.requests[0].json() == {"system_prompt": "Be brief."}


def test_a_prompt_is_sent_with_all_its_sampling_keys(
    vendor: LoopbackServer, client: RuntimeClient
) -> None:
    vendor.on("POST", "/api/generate", reply(json={"status": "ok"}))
    assert client.generate("<|im_start|>\u2603", Sampling(temperature=0)) is True
    assert vendor.requests[0].json() == {
        "prompt": "<|im_start|>\u2603",
        "temperature": 0,
        "repetition_penalty": NO_PENALTY,
        "top-k": 1,
    }


def test_no_connection_stays_open_and_every_body_has_its_length(
    vendor: LoopbackServer, client: RuntimeClient
) -> None:
    vendor.on("POST", "/api/generate", reply(json={"status": "ok"}))
    client.generate("Hello", Sampling())
    headers = vendor.requests[0].headers
    assert headers["connection"] == "close"
    assert headers["content-length"] == str(len(vendor.requests[0].body))
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/api/reset", "/api/generate"])
def test_busy_is_not_an_error_because_the_caller_may_ask_again(
    vendor: LoopbackServer, client: RuntimeClient, path: str
) -> None:
    vendor.on("POST", path, reply(400, json=BUSY), reply(json={"status": "ok"}))
    answers = [
        client.reset() if path == "/api/reset" else client.generate("x", Sampling())
        for _ in range(2)
    ]
    assert answers == [False, True]
    assert vendor.connections == 2


@pytest.mark.parametrize(
    ("refusal", "detail"),
    [
        (reply(400, json={"error": "Invalid request format"}), "400: Invalid request"),
        (reply(500, headers={"EXCEPTION_WHAT": "type_error.302"}), "500: type_error.302"),
        (reply(500, json=BUSY), "500: llm is running"),
        (reply(404), "404: no reason given"),
        (reply(413, body="<html>"), "413: no reason given"),
        (reply(400, json=["llm is running"]), "400: no reason given"),
    ],
)
def test_a_refusal_is_reported_with_its_reason(
    vendor: LoopbackServer, client: RuntimeClient, refusal: Reply, detail: str
) -> None:
    vendor.on("POST", "/api/generate", refusal)
    with pytest.raises(RuntimeMisbehaved, match=f"refused /api/generate with status {detail}"):
        client.generate("x", Sampling())


def test_a_poll_returns_the_text_since_the_last_one(
    vendor: LoopbackServer, client: RuntimeClient
) -> None:
    bodies = ('{"done":false,"response":""}', '{"done":true,"response":"\u2603!"}')
    vendor.on("GET", "/api/generate_provider", *(reply(body=body) for body in bodies))
    assert [client.poll(), client.poll()] == [Poll("", False), Poll("\u2603!", True)]


@pytest.mark.parametrize(
    "strange",
    [
        reply(404),
        reply(500, json={"done": True, "response": ""}),
        reply(body="not json"),
        reply(body="[" * 100_000),
        reply(json=[]),
        reply(json={"response": ""}),
        reply(json={"done": 1, "response": ""}),
        reply(json={"done": True}),
        reply(json={"done": True, "response": None}),
        Reply((b"HTTP/1.1 200 OK\r\nContent-Le",), then="close"),
    ],
    ids=lambda strange: next(iter(strange.pieces))[-40:].decode(),
)
def test_a_poll_that_the_protocol_does_not_know_is_an_error(
    vendor: LoopbackServer, client: RuntimeClient, strange: Reply
) -> None:
    vendor.on("GET", "/api/generate_provider", strange)
    with pytest.raises(RuntimeMisbehaved, match=r"answered a poll with status .* restart"):
        client.poll()


def test_a_stop_is_a_get(vendor: LoopbackServer, client: RuntimeClient) -> None:
    vendor.on("GET", "/api/stop", reply(json={"status": "ok"}))
    client.stop()
    assert vendor.requests[0].body == b""


@pytest.mark.parametrize(("status", "answers"), [(200, True), (404, False)])
def test_the_probe_disturbs_nothing(
    vendor: LoopbackServer, client: RuntimeClient, status: int, answers: bool
) -> None:
    vendor.on("OPTIONS", "/", reply(status))
    assert client.answers() is answers


@pytest.mark.parametrize(
    ("fault", "expected", "sentence"),
    [
        (CLOSE, RuntimeGone, "does not answer on .*; GET /health says"),
        (RESET, RuntimeGone, "does not answer on .*; GET /health says"),
        (Reply((b"SSH-2.0\r\n",)), RuntimeGone, "does not answer on .*; GET /health says"),
        (reply(headers={"Content-Length": "9"}, then="close"), RuntimeGone, "GET /health says"),
        (HANG, RuntimeStalled, "if that lasts it is restarted"),
        (reply(headers={"Content-Length": "9"}, then="hang"), RuntimeStalled, "if that lasts"),
        (Reply([b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 200]), RuntimeStalled, "if that lasts"),
    ],
    ids=["closed", "reset", "not HTTP", "half a reply", "silent", "silent body", "endless head"],
)
def test_a_runtime_out_of_reach_is_gone_and_a_silent_one_is_stalled(
    vendor: LoopbackServer,
    monkeypatch: pytest.MonkeyPatch,
    fault: Reply,
    expected: type[Exception],
    sentence: str,
) -> None:
    monkeypatch.setattr(runtime_client, "PROBE_TIMEOUT", 0.05)
    client = RuntimeClient(vendor.url, timeout=10.0 if expected is RuntimeGone else 0.05)
    vendor.on("GET", "/api/generate_provider", fault)
    vendor.on("GET", "/api/stop", fault)
    vendor.on("POST", "/api/reset", fault)
    vendor.on("OPTIONS", "/", fault)
    for call in (client.poll, client.stop, client.reset):
        with pytest.raises(expected, match=sentence):
            call()
    assert client.answers() is False


def test_a_runtime_that_does_not_listen_is_gone() -> None:
    client = RuntimeClient(f"http://127.0.0.1:{own_port()}")
    with pytest.raises(RuntimeGone, match="GET /health says"):
        client.poll()
    assert client.answers() is False


def test_a_proxy_in_the_environment_does_not_catch_the_calls(
    vendor: LoopbackServer, client: RuntimeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{own_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    vendor.on("OPTIONS", "/", reply())
    assert client.answers()
