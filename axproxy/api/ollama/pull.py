"""`POST /api/pull`: fetches a model, and reports how far that is as Ollama does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, request

from axproxy.api.encoding import NDJSON
from axproxy.api.gojson.decode import Fields, compact
from axproxy.api.http.disconnect import gone_check
from axproxy.api.http.requests import read_body
from axproxy.api.ollama.requests import name_in
from axproxy.engine.protocol import Gone
from axproxy.errors import ClientGone
from axproxy.models.catalog import Models
from axproxy.models.names import CloudModel, InvalidName, ModelName, NoName, local_name
from axproxy.models.pull_progress import PullFailed, PullProgress

NO_SUCH_MANIFEST = "pull model manifest: file does not exist"  # `ollama run` looks for it


class OllamaPullRoute:
    def __init__(self, models: Models) -> None:
        self._models = models

    def add_to(self, routes: Blueprint) -> None:
        routes.post("/api/pull")(self.pull)

    def pull(self) -> Response:
        call = parse_pull(read_body())
        steps = self._models.pull(call.name)
        if call.stream:
            return Response(pull_lines(steps), content_type=NDJSON)
        body, status = pull_result(steps, gone_check(request.environ))
        return Response(compact(body), status, content_type="application/json")


@dataclass(frozen=True)
class PullCall:
    """A download, and whether its progress is streamed."""

    name: str
    stream: bool


def parse_pull(body: bytes) -> PullCall:
    """Parse `POST /api/pull`; raises `ClientError`."""
    fields = Fields.read("PullRequest", body)
    fields.boolean("insecure")
    for name in ("username", "password"):
        fields.string(name)
    stream = fields.boolean("stream", default=True)
    name = name_in(fields)
    try:
        ModelName.parse(local_name(name))
    except NoName as error:
        raise InvalidName("invalid model name") from error
    except CloudModel:
        pass  # it is not found, as any other name that the hub does not have
    return PullCall(name, stream)


def pull_lines(steps: Iterator[PullProgress]) -> Iterator[bytes]:
    """Yield the lines of a stream; an error is the last one.  Closing it closes `steps`."""
    try:
        for step in steps:
            yield compact(_report(step)) + b"\n"
    except PullFailed as error:
        yield compact({"error": _failure(error)}) + b"\n"


def pull_result(steps: Iterator[PullProgress], gone: Gone) -> tuple[dict[str, Any], int]:
    """Return the one body of a pull without a stream, and its status.  Raises `ClientGone`."""
    try:
        for _ in steps:
            if gone():
                raise ClientGone
    except PullFailed as error:
        return {"error": _failure(error)}, 500
    return {"status": "success"}, 200


def _report(step: PullProgress) -> dict[str, Any]:
    report: dict[str, Any] = {"status": step.status}
    if step.total:
        report |= {"digest": f"sha256:{step.digest}", "total": step.total}
        if step.completed:  # Go leaves out a zero
            report["completed"] = step.completed
    return report


def _failure(error: PullFailed) -> str:
    return f"{NO_SUCH_MANIFEST}; {error}" if error.unknown else str(error)
