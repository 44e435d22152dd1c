"""HTTP to the programs beside us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter


class Loopback:
    """One connection to `url`, for one thread at a time.

    It has no cookies, no redirects and no proxies: nobody beside us sends any, an environment's
    proxy must not catch these calls, and looking for them takes as long as the whole call, of
    which there are some fifty a second.
    """

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self._url = url
        self._headers = dict(headers or {})
        self._adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1)

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
        request = requests.Request(
            method, self._url + path, headers=self._headers, json=json, params=params
        )
        response = self._adapter.send(request.prepare(), timeout=timeout)
        _ = response.content  # only then can the connection be used again
        return response

    def close(self) -> None:
        self._adapter.close()
