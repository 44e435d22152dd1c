"""Errors in Ollama's words, which clients search for."""

from __future__ import annotations

from typing import Any

from axproxy.errors import Busy, PromptTooLong, ProxyError, RuntimeFault, TokenizerGone

QUEUE_FULL = "server busy, please try again.  maximum pending requests exceeded"  # two blanks
TOO_LONG = (
    "the prompt is longer than the context length currently available to the model; shorten the "
    "prompt, adjust the context length in settings, or use a model with a longer context length"
)
RUNNER_STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal "
    "error, check ollama server logs for details"
)
MID_STREAM = "an error was encountered while running the model"
UPSTREAM = "upstream error"  # in an open chat, `ollama run` ends at every error without these words


def error_body(error: ProxyError) -> tuple[dict[str, Any], int]:
    """Return the body and the status of the reply to a request that failed."""
    worded = _marked(error, in_ollama_words(error))
    return {"error": worded.message}, worded.status_hint


def stream_error(error: ProxyError) -> ProxyError:
    """Return `error` as it is worded for Ollama's own clients in the middle of an answer."""
    return _marked(error, mid_stream_error(error))


def in_ollama_words(error: ProxyError) -> ProxyError:
    """Return `error` as Ollama words it before the answer begins."""
    match error:
        case Busy():
            return _reworded(error, QUEUE_FULL)
        case PromptTooLong():
            return _reworded(error, TOO_LONG)
        case TokenizerGone():  # back within seconds, and the card is fine
            return error
        case RuntimeFault():
            return _reworded(error, f"{RUNNER_STOPPED}: {error.message}", 500)
    return error


def mid_stream_error(error: ProxyError) -> ProxyError:
    """Return `error` as Ollama words it in the middle of an answer."""
    if isinstance(error, RuntimeFault):
        return _reworded(error, f"{MID_STREAM}: {error.message}", 500)
    return in_ollama_words(error)


def _marked(error: ProxyError, worded: ProxyError) -> ProxyError:
    if not error.transient:
        return worded
    return _reworded(worded, f"{UPSTREAM}: {worded.message}")


def _reworded(error: ProxyError, message: str, status: int | None = None) -> ProxyError:
    return ProxyError(message, error.retry_after, status or error.status_hint)
