"""The vendor's HTTP API, spoken as its program understands it."""

import ctypes
import json
import math
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import requests
import responses
from hypothesis import example, given
from hypothesis import strategies as st

from axproxy.errors import RuntimeGone, RuntimeMisbehaved, RuntimeStalled
from axproxy.messages import Sampling
from axproxy.runtimes.main_api.client import NO_PENALTY, Poll, RuntimeClient, sampling_keys
from tests.support.ports import own_port

URL = "http://127.0.0.1:8000"
BUSY = {"error": "llm is running"}


@pytest.fixture(name="vendor")
def vendors_server() -> Iterator[responses.RequestsMock]:
    """Answers in the vendor's place; every answer that a test prepares must be asked for."""
    with responses.RequestsMock() as server:
        yield server


@pytest.fixture(name="client")
def runtime_client() -> Iterator[RuntimeClient]:
    client = RuntimeClient(URL)
    yield client
    client.close()


def body_of(vendor: responses.RequestsMock) -> bytes:
    """What the first call carried."""
    body = vendor.calls[0].request.body
    assert isinstance(body, bytes)
    return body


@dataclass(frozen=True)
class Engine:
    """How the vendor's program chooses the next token: its rules, and what it ships with."""

    temperature: float | None = None
    penalty: float | None = None
    mode: tuple[str, float] = ("top-k", 1)

    def told(self, keys: dict[str, float | int]) -> "Engine":
        """What it does after a request with these keys; the others keep their values."""
        engine = self
        if "temperature" in keys:
            warm = keys["temperature"] > 0
            engine = replace(engine, temperature=keys["temperature"] if warm else None)
        if ctypes.c_float(keys.get("repetition_penalty", 0)).value - 1 >= 0.0001:
            engine = replace(engine, penalty=keys["repetition_penalty"])
        if "top-p" in keys:
            in_range = 0 < ctypes.c_float(keys["top-p"]).value < 1
            engine = replace(engine, mode=("top-p", keys["top-p"]) if in_range else ("greedy", 0))
        if "top-k" in keys:
            above = keys["top-k"] > 0
            engine = replace(engine, mode=("top-k", keys["top-k"]) if above else ("greedy", 0))
        return engine

    @property
    def greedy(self) -> bool:
        return self.mode in (("greedy", 0), ("top-k", 1))


wishes = st.builds(
    Sampling,
    temperature=st.none() | st.floats(-1, 0) | st.floats(0.01, 2),
    top_k=st.none() | st.integers(-1, 100),
    top_p=st.none() | st.just(0.0) | st.floats(0.01, 1.5),
    repeat_penalty=st.none() | st.floats(-1, 2),
)


@given(st.lists(wishes, max_size=3), wishes)
def test_no_request_is_sampled_by_the_wishes_of_an_earlier_one(
    earlier: list[Sampling], wish: Sampling
) -> None:
    engine = Engine()
    for one in earlier:
        engine = engine.told(sampling_keys(one))
    assert engine.told(sampling_keys(wish)) == Engine().told(sampling_keys(wish))


@given(wishes)
@example(Sampling(top_k=-1))
@example(Sampling(top_p=0.99999999))
def test_an_answer_is_greedy_only_on_request(wish: Sampling) -> None:
    asked = (
        (wish.temperature is not None and wish.temperature <= 0)
        or wish.top_k == 1
        or wish.top_p == 0
    )
    engine = Engine().told(sampling_keys(wish))
    assert engine.greedy == asked
    assert (engine.temperature is None) == asked


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
def test_no_number_reaches_the_program_that_it_cannot_compute_with(wish: Sampling) -> None:
    keys = sampling_keys(wish)
    told = {name: ctypes.c_float(value).value for name, value in keys.items()}

    assert json.loads(json.dumps(keys, allow_nan=False)) == keys
    assert 0 <= told["temperature"] <= 100
    assert told["temperature"] == 0 or told["temperature"] >= 0.009
    assert 1.00009 < told["repetition_penalty"] <= 10
    assert 1e-7 < told.get("top-p", 0.5) < 1
    assert 1 <= keys.get("top-k", 1) <= 2**31 - 1
    assert isinstance(keys.get("top-k", 1), int)
    assert {"top-p", "top-k"} & keys.keys()


