"""The page that Prometheus reads."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from axproxy import __version__
from axproxy.health import (
    CacheHealth,
    CardHealth,
    ChildHealth,
    Health,
    QueueHealth,
    RuntimeHealth,
)
from axproxy.ops.metrics import Metrics
from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import FakeEngine, FakeModels

HEALTH = Health(
    model="qwen3:0.6b",
    model_path=None,
    runtime=RuntimeHealth(
        status="ok",
        kind="vendor",
        runtime=ChildHealth("ready", 0.0, restarts=1),
        tokenizer=ChildHealth("ready", 0.0, restarts=None),
        card=CardHealth(temperature_c=52, cmm_total_mb=7040, npu_percent=50),
    ),
    queue=QueueHealth(waiting=3, answering=True, places=64),
    kv_cache=CacheHealth(hits=5, misses=2),
)


def samples(page: bytes) -> dict[str, float]:
    return {
        "".join((sample.name, *sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_metrics_are_in_base_units_and_unknown_values_are_left_out() -> None:
    assert samples(Metrics(lambda: HEALTH).page()) == {
        "ax650_queue_waiting": 3,
        "ax650_queue_places": 64,
        "ax650_answering": 1,
        "ax650_model_loaded": 1,
        "ax650_simulated": 0,
        "ax650_card_temperature_celsius": 52,
        "ax650_card_memory_total_bytes": 7040 * 1024 * 1024,
        "ax650_card_npu_ratio": 0.5,
        f"ax650_info{__version__}vendor": 1,
        "ax650_statusok": 1,
        "ax650_model_switches_total": 0,
        "ax650_restarts_totalruntime": 1,
        "ax650_kv_cache_prompts_totalhit": 5,
        "ax650_kv_cache_prompts_totalmiss": 2,
    }


def test_a_runtime_without_a_tokenizer_counts_the_restarts_of_one_program() -> None:
    alone = replace(HEALTH, runtime=replace(HEALTH.runtime, tokenizer=None))
    restarts = {name for name in samples(Metrics(lambda: alone).page()) if "restarts" in name}
    assert restarts == {"ax650_restarts_totalruntime"}


class Busy(FakeEngine):
    def health(self) -> Health:
        return HEALTH


def test_the_page_is_plain_text_that_prometheus_reads() -> None:
    client = create_app(Settings(), Busy(), FakeModels()).test_client()
    reply = client.get("/metrics")

    assert reply.content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert samples(reply.data)["ax650_queue_waiting"] == 3
    assert client.head("/metrics").status_code == 405
