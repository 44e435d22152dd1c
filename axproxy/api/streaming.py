"""Sends answers over HTTP, whole or line by line, and ends them whatever the client does."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Protocol

from flask import Response

from axproxy.api.encoding import JSON
from axproxy.engine.protocol import Answer
from axproxy.errors import ClientGone, ProxyError
from axproxy.messages import Event, Finished, Text, Thinking, ToolCall, WholeReply
from axproxy.ops.request_log import CLIENT_LEFT, current_record

# Seconds.  A run without text gives a sign of life every 10 seconds, and all of them should pass; a
# wait gives more.  Until the first is sent, an error still has a status.
HEARTBEAT_INTERVAL = 9.0

log = logging.getLogger(__name__)


class Encoder(Protocol):
    """One API's bytes for the events of one answer."""

    @property
    def stream_type(self) -> str:
        """The content type of a stream."""

    def line(self, event: Event) -> bytes:
        """Encode one event of a stream, with its line end; an empty `Text` is a sign of life."""

    def whole(self, reply: WholeReply) -> bytes:
        """Encode the answer in one piece."""

    def failure(self, error: ProxyError) -> bytes:
        """Encode an error as the last line of a stream, after the status was sent."""

    def mid_stream_error(self, error: ProxyError) -> ProxyError:
        """Return the error to raise if a part of the answer is lost and nothing was sent."""


def respond(answer: Answer, encoder: Encoder, stream: bool) -> Response:
    """Return the response for `answer`, and close `answer` with the response or on an error.

    Errors before the first event are raised here, so that they get a status.
    """
    return _streamed(answer, encoder) if stream else _whole(answer, encoder)


def _whole(answer: Answer, encoder: Encoder) -> Response:
    record = current_record()
    text: list[str] = []
    thinking: list[str] = []
    calls: list[ToolCall] = []
    try:
        for event in answer:
            record.saw(event)
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
    """Decides which signs of life a stream sends: one after each `interval` seconds of silence."""

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
        _tell_place(response, first)
        # A `finally` in `_lines` is not enough: it does not run if the first line is never read.
        response.call_on_close(answer.close)
    except BaseException:  # whatever it is, only this code can close the answer
        answer.close()
        raise
    return response


def _tell_place(response: Response, first: Event) -> None:
    """Set the headers of a stream that begins with a sign of life out of the queue."""
    look_up = first.place if isinstance(first, Text) else None
    if look_up:
        place = look_up()
        response.headers["X-Queue-Position"] = str(place.position)
        if place.seconds is not None:
            response.headers["X-Queue-Wait"] = str(math.ceil(place.seconds))


def _lines(events: Iterator[Event], encoder: Encoder) -> Iterator[bytes]:
    record = current_record()
    try:
        for event in events:
            record.saw(event)
            yield encoder.line(event)
    except ProxyError as error:
        record.reason = error.message
        log.warning("an answer was cut short: %s", error.message)
        yield encoder.failure(error)
    except ClientGone:
        record.reason = CLIENT_LEFT
    except GeneratorExit:  # the server could not send a line
        record.reason = CLIENT_LEFT
        raise
    except Exception:  # the status was sent, and the client waits for an end
        record.reason = "internal error"
        log.exception("an answer broke off")
        yield encoder.failure(ProxyError("internal error; see the service's log"))
