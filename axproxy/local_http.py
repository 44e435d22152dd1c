"""HTTP to the programs beside us."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict


class LocalHTTP:
    """One connection to `url`, for one thread at a time.

    It has no cookies, no redirects and no proxies: nobody beside us sends any, an environment's
    proxy must not catch these calls, and looking for them takes as long as the whole call, of
    which there are some fifty a second.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._url = url
        self._headers = dict(headers or {})
        self._adapter = _OneServer(url)

    def call(
        self,
        method: str,
        path: str,
        *,
        timeout: float | tuple[float, float],
        json: Any = None,
        params: Mapping[str, Any] | None = None,
    ) -> requests.Response:
        """The answer, read to its end.  `timeout` is as in `requests`, in seconds; raises
        `requests.RequestException`."""
        response = self._adapter.send(self._prepared(method, path, json, params), timeout=timeout)
        _ = response.content  # only then can the connection be used again
        return response

    def close(self) -> None:
        self._adapter.close()

    def _prepared(
        self, method: str, path: str, json: Any, params: Mapping[str, Any] | None
    ) -> requests.PreparedRequest:
        # By hand: `prepare()` checks addresses and looks for cookies and for credentials.
        request = requests.PreparedRequest()
        request.method = method
        request.url = self._url + path + (f"?{urlencode(params)}" if params else "")
        request.headers = CaseInsensitiveDict(self._headers)
        if json is not None:
            request.body = json_text.dumps(json, allow_nan=False).encode()
            request.headers["Content-Type"] = "application/json"
            request.headers["Content-Length"] = str(len(request.body))
        return request


class _OneServer(HTTPAdapter):
    """Knows the way to the only server that it is for, and does not look for it at each call."""

    def __init__(self, url: str) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1)
        self._pool = self.poolmanager.connection_from_url(url)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        return self._pool

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """There is no certificate on the way from here to here."""
