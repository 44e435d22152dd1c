"""What Prometheus learns of requests."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from axproxy.errors import Busy, ClientGone, RuntimeGone
from axproxy.messages import Finished, Text
from axproxy.ops.request_log import CLIENT_LEFT, RequestRecord
from axproxy.ops.request_metrics import RequestMetrics, outcome_of
from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import USAGE, FakeEngine, FakeModels

CHAT = {"model": "qwen3:0.6b", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        (RequestRecord(status=200, completion_tokens=3, reason="length"), "length"),
        (RequestRecord(status=200, reason=CLIENT_LEFT), "left"),
        (RequestRecord(status=499), "left"),
        (RequestRecord(status=503), "unavailable"),
        (RequestRecord(status=404), "refused"),
        (RequestRecord(status=502), "failed"),
        (RequestRecord(status=200, reason="the runtime died"), "failed"),
        (RequestRecord(status=200), "done"),
    ],
)
def test_each_request_ends_in_one_of_a_few_ways(record: RequestRecord, outcome: str) -> None:
    assert outcome_of(record) == outcome


def scraped(engine: FakeEngine, *calls: tuple[str, dict[str, object]]) -> dict[str, float]:
    client = create_app(Settings(), engine, FakeModels()).test_client()
    for path, body in calls:
        with client.post(path, json=body) as reply:
            assert reply.data is not None  # it is read to its end
    client.get("/api/tags").close()
    page = client.get("/metrics").data.decode()
    return {
        " ".join((sample.name, *(v for _, v in sorted(sample.labels.items())))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_answers_are_counted_by_api_model_and_end() -> None:
    found = scraped(
        FakeEngine(),
        ("/api/chat", CHAT),
        ("/api/chat", {**CHAT, "stream": False}),
        ("/v1/chat/completions", CHAT),
        ("/v1/messages", {**CHAT, "max_tokens": 5}),
        ("/generate", {"prompt": "Hi"}),
        ("/api/chat", {**CHAT, "model": "other"}),
    )
    ends = {name: value for name, value in found.items() if name.startswith("ax650_requests_total")}
    assert ends == {
        "ax650_requests_total ollama qwen3:0.6b stop": 2,
        "ax650_requests_total openai qwen3:0.6b stop": 1,
        "ax650_requests_total anthropic qwen3:0.6b stop": 1,
        "ax650_requests_total native qwen3:0.6b stop": 1,
        "ax650_requests_total ollama  refused": 1,  # a name that clients invent is no label
    }
    assert found["ax650_tokens_total prompt qwen3:0.6b"] == 5 * USAGE.prompt_tokens
    assert found["ax650_tokens_total completion qwen3:0.6b"] == 5 * USAGE.completion_tokens
    assert found["ax650_first_text_seconds_count qwen3:0.6b"] == 5
    assert found["ax650_queue_wait_seconds_sum qwen3:0.6b"] == pytest.approx(5 * USAGE.load)
    assert found["ax650_token_seconds_sum qwen3:0.6b"] == pytest.approx(5 * USAGE.eval)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ((Text("a"), RuntimeGone("it died")), "failed"),
        ((RuntimeGone("it died"),), "failed"),
        ((Text("a"), ClientGone()), "left"),
        ((ClientGone(),), "left"),
        ((Busy("full"),), "unavailable"),
        ((Finished("length", USAGE),), "length"),
    ],
)
def test_what_went_wrong_is_told_apart(script: tuple[Text | Exception, ...], outcome: str) -> None:
    found = scraped(FakeEngine(script=script), ("/api/chat", CHAT))
    assert found[f"ax650_requests_total ollama qwen3:0.6b {outcome}"] == 1


def test_what_is_no_request_for_an_answer_is_not_counted() -> None:
    registry = CollectorRegistry()
    metrics = RequestMetrics(registry)
    for method, path, status in (
        ("GET", "/api/tags", 200),
        ("POST", "/api/pull", 200),
        ("POST", "/restart", 409),
        ("GET", "/v1/models", 401),
    ):
        metrics.observe(RequestRecord("", method, path, status=status))
    assert not [sample for family in registry.collect() for sample in family.samples]
