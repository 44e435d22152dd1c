"""The HTTP API of the hub (huggingface.co, or the mirror in `HF_ENDPOINT`): a thin shell.

The calls are those of the hub's own client.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import requests

from axproxy.models.hub_names import Source
from axproxy.models.pull_plan import HubFile

ENDPOINT = "https://huggingface.co"
_CONNECT, STALL = 10.0, 60.0  # seconds, to connect and without a byte
_MOST_REDIRECTS = 5
_MOST_PAGES = 200
_LARGEST_LIST = 16 << 20  # bytes
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="next"')


class HubError(Exception):
    """The hub did not give what was asked for.

    `transient` says that another try may help, `retry_after` in how many seconds at the earliest.
    """

    def __init__(
        self, message: str, *, transient: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.transient = transient
        self.retry_after = retry_after


class RangeRefused(HubError):
    """The hub does not give the rest of a file; the whole of it may still be had."""


@dataclass(frozen=True)
class Part:
    """The answer to a request for the rest of a file: its bytes begin at `offset`."""

    response: requests.Response
    offset: int


class Hub:
    """One hub.  `token` is sent to its own host only, also where it redirects to another."""

    def __init__(
        self, endpoint: str = ENDPOINT, token: str | None = None, *, confined: bool = False
    ) -> None:
        # The unit of the installed service lets it reach this machine only.
        self._hint = "; if this is the installed service: sudo ax650 pull" if confined else ""
        self._endpoint = endpoint.rstrip("/")
        self._token = token
        self._session = requests.Session()
        # Without this, requests would take a name and a password from ~/.netrc.
        self._session.auth = lambda request: request

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Hub:
        """Return the hub that the hub's own variables name."""
        endpoint = environ.get("HF_ENDPOINT", "").strip() or ENDPOINT
        token = environ.get("HF_TOKEN", "").strip() or None
        return cls(endpoint, token, confined="INVOCATION_ID" in environ)  # systemd sets it

    def commit(self, source: Source) -> str:
        """Return the 40 hex digits of the commit that the source means now.  Raises `HubError`."""
        path = f"/api/models/{source.repository}/revision/{quote(source.revision, safe='')}"
        commit = self._json(path, source).get("sha")
        if not isinstance(commit, str) or not re.fullmatch("[0-9a-f]{40}", commit):
            raise HubError(f"{self._endpoint} names no commit of {source.repository}; try later")
        return commit

    def files(self, source: Source, commit: str) -> list[HubFile]:
        """Return every file of a commit.  Raises `HubError`."""
        url = f"/api/models/{source.repository}/tree/{commit}?recursive=true&expand=false"
        found: list[HubFile] = []
        for _ in range(_MOST_PAGES):
            with self._get(url, source) as response:
                found += [hub_file(row) for row in _rows(response) if row.get("type") == "file"]
                following = _NEXT.search(response.headers.get("Link", ""))
                if following is None:
                    return found
                url = urljoin(response.url, following[1])
                if urlsplit(url).netloc != urlsplit(self._endpoint).netloc:
                    raise HubError(f"{self._endpoint} sends its list from another host; try later")
        raise HubError(f"{source.repository} has too many files")

    @contextmanager
    def part(self, source: Source, commit: str, file: HubFile, offset: int) -> Iterator[Part]:
        """Yield the rest of a file from `offset`, or the whole file where the hub sends that.

        Raises `HubError`.
        """
        path = f"/{source.repository}/resolve/{commit}/{quote(file.path)}"
        headers = {"Accept-Encoding": "identity"}
        if offset:
            headers |= {"Range": f"bytes={offset}-", "If-Range": file.etag}
        with self._get(path, source, headers, allowed=(416,)) as response:
            if response.status_code == 416:
                raise RangeRefused(f"the hub has no byte {offset} of {file.path}", transient=True)
            begins = _begin(response) if response.status_code == 206 else 0
            length = response.headers.get("Content-Length")
            if length is not None and int(length) != file.size - begins:
                raise HubError(
                    f"the hub sends {length} bytes of {file.path} where {file.size - begins} are "
                    "missing; the repository may hold pointers of Git LFS: try later"
                )
            yield Part(response, begins)

    def _json(self, path: str, source: Source) -> dict[str, Any]:
        with self._get(path, source) as response:
            try:
                body = json.loads(_content(response))
            except (ValueError, RecursionError) as error:
                raise HubError(
                    f"{self._endpoint} is no hub of models; check HF_ENDPOINT"
                ) from error
        return body if isinstance(body, dict) else {}

    @contextmanager
    def _get(
        self,
        path: str,
        source: Source,
        headers: Mapping[str, str] | None = None,
        allowed: tuple[int, ...] = (),
    ) -> Iterator[requests.Response]:
        url = urljoin(f"{self._endpoint}/", path)
        for _ in range(_MOST_REDIRECTS):
            with self._request(url, headers or {}) as response:
                if response.is_redirect:
                    url = urljoin(url, response.headers["Location"])
                    continue
                if response.status_code not in (200, 206, *allowed):
                    raise self._refusal(response, source)
                yield response
                return
        raise HubError(f"{self._endpoint} redirects without end; try later")

    @contextmanager
    def _request(self, url: str, headers: Mapping[str, str]) -> Iterator[requests.Response]:
        own = urlsplit(url)[:2] == urlsplit(self._endpoint)[:2]
        sent = (
            {**headers, "Authorization": f"Bearer {self._token}"}
            if own and self._token
            else headers
        )
        try:
            response = self._session.get(
                url, headers=sent, timeout=(_CONNECT, STALL), stream=True, allow_redirects=False
            )
        except requests.RequestException as error:
            host = urlsplit(url).netloc
            problem = f"{host} cannot be reached ({type(error).__name__}){self._hint}"
            raise HubError(problem, transient=True) from error
        with response:
            yield response

    def _refusal(self, response: requests.Response, source: Source) -> HubError:
        status, what = response.status_code, f"{source.repository} at {source.revision}"
        if status in (401, 403):
            return HubError(
                f"{self._endpoint} does not give {what} to everyone; accept its licence there and "
                "set HF_TOKEN to your token"
            )
        if status == 404:
            return HubError(f"{self._endpoint} has no {what}; check the name")
        transient = status == 429 or status >= 500
        wait = response.headers.get("Retry-After", "")
        after = float(wait) if wait.isdigit() else None
        sentence = f"{urlsplit(response.url).netloc} answered with status {status}"
        return HubError(sentence, transient=transient, retry_after=after)


