"""The HTTP side: eight threads, one request in the handler at a time, streams beside it."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from axmock.axllm import replies
from axmock.axllm.chat import (
    INVALID,
    Chat,
    Refused,
    TypeMismatch,
    check_model,
    parse_chat,
    parse_object,
)
from axmock.axllm.config import Config
from axmock.axllm.console import Console
from axmock.axllm.model import Ending, Model, Run
from axmock.axllm.template import render
from axmock.wire import BadMessage, Gone, Headers, Request, Stream, parse_request_line, read_body

THREADS = 8
KEEP_ALIVE_SECONDS = 5.0
REQUESTS_PER_CONNECTION = 100
SLOT_TIMEOUT = 5.0  # seconds that a second request waits for the handler
FAILED = "模型运行失败\uff0c请重新尝试。"  # "the run failed, try again"
EMBEDDING_FAILED = "embedding 计算失败\uff0c请重新尝试。"
_CHAT = ("/v1/chat/completions", "/chat/completions")
_MODELS = ("/v1/models", "/models")


class Server:
    """Serves one model; a signal handler may call `stop`, which does nothing before `open`."""

    def __init__(
        self,
        config: Config,
        model: Model,
        console: Console,
        limits: tuple[int, int],
        *,
        old: bool,
        timeout: float,
        refusals: list[int],
    ) -> None:
        self._config, self._model, self._console = config, model, console
        self._limits, self._old, self._timeout = limits, old, timeout
        self._refusals = refusals  # statuses of the answers that are refused next
        self._slot = threading.Semaphore(1)
        self._handling = 0
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)

    @property
    def running(self) -> bool:
        return self._listener is not None

    def open(self, host: str, port: int) -> None:
        """Listen.  Raises `OSError`."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            listener.bind((host, port))
            listener.listen(128)
        except OSError:
            listener.close()
            raise
        self._listener = listener

    def serve(self) -> None:
        """Accept until `stop`."""
        signal.set_wakeup_fd(self._wake_in, warn_on_full_buffer=False)
        poller = select.poll()
        poller.register(self._wake_out, select.POLLIN)
        if self._listener:
            poller.register(self._listener, select.POLLIN)
        pool = ThreadPoolExecutor(THREADS)
        while self._listener:
            for descriptor, _ in poller.poll():
                if descriptor == self._wake_out:
                    os.read(self._wake_out, 4096)
                    continue
                with contextlib.suppress(OSError, AttributeError):
                    connection, _ = self._listener.accept()
                    self._open.add(connection)
                    pool.submit(self._serve_connection, connection)

    def stop(self) -> None:
        """Close the port, and cut every stream."""
        listener, self._listener = self._listener, None
        if listener:
            listener.close()
            for connection in list(self._open):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _serve_connection(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(KEEP_ALIVE_SECONDS)
            for _ in range(REQUESTS_PER_CONNECTION):
                if not self._serve_request(connection):
                    break
        except OSError:
            pass
        finally:
            self._open.discard(connection)
            connection.close()

    def _serve_request(self, connection: socket.socket) -> bool:
        stream = Stream(connection)
        try:
            request = parse_request_line(stream.line())
            request.headers = Headers()
            request.headers.read(stream)
            if request.has_body:
                request.body = read_body(stream, request)
        except Gone:
            return False
        except BadMessage as error:
            connection.sendall(replies.error(400, INVALID, str(error)))
            return False
        try:
            return self._answer(connection, request) and not request.wants_close
        except Refused as error:
            connection.sendall(replies.error(error.status, error.code, error.message))
        except TypeMismatch as error:
            connection.sendall(replies.exception(str(error)))
        return True

    def _answer(self, connection: socket.socket, request: Request) -> bool:
        """Answer one request; return whether the connection may go on."""
        if request.method == b"OPTIONS":
            connection.sendall(replies.OPTIONS)
            return True
        to_head = request.method == b"HEAD"
        method = "GET" if to_head else request.method.decode()
        match method, request.path:
            case "GET", "/health":
                connection.sendall(replies.reply(replies.health(self._handling), to_head=to_head))
            case "GET", path if path in _MODELS:
                listed = replies.models(self._config, self._limits, old=self._old)
                connection.sendall(replies.reply(listed, to_head=to_head))
            case "POST", path if path in _CHAT and not self._config.is_embedding:
                return self._chat(connection, request)
            case "POST", ("/v1/embeddings" | "/embeddings") as path if self._config.is_embedding:
                with self._handler():
                    connection.sendall(self._embeddings(request.body, bare=path == "/embeddings"))
            case "POST", "/embedding" if self._config.is_embedding:
                with self._handler():
                    connection.sendall(self._embedding(request.body))
            case _:
                connection.sendall(replies.NOT_FOUND)
                return False
        return True

    @contextlib.contextmanager
    def _handler(self) -> Iterator[None]:
        if not self._slot.acquire(timeout=SLOT_TIMEOUT):
            raise Refused(503, "rate_limit_exceeded", "Rate limit exceeded")
        self._handling += 1
        try:
            yield
        finally:
            self._handling -= 1
            self._slot.release()

    def _chat(self, connection: socket.socket, request: Request) -> bool:
        with self._handler():
            if self._refusals:
                raise _refusal(self._refusals.pop())
            chat = parse_chat(request.body, self._config, self._note_opened)
            self._note(chat)
            run = self._begin(chat)
            if not chat.stream:
                connection.sendall(self._whole(run))
                return True
        # A stream's handler returns at once, so it holds up no other request.
        self._stream(connection, run)
        return False

    def _begin(self, chat: Chat) -> Run:
        prompt = render(chat.turns, chat.thinking)
        question = next((text for role, text in reversed(chat.turns) if role == "user"), "")
        return self._model.begin(prompt, question, chat.limit, chat.thinking)

    def _whole(self, run: Run) -> bytes:
        texts, deadline = [], time.monotonic() + self._timeout
        while True:
            if not (item := _next(run, deadline)):
                return replies.error(504, "server_error", "Request timeout")
            if isinstance(item, Ending):
                break
            texts.append(item)
        if not item.whole:
            return replies.error(400, "model_error", item.error or FAILED)
        text = "".join(texts)
        name = self._config.model_name
        return replies.reply(replies.completion(name, text, item.counts, old=self._old))

    def _stream(self, connection: socket.socket, run: Run) -> None:
        name, deadline = self._config.model_name, time.monotonic() + self._timeout
        try:
            connection.sendall(replies.STREAM_HEAD)
            item: str | Ending | None = None
            while not isinstance(item, Ending) and (item := _next(run, deadline)) is not None:
                if isinstance(item, str):
                    connection.sendall(replies.http_chunk(replies.delta(name, item)))
            ending = item if isinstance(item, Ending) else Ending()
            if ending.cut:
                return
            if ending.error is not None:
                said = {"error": {"message": ending.error, "type": "model_error"}}
                connection.sendall(replies.http_chunk(replies.event(said)))
            elif ending.whole:
                last = replies.last(name, ending.counts, old=self._old)
                connection.sendall(replies.http_chunk(last))
            connection.sendall(replies.http_chunk(replies.DONE))
            connection.sendall(b"0\r\n\r\n")
        except OSError:
            run.listener_gone = True  # the run goes on to its end

    def _embeddings(self, body: bytes, *, bare: bool) -> bytes:
        fields = parse_object(body, embedding=True)
        check_model(fields, self._config)
        given = fields.get("input")
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise Refused(400, INVALID, "Missing 'input' field")
        size = self._config.embedding_size
        vectors = []
        for text in texts:
            if self._model.count(text) > self._limits[1]:
                raise Refused(400, "model_error", EMBEDDING_FAILED)
            vectors.append(self._model.embed(text, size))
        found = replies.embeddings(self._config.model_name, vectors)
        bare_list = [
            {"embedding": [entry["embedding"]], "index": entry["index"]} for entry in found["data"]
        ]
        return replies.reply(bare_list if bare else found)

    def _embedding(self, body: bytes) -> bytes:
        fields = parse_object(body, embedding=True)
        vector = self._model.embed(str(fields.get("content", "")), self._config.embedding_size)
        return replies.reply({"embedding": vector, "model": self._config.model_name})

    def _note(self, chat: Chat) -> None:
        self._console.log(
            "INF",
            "operator():1",
            f"OpenAI chat request: model={self._config.model_name} stream={int(chat.stream)} "
            f"max_tokens={chat.limit} thinking_mode={chat.thinking} messages={len(chat.turns)}",
        )

    def _note_opened(self, path: str) -> None:
        self._console.log("WRN", "open:1", f"a client made the program open {path}")


def _next(run: Run, deadline: float) -> str | Ending | None:
    """Return the next piece; `None` at the end of the whole stream's time."""
    try:
        return run.pieces.get(timeout=max(deadline - time.monotonic(), 0.0))
    except queue.Empty:
        return None


def _refusal(status: int) -> Exception:
    if status == 500:
        return TypeMismatch("boolean", None)
    code = "server_error" if status == 504 else "rate_limit_exceeded"
    return Refused(status, code, "Request timeout" if status == 504 else "Rate limit exceeded")
