"""Serves one model on a private Unix socket: one answer at a time, facts at any time."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from axproxy.runtimes.axengine.wire import BrokenWire, Fault, LineReader, send_line
from axproxy.runtimes.axengine.worker.decoder import BadPrompt, Decoder, Run
from axproxy.runtimes.axengine.worker.encoder import TextEncoder
from axproxy.runtimes.axengine.worker.sampling import Sampler, SamplingValues
from axproxy.runtimes.axengine.worker.work import Work

Message = dict[str, Any]

READ_TIMEOUT = 10.0  # seconds for a request to arrive


class WorkerServer:
    """Answers requests at `path`; `provider` is the one that computes, `work` what it has done."""

    def __init__(
        self, path: Path, model: Decoder | TextEncoder, provider: str, work: Work | None = None
    ) -> None:
        self._model = model
        self._work = work or Work()
        self._provider = provider
        self._computing = threading.Lock()
        self._stopping = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)  # for this user only, also before the folder is looked at
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(before)
        self._listener.listen(8)

    def serve(self) -> None:
        """Answer until `stop`; the answer that is on then ends at its next token."""
        threads: list[threading.Thread] = []
        while not self._stopping.is_set():
            if not select.select([self._listener], [], [], 0.2)[0]:
                continue
            connection, _ = self._listener.accept()
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            thread.start()
            threads = [thread, *(other for other in threads if other.is_alive())]
        self._listener.close()
        with self._computing:  # nothing may be freed under a run
            pass

    def stop(self) -> None:
        """End `serve`; safe in a signal handler."""
        self._stopping.set()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(READ_TIMEOUT)
            try:
                request = LineReader(connection).read()
                match request.get("do"), self._model:
                    case "info", _:
                        send_line(connection, {"info": self._info()})
                    case "answer", Decoder() as decoder:
                        self._alone(connection, lambda: self._answer(decoder, connection, request))
                    case "embed", TextEncoder() as encoder:
                        self._alone(connection, lambda: embed(encoder, connection, request))
                    case _:
                        send_line(connection, _failure("the model cannot do that", "prompt"))
            except (BrokenWire, OSError):
                return  # the service has gone; it asks again if it wants to

    def _info(self) -> Message:
        model = self._model
        facts: dict[str, Any] = {"provider": self._provider}
        if isinstance(model, TextEncoder):
            return {**facts, "kind": "encoder", "places": model.places}
        return {**facts, "kind": "decoder", "window": model.window, "chunk": model.chunk}

    def _alone(self, connection: socket.socket, do: Callable[[], Message]) -> None:
        """Send what `do` returns once the next request may run."""
        if not self._computing.acquire(blocking=False):
            last = _failure("another answer is on", "busy")
        else:
            try:
                last = do()
            except BadPrompt as error:
                last = _failure(str(error), "prompt")
            except (BrokenWire, OSError):
                raise
            except Exception as error:  # noqa: BLE001 - the library raises bare classes
                last = _failure(str(error) or type(error).__name__, "card")
            finally:
                self._computing.release()
        send_line(connection, last)

    def _answer(self, decoder: Decoder, connection: socket.socket, request: Message) -> Message:
        run = run_of(request)
        send_line(connection, {"reused": decoder.reusable(run.ids)})
        started = time.monotonic()
        first, before = None, self._work
        answer = decoder.answer(run, lambda: self._stopping.is_set() or has_left(connection))
        while True:
            try:
                token = next(answer)
            except StopIteration as end:
                reason = end.value
                break
            if first is None:
                first, before = time.monotonic(), replace(self._work)
            send_line(connection, {"token": token})
        if self._stopping.is_set():
            return _failure("the program is being stopped", "stopping")
        ended = time.monotonic()
        first = first or ended
        # From the first token on: the prompt's steps are of another kind.
        done = {
            "calls": self._work.calls - before.calls,
            "inside": self._work.seconds - before.seconds,
        }
        return {"end": reason, "prompt_eval": first - started, "eval": ended - first, **done}


def run_of(request: Message) -> Run:
    """Return what a request for an answer asks for.  Raises `BadPrompt`."""
    try:
        sampler = Sampler(SamplingValues(**request.get("sampling", {})))
        stop = frozenset(request.get("stop", []))
        return Run(list(request["ids"]), sampler, stop, request.get("most"))
    except (KeyError, TypeError, ValueError) as error:
        raise BadPrompt(f"the request makes no sense ({error})") from error


def embed(encoder: TextEncoder, connection: socket.socket, request: Message) -> Message:
    """Return one vector for each text.  Raises `BadPrompt`, and what the library raises."""
    vectors = []
    for ids in request["inputs"]:
        if not 0 < len(ids) <= encoder.places:
            raise BadPrompt(f"a text has {len(ids)} tokens; at most {encoder.places} fit")
        if has_left(connection):
            break
        vectors.append(encoder.encode(ids, request.get("pad", 0)))
    return {"vectors": vectors}


def has_left(connection: socket.socket) -> bool:
    """Return whether the other side has closed the connection; it sends nothing more."""
    return bool(select.select([connection], [], [], 0)[0])


def _failure(message: str, fault: Fault) -> Message:
    return {"error": message, "fault": fault}
