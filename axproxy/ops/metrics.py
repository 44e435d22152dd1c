"""The values of `/health`, and what requests have shown, as metrics for Prometheus."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from axproxy import __version__
from axproxy.health import CacheHealth, Health
from axproxy.ops.request_metrics import RequestMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_MIB = 1024 * 1024

# Name, help, the attribute of `Health`, and the factor of its unit.
_GAUGES = (
    ("ax650_queue_waiting", "Requests that wait for their turn", "queue.waiting", 1),
    ("ax650_queue_places", "Requests that may wait", "queue.places", 1),
    ("ax650_answering", "Whether an answer is being made", "queue.answering", 1),
    ("ax650_model_loaded", "Whether the model is on the card", "runtime.model_loaded", 1),
    ("ax650_simulated", "Whether a simulator answers, not a model", "runtime.simulated", 1),
    ("ax650_card_temperature_celsius", "Of the card", "runtime.card.temperature_c", 1),
    ("ax650_card_memory_total_bytes", "CMM of the card", "runtime.card.cmm_total_mb", _MIB),
    ("ax650_card_memory_used_bytes", "CMM in use", "runtime.card.cmm_used_mb", _MIB),
    ("ax650_card_npu_ratio", "How busy the NPU is", "runtime.card.npu_percent", 0.01),
    ("ax650_host_temperature_celsius", "Of this machine", "runtime.host.temperature_c", 1),
    ("ax650_host_memory_used_bytes", "Of this machine", "runtime.host.memory_used_mb", _MIB),
    ("ax650_host_cma_free_bytes", "Contiguous memory left", "runtime.host.cma_free_mb", _MIB),
)


class HealthCollector(Collector):
    """Reads the health once per scrape; leaves out what is not known."""

    def __init__(self, health: Callable[[], Health], store: Path | None) -> None:
        self._health = health
        self._store = store

    def collect(self) -> Iterator[Metric]:
        health = self._health()
        for name, help_, attribute, factor in _GAUGES:
            value = attrgetter(attribute)(health)
            if value is not None:
                yield GaugeMetricFamily(name, help_, value=float(value) * factor)
        yield from self._labelled(health)
        restarts = CounterMetricFamily("ax650_restarts", "Of our programs", labels=("program",))
        programs = {"runtime": health.runtime.runtime, "tokenizer": health.runtime.tokenizer}
        for name, program in programs.items():
            if program and program.restarts is not None:
                restarts.add_metric((name,), program.restarts)
        yield restarts

    def _labelled(self, health: Health) -> Iterator[Metric]:
        info = GaugeMetricFamily("ax650_info", "The service", labels=("version", "runtime"))
        info.add_metric((__version__, health.runtime.kind), 1)
        yield info
        status = GaugeMetricFamily("ax650_status", "As in /health; always 1", labels=("status",))
        status.add_metric((health.runtime.status,), 1)
        yield status
        yield CounterMetricFamily(
            "ax650_model_switches", "Loads of a model in the place of others", health.switches
        )
        if self._store is None:
            return
        with contextlib.suppress(OSError):  # there is no store yet
            free = float(shutil.disk_usage(self._store).free)
            yield GaugeMetricFamily("ax650_store_free_bytes", "Of the store's disk", value=free)


class CacheCollector(Collector):
    """Reads how often the KV cache was of use."""

    def __init__(self, health: Callable[[], Health]) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        prompts = CounterMetricFamily(
            "ax650_kv_cache_prompts",
            "Prompts that continued from the KV cache (hit), or began with a reset (miss)",
            labels=("result",),
        )
        cache = self._health().kv_cache or CacheHealth()
        prompts.add_metric(("hit",), cache.hits)
        prompts.add_metric(("miss",), cache.misses)
        yield prompts


class Metrics:
    """All metrics; `store` is the folder whose disk is watched."""

    def __init__(self, health: Callable[[], Health], store: Path | None = None) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(HealthCollector(health, store))
        self._for_operators = CollectorRegistry()
        self._for_operators.register(CacheCollector(health))
        self.requests = RequestMetrics(self._registry)

    def page(self, *, to_operator: bool = True) -> bytes:
        """Return all metrics in the text format of Prometheus.

        Only an operator sees the hits of the KV cache: they tell whether another client has had the
        conversation that one has just sent.
        """
        page: bytes = generate_latest(self._registry)
        return page + (generate_latest(self._for_operators) if to_operator else b"")
