"""The five endpoints of the vendor's program, with all their quirks."""

from __future__ import annotations

from axmock import json_values
from axmock.console import Console, c_string
from axmock.crash import CppException
from axmock.engine import Engine
from axmock.faults import PollFaults
from axmock.json_values import Discarded, Json
from axmock.sampling import Sampling
from axmock.server import Handler
from axmock.wire import Request, Response

_OK = '{"status": "ok"}'
_INVALID_REQUEST = '{"error": "Invalid request format"}'
_INVALID_MESSAGE = '{"error": "Invalid message format"}'
_RUNNING = '{"error": "llm is running"}'


class Routes:
    """Handlers by method and path."""

    def __init__(
        self, engine: Engine, sampling: Sampling, console: Console, faults: PollFaults
    ) -> None:
        self._engine = engine
        self._sampling = sampling
        self._console = console
        self._faults = faults
        self._bad_utf8_due = faults.bad_utf8
        self._polls = faults.failing + faults.garbage  # no faults before the first generation
        self._answers = 0

    def table(self) -> dict[tuple[bytes, str], Handler]:
        """Return the table that the server dispatches on."""
        return {
            (b"GET", "/api/stop"): self.stop,
            (b"POST", "/api/reset"): self.reset,
            (b"POST", "/api/generate"): self.generate,
            (b"GET", "/api/generate_provider"): self.provider,
            (b"POST", "/api/chat"): self.chat,
        }

    def stop(self, _request: Request) -> Response:
        """Stop the current answer; the reply is ok in any case."""
        self._engine.stop()
        return Response(200, _OK)

    def reset(self, request: Request) -> Response:
        """Queue a reset; any JSON text is accepted."""
        try:
            body = json_values.parse(request.body)
        except Discarded:
            shown = c_string(request.body.decode("utf-8", "surrogateescape"))
            message = f"Invalid request format, body is discarded {shown}"
            self._console.error("handle_reset", 396, message)
            return Response(400, _INVALID_REQUEST)
        system_prompt = ""
        if isinstance(body, dict) and "system_prompt" in body:
            system_prompt = json_values.as_string(body["system_prompt"])
        if self._engine.running:
            self._console.error("handle_reset", 409, "model not available")
            return Response(400, _RUNNING)
        self._engine.reset_later(system_prompt)
        return Response(200, _OK)

    def generate(self, request: Request) -> Response:
        """Queue an answer.  Sampling keys are applied before the prompt's type is checked."""
        body = _object(request)
        if body is None or "prompt" not in body:
            return Response(400, _INVALID_REQUEST)
        if self._engine.running:
            self._console.error("handle_generate", 369, "model not available")
            return Response(400, _RUNNING)
        self._sampling.apply(body, self._console)
        prompt = json_values.as_string(body["prompt"])
        self._console.info("handle_generate", 376, c_string(prompt))
        self._answers += 1
        spared = self._answers <= self._faults.spared
        self._polls = self._faults.failing + self._faults.garbage if spared else 0
        self._engine.generate_later(prompt)
        return Response(200, _OK)

    def provider(self, _request: Request) -> Response:
        """Return the text that has come since the last poll, once."""
        self._polls += 1
        if self._polls <= self._faults.failing:
            return Response(500)
        if self._polls <= self._faults.failing + self._faults.garbage:
            return Response(200, '{"done":fal')
        text, done = self._engine.take_text()
        if text and self._bad_utf8_due and self._answers > self._faults.spared:
            self._bad_utf8_due = False
            what = "[json.exception.type_error.316] invalid UTF-8 byte at index 0: 0xFF"
            raise CppException(json_values.type_error, what)
        return Response(200, json_values.dump({"done": done, "response": text}))

    def chat(self, request: Request) -> Response:
        """Answer the first message that has a role and a content, on the calling thread."""
        body = _object(request)
        if body is None or "messages" not in body:
            self._console.error("handle_chat", 426, "Invalid request format")
            return Response(400, _INVALID_REQUEST)
        if self._engine.running:
            self._console.error("handle_chat", 433, "model not available")
            return Response(400, _RUNNING)
        self._sampling.apply(body, self._console)
        for message in json_values.as_array(body["messages"]):
            if isinstance(message, dict) and "role" in message and "content" in message:
                text = self._engine.answer(json_values.as_string(message["content"]))
                return Response(200, json_values.dump({"done": True, "message": text}))
        return Response(400, _INVALID_MESSAGE)


def _object(request: Request) -> dict[str, Json] | None:
    try:
        body = json_values.parse(request.body)
    except Discarded:
        return None
    return body if isinstance(body, dict) else None