@pytest.mark.parametrize(
    ("wish", "keys"),
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
def test_wishes_become_the_vendors_keys(wish: Sampling, keys: dict[str, float | int]) -> None:
    assert sampling_keys(wish) == keys


def test_a_reset_leaves_the_system_prompt_to_the_template(
    vendor: responses.RequestsMock, client: RuntimeClient
) -> None:
    vendor.post(f"{URL}/api/reset", json={"status": "ok"})
    assert client.reset() is True
    assert json.loads(body_of(vendor)) == {}


def test_a_reset_carries_the_systems_words_for_the_vendors_script(
    vendor: responses.RequestsMock, client: RuntimeClient
) -> None:
    vendor.post(f"{URL}/api/reset", json={"status": "ok"})
    assert client.reset(system="Be brief.") is True
    assert json.loads(vendor.calls[0].request.body or "") == {"system_prompt": "Be brief."}


def test_a_prompt_goes_out_with_all_its_sampling_keys(
    vendor: responses.RequestsMock, client: RuntimeClient
) -> None:
    vendor.post(f"{URL}/api/generate", json={"status": "ok"})
    assert client.generate("<|im_start|>\u2603", Sampling(temperature=0)) is True
    assert json.loads(body_of(vendor)) == {
        "prompt": "<|im_start|>\u2603",
        "temperature": 0,
        "repetition_penalty": NO_PENALTY,
        "top-k": 1,
    }


def test_no_connection_stays_open_and_every_body_has_its_length(
    vendor: responses.RequestsMock, client: RuntimeClient
) -> None:
    vendor.post(f"{URL}/api/generate", json={"status": "ok"})
    client.generate("Hello", Sampling())
    headers = vendor.calls[0].request.headers
    assert headers["Connection"] == "close"
    assert headers["Content-Length"] == str(len(body_of(vendor)))
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/api/reset", "/api/generate"])
def test_busy_is_no_error_for_one_who_may_ask_again(
    vendor: responses.RequestsMock, client: RuntimeClient, path: str
) -> None:
    vendor.post(URL + path, json=BUSY, status=400)
    vendor.post(URL + path, json={"status": "ok"})
    answers = [
        client.reset() if path == "/api/reset" else client.generate("x", Sampling())
        for _ in range(2)
    ]
    assert answers == [False, True]


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ({"status": 400, "json": {"error": "Invalid request format"}}, "400: Invalid request"),
        ({"status": 500, "headers": {"EXCEPTION_WHAT": "type_error.302"}}, "500: type_error.302"),
        ({"status": 500, "json": BUSY}, "500: llm is running"),
        ({"status": 404}, "404: no reason given"),
        ({"status": 413, "body": "<html>"}, "413: no reason given"),
        ({"status": 400, "json": ["llm is running"]}, "400: no reason given"),
    ],
)
def test_a_refusal_is_reported_with_its_reason(
    vendor: responses.RequestsMock, client: RuntimeClient, answer: dict[str, Any], detail: str
) -> None:
    vendor.post(f"{URL}/api/generate", **answer)
    with pytest.raises(RuntimeMisbehaved, match=f"refused /api/generate with status {detail}"):
        client.generate("x", Sampling())


def test_polls_tell_the_text_since_the_last_one(
    vendor: responses.RequestsMock, client: RuntimeClient
) -> None:
    for body in ('{"done":false,"response":""}', '{"done":true,"response":"\u2603!"}'):
        vendor.get(f"{URL}/api/generate_provider", body=body, content_type="application/json")
    assert [client.poll(), client.poll()] == [Poll("", False), Poll("\u2603!", True)]


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 404},
        {"status": 500, "json": {"done": True, "response": ""}},
        {"body": "not json"},
        {"json": []},
        {"json": {"response": ""}},
        {"json": {"done": 1, "response": ""}},
        {"json": {"done": True}},
        {"json": {"done": True, "response": None}},
    ],
    ids=str,
)
def test_a_poll_that_the_protocol_does_not_know_is_an_error(
    vendor: responses.RequestsMock, client: RuntimeClient, answer: dict[str, Any]
) -> None:
    vendor.get(f"{URL}/api/generate_provider", **answer)
    with pytest.raises(RuntimeMisbehaved, match=r"answered a poll with status .* restart"):
        client.poll()


def test_a_stop_is_a_get(vendor: responses.RequestsMock, client: RuntimeClient) -> None:
    vendor.get(f"{URL}/api/stop", json={"status": "ok"})
    client.stop()
    assert vendor.calls[0].request.body is None


@pytest.mark.parametrize(("status", "answers"), [(200, True), (404, False)])
def test_the_probe_disturbs_nothing(
    vendor: responses.RequestsMock, client: RuntimeClient, status: int, answers: bool
) -> None:
    vendor.add(responses.OPTIONS, f"{URL}/", status=status)
    assert client.answers() is answers


@pytest.mark.parametrize(
    ("error", "expected", "sentence"),
    [
        (requests.ConnectionError(), RuntimeGone, "does not answer on .*; GET /health says"),
        (requests.ReadTimeout(), RuntimeStalled, "if that lasts it is restarted"),
        (requests.ConnectTimeout(), RuntimeStalled, "if that lasts it is restarted"),
    ],
    ids=repr,
)
def test_a_runtime_out_of_reach_is_gone_and_a_silent_one_is_stalled(
    vendor: responses.RequestsMock,
    client: RuntimeClient,
    error: requests.RequestException,
    expected: type[Exception],
    sentence: str,
) -> None:
    vendor.get(f"{URL}/api/generate_provider", body=error)
    vendor.get(f"{URL}/api/stop", body=error)
    vendor.post(f"{URL}/api/reset", body=error)
    vendor.add(responses.OPTIONS, f"{URL}/", body=error)
    for call in (client.poll, client.stop, client.reset):
        with pytest.raises(expected, match=sentence):
            call()
    assert client.answers() is False


class Vendor(BaseHTTPRequestHandler):
    def do_OPTIONS(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps quiet."""


def test_a_proxy_in_the_environment_does_not_catch_the_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{own_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with HTTPServer(("127.0.0.1", 0), Vendor) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        client = RuntimeClient(f"http://127.0.0.1:{server.server_address[1]}")
        assert client.answers()
        client.close()
        server.shutdown()
        thread.join()


def test_a_runtime_that_hangs_is_stalled_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = RuntimeClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05)
        with pytest.raises(RuntimeStalled):
            client.poll()
        client.close()
