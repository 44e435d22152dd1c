"""Answers over HTTP: whole, or line by line, and ended whatever happens to their client."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Protocol

from flask import Response

from axproxy.api.encoding import JSON
from axproxy.engine.protocol import Answer
from axproxy.errors import ClientGone, ProxyError
from axproxy.messages import Event, Finished, Text, Thinking, ToolCall, WholeReply

# Seconds.  A run without text gives a sign of life every 10 seconds, and all of those shall pass.
HEARTBEAT_INTERVAL = 9.0

log = logging.getLogger(__name__)


class Encoder(Protocol):
    """One API's bytes for the events of one answer."""

    @property
    def stream_type(self) -> str:
        """The content type of a stream."""

    def line(self, event: Event) -> bytes:
        """What a stream says of one event, with its end; an empty `Text` is a sign of life."""

    def whole(self, reply: WholeReply) -> bytes:
        """The answer in one piece."""

    def failure(self, error: ProxyError) -> bytes:
        """The last line of a stream whose status has been sent already."""

    def mid_stream_error(self, error: ProxyError) -> ProxyError:
        """The error to raise where a part of the answer is lost, for nothing has been sent."""


def respond(answer: Answer, encoder: Encoder, stream: bool) -> Response:
    """The response for `answer`, which is closed when the response is, or when this raises.

    Whatever goes wrong before the first event is raised here, so that it gets a status.
    """
    return _streamed(answer, encoder) if stream else _whole(answer, encoder)


def _whole(answer: Answer, encoder: Encoder) -> Response:
    text: list[str] = []
    thinking: list[str] = []
    calls: list[ToolCall] = []
    try:
        for event in answer:
            match event:
                case Text():
                    text.append(event.text)
                case Thinking():
                    thinking.append(event.text)
                case ToolCall():
                    calls.append(event)
                case Finished():
                    reply = WholeReply("".join(text), "".join(thinking), tuple(calls), event)
                    return Response(encoder.whole(reply), content_type=JSON)
    except ProxyError as error:
        if any((*text, *thinking, *calls)):
            raise encoder.mid_stream_error(error) from error
        raise
    finally:
        answer.close()
    raise RuntimeError("an answer must end with Finished or an error")


class Heartbeat:
    """Decides which signs of life a stream sends on: one whenever no line was sent for `interval`
    seconds."""

    def __init__(
        self, interval: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = HEARTBEAT_INTERVAL if interval is None else interval
        self._clock = clock
        self._last = clock()

    def passes(self, event: Event) -> bool:
        """Return whether to send the event: text always, an empty text when it is time for one."""
        now = self._clock()
        if event == Text("") and now - self._last < self._interval:
            return False
        self._last = now
        return True


def _streamed(answer: Answer, encoder: Encoder) -> Response:
    heartbeat = Heartbeat()
    try:
        first = next(event for event in answer if heartbeat.passes(event))
        lines = _lines(chain((first,), filter(heartbeat.passes, answer)), encoder)
        response = Response(lines, content_type=encoder.stream_type)
        # The lines' own `finally` would not do: it never runs when nobody asks for the first.
        response.call_on_close(answer.close)
    except BaseException:  # whatever it is, nobody else would close the answer
        answer.close()
        raise
    return response


def _lines(events: Iterator[Event], encoder: Encoder) -> Iterator[bytes]:
    try:
        for event in events:
            yield encoder.line(event)
    except ProxyError as error:
        log.warning("an answer was cut short: %s", error.message)
        yield encoder.failure(error)
    except ClientGone:
        log.info("the client left in the middle of its answer")
    except Exception:  # whatever broke, the status is out and the client still waits for an end
        log.exception("an answer broke off")
        yield encoder.failure(ProxyError("internal error; see the service's log"))
