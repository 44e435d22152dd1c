"""What Prometheus reads."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from axproxy.ops.metrics import Metrics
from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import FakeEngine

HEALTH: dict[str, Any] = {
    "model_loaded": True,
    "queue": {"waiting": 3, "places": 64, "answering": True},
    "kv_cache": {"hits": 5, "misses": 2},
    "runtime": {"restarts": 1},
    "tokenizer": {"restarts": None},
    "device": {"temperature_c": 52, "cmm_total_mb": 7040, "cmm_used_mb": None, "npu_percent": 50},
    "host": None,
}


def samples(page: bytes) -> dict[str, float]:
    return {
        "".join((sample.name, *sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_what_is_known_is_told_in_base_units_and_what_is_not_is_left_out() -> None:
    assert samples(Metrics(lambda: HEALTH).page()) == {
        "ax650_queue_waiting": 3,
        "ax650_queue_places": 64,
        "ax650_answering": 1,
        "ax650_model_loaded": 1,
        "ax650_card_temperature_celsius": 52,
        "ax650_card_memory_total_bytes": 7040 * 1024 * 1024,
        "ax650_card_npu_ratio": 0.5,
        "ax650_restarts_totalruntime": 1,
        "ax650_kv_cache_prompts_totalhit": 5,
        "ax650_kv_cache_prompts_totalmiss": 2,
    }


class Busy(FakeEngine):
    def health(self) -> dict[str, Any]:
        return HEALTH


def test_the_page_is_plain_text_that_prometheus_reads() -> None:
    client = create_app(Settings(), Busy()).test_client()
    reply = client.get("/metrics")

    assert reply.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert samples(reply.data)["ax650_queue_waiting"] == 3
    assert client.head("/metrics").status_code == 405
