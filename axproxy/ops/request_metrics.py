"""Counts requests and measures their answers, from the records of the request log."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from axproxy.ops.request_log import CLIENT_LEFT, RequestRecord

# Seconds.  A prompt takes up to a minute, a token a second at most, a load two minutes.
_WAITS = (0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600)
_FIRST_TEXTS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 60, 120, 300)
_TOKENS = (0.02, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2)

# The first prefix that fits names the API.
_APIS = (
    ("/v1/messages", "anthropic"),
    ("/v1/", "openai"),
    ("/api/", "ollama"),
    ("/generate", "native"),
)


class RequestMetrics:
    """The metrics of all requests so far; any thread may add one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "ax650_requests",
            "Requests for an answer, by how they ended",
            ("api", "model", "outcome"),
            registry=registry,
        )
        self._tokens = Counter(
            "ax650_tokens", "Tokens of prompts and answers", ("model", "kind"), registry=registry
        )
        self._waits = Histogram(
            "ax650_queue_wait_seconds",
            "From a request to its turn, loads included",
            ("model",),
            buckets=_WAITS,
            registry=registry,
        )
        self._first_texts = Histogram(
            "ax650_first_text_seconds",
            "From a request to its first text",
            ("model",),
            buckets=_FIRST_TEXTS,
            registry=registry,
        )
        self._per_token = Histogram(
            "ax650_token_seconds",
            "Time per token of an answer after the first",
            ("model",),
            buckets=_TOKENS,
            registry=registry,
        )

    def observe(self, record: RequestRecord) -> None:
        """Add a request that has ended."""
        api = next((api for prefix, api in _APIS if record.path.startswith(prefix)), None)
        # Lists and pulls have no model, and are not counted unless they fail as an answer would.
        if api is None or record.method != "POST" or not (record.model or record.status >= 400):
            return
        self._requests.labels(api, record.model, outcome_of(record)).inc()
        if record.first_text is not None:
            self._first_texts.labels(record.model).observe(record.first_text)
        if record.completion_tokens is None:
            return
        self._tokens.labels(record.model, "prompt").inc(record.prompt_tokens or 0)
        self._tokens.labels(record.model, "completion").inc(record.completion_tokens)
        self._waits.labels(record.model).observe(record.queue_wait or 0.0)
        if record.completion_tokens > 1 and record.eval_seconds:
            per_token = record.eval_seconds / (record.completion_tokens - 1)
            self._per_token.labels(record.model).observe(per_token)


def outcome_of(record: RequestRecord) -> str:
    """Return one word for how a request ended."""
    if record.completion_tokens is not None:
        return record.reason  # stop or length
    if record.reason == CLIENT_LEFT or record.status == 499:
        return "left"
    if record.status == 503:
        return "unavailable"
    if 400 <= record.status < 500:
        return "refused"
    return "failed" if record.status >= 500 or record.reason else "done"
