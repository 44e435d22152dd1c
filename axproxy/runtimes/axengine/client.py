"""The client of the worker: facts, and one answer or some vectors for each connection."""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from axproxy.errors import (
    CardFailed,
    PromptTooLong,
    ProxyError,
    Restarting,
    RuntimeGone,
    RuntimeMisbehaved,
    RuntimeStalled,
)
from axproxy.runtimes.axengine.wire import BrokenWire, LineReader, send_line

PROBE_TIMEOUT = 2.0  # seconds


class WorkerBusy(RuntimeMisbehaved):
    """The worker still computes a step for a request that has left; it is idle in a moment."""


@dataclass(frozen=True)
class WorkerInfo:
    """What the worker reports of its model: lengths in tokens.

    `window` is the number of positions, `chunk` the tokens of a prefill step.  An encoder has
    `places` in their stead: the tokens of its longest text.
    """

    provider: str
    window: int = 0
    chunk: int = 1
    places: int = 0


class WorkerClient:
    """Calls the worker at a Unix socket; safe for several threads.

    Raises `RuntimeGone` if the worker cannot be reached.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def info(self) -> WorkerInfo:
        """Return what the worker serves.  Raises `RuntimeStalled`, `RuntimeMisbehaved`."""
        with self._ask({"do": "info"}) as reply:
            facts = reply.next(PROBE_TIMEOUT).get("info")
        if not isinstance(facts, dict) or not isinstance(facts.get("provider"), str):
            raise RuntimeMisbehaved("the worker reports nothing of its model; see its log")
        numbers = {name: facts.get(name, 0) for name in ("window", "chunk", "places")}
        if not all(isinstance(number, int) for number in numbers.values()):
            raise RuntimeMisbehaved("the worker reports no numbers; see its log")
        return WorkerInfo(facts["provider"], **numbers)

    def answer(
        self, ids: Sequence[int], most: int, stop: Sequence[int], sampling: dict[str, Any]
    ) -> WorkerReply:
        """Begin an answer of at most `most` tokens; closing the reply ends it."""
        request = {"do": "answer", "ids": list(ids), "most": most, "stop": list(stop)}
        return self._ask({**request, "sampling": sampling})

    def embed(self, inputs: Sequence[Sequence[int]], pad: int = 0) -> WorkerReply:
        """Begin to compute one vector for the tokens of each text; `pad` stands behind them."""
        return self._ask({"do": "embed", "inputs": [list(ids) for ids in inputs], "pad": pad})

    def _ask(self, request: dict[str, Any]) -> WorkerReply:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(PROBE_TIMEOUT)
            connection.connect(str(self._path))
            send_line(connection, request)
        except OSError as error:
            connection.close()
            raise RuntimeGone(
                "the worker does not answer; GET /health says what became of it"
            ) from error
        return WorkerReply(connection)


class WorkerReply:
    """The messages that answer one request; closing it has the worker stop at its next step."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = LineReader(connection)

    def __enter__(self) -> WorkerReply:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def comes(self, wait: float) -> bool:
        """Return whether there is something to read, after at most `wait` seconds."""
        return self._lines.has_line or bool(select.select([self._connection], [], [], wait)[0])

    def next(self, timeout: float) -> dict[str, Any]:
        """Return the next message.

        Raises `RuntimeStalled` after `timeout` seconds, what `error_of` returns, and `RuntimeGone`.
        """
        self._connection.settimeout(timeout)
        try:
            message = self._lines.read()
        except TimeoutError as error:
            raise RuntimeStalled("the worker does not answer; if that lasts, restart it") from error
        except (BrokenWire, OSError) as error:
            raise RuntimeGone("the worker broke the answer off; send it again") from error
        if "error" in message:
            raise error_of(str(message.get("fault")), str(message["error"]))
        return message


def error_of(fault: str, message: str) -> ProxyError:
    """Return our error for the worker's."""
    match fault:
        case "busy":
            return WorkerBusy("the worker still works for another request; try again in a moment")
        case "prompt":
            return PromptTooLong(f"the model cannot read this prompt: {message}")
        case "stopping":
            return Restarting("the runtime is being stopped; try again in a moment")
    return CardFailed(
        f"the card failed while answering ({message}); the runtime is restarted, try again in a "
        "few minutes"
    )
