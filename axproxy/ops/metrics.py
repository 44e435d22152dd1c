"""What `/health` tells, as Prometheus counts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Health = Mapping[str, Any]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_MIB = 1024 * 1024

# Name, unit's factor, and where in /health the value is; what is null there is left out here.
_GAUGES = (
    ("ax650_queue_waiting", "Requests that wait for their turn", ("queue", "waiting"), 1),
    ("ax650_queue_places", "Requests that may wait", ("queue", "places"), 1),
    ("ax650_answering", "Whether an answer is being made", ("queue", "answering"), 1),
    ("ax650_model_loaded", "Whether the model is on the card", ("model_loaded",), 1),
    ("ax650_card_temperature_celsius", "Of the card", ("device", "temperature_c"), 1),
    ("ax650_card_memory_total_bytes", "CMM of the card", ("device", "cmm_total_mb"), _MIB),
    ("ax650_card_memory_used_bytes", "CMM in use", ("device", "cmm_used_mb"), _MIB),
    ("ax650_card_npu_ratio", "How busy the NPU is", ("device", "npu_percent"), 0.01),
    ("ax650_host_temperature_celsius", "Of this machine", ("host", "temperature_c"), 1),
    ("ax650_host_memory_used_bytes", "Of this machine", ("host", "memory_used_mb"), _MIB),
    ("ax650_host_cma_free_bytes", "Contiguous memory left", ("host", "cma_free_mb"), _MIB),
)


class HealthCollector(Collector):
    """Asks for the health once for each scrape."""

    def __init__(self, health: Callable[[], Health]) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        health = self._health()
        for name, help_, path, factor in _GAUGES:
            value = _at(health, path)
            if value is not None:
                yield GaugeMetricFamily(name, help_, value=float(value) * factor)
        restarts = CounterMetricFamily("ax650_restarts", "Of our programs", labels=("program",))
        for program in ("runtime", "tokenizer"):
            count = _at(health, (program, "restarts"))
            if count is not None:
                restarts.add_metric((program,), count)
        yield restarts
        prompts = CounterMetricFamily(
            "ax650_kv_cache_prompts",
            "Prompts that went on from what the cache held (hit), or began with a reset (miss)",
            labels=("result",),
        )
        for result, key in (("hit", "hits"), ("miss", "misses")):
            count = _at(health, ("kv_cache", key))
            if count is not None:
                prompts.add_metric((result,), count)
        yield prompts


class Metrics:
    def __init__(self, health: Callable[[], Health]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(HealthCollector(health))

    def page(self) -> bytes:
        """All of them in Prometheus' text form."""
        return generate_latest(self._registry)


def _at(health: Health, path: tuple[str, ...]) -> Any:
    found: Any = health
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