def hub_file(row: Mapping[str, Any]) -> HubFile:
    """Return the file in a row of the hub's list.  Raises `HubError` for a row of another form."""
    lfs = row.get("lfs")
    path, oid = row.get("path"), row.get("oid")
    large = lfs if isinstance(lfs, dict) else {}
    size, sha256 = large.get("size", row.get("size")), large.get("oid", "")
    if not (isinstance(path, str) and isinstance(oid, str) and isinstance(sha256, str)):
        raise HubError("the hub's list of files has a form that is not known; try later")
    if not isinstance(size, int) or size < 0:
        raise HubError(f"the hub gives no size of {path}; try later")
    if not re.fullmatch("[0-9a-f]{64}" if large else "[0-9a-f]{40}", sha256 if large else oid):
        raise HubError(f"the hub gives no digest of {path}; try later")
    return HubFile(path, size, sha1="" if large else oid, sha256=sha256)


def _rows(response: requests.Response) -> list[dict[str, Any]]:
    try:
        rows = json.loads(_content(response))
    except (ValueError, RecursionError) as error:
        raise HubError("the hub's list of files cannot be read; try later") from error
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _content(response: requests.Response) -> bytes:
    """Return the body of a list; a mirror must not fill this machine's memory with one."""
    content = bytearray()
    try:
        for piece in response.iter_content(1 << 16):
            content += piece
            if len(content) > _LARGEST_LIST:
                raise HubError("the hub's answer is larger than any list of files")
    except requests.RequestException as error:
        raise HubError("the connection to the hub broke off", transient=True) from error
    return bytes(content)


def _begin(response: requests.Response) -> int:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if found is None:
        raise HubError("the hub does not say which part it sends", transient=True)
    return int(found[1])
