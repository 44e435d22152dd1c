"""Which web pages may call the service from a browser, by Ollama's rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_HERE = [
    f"{scheme}://{host}"
    for scheme in ("http", "https")
    for host in ("localhost", "127.0.0.1", "0.0.0.0")
]
_DESKTOP = ("app", "file", "tauri", "vscode-webview", "vscode-file")
_ALWAYS = [*_HERE, *(f"{here}:*" for here in _HERE), *(f"{scheme}://*" for scheme in _DESKTOP)]
_STAINLESS = (
    "Arch Async Custom-Poll-Interval Helper-Method Lang Os Package-Version Poll-Helper Retry-Count "
    "Runtime Runtime-Version Timeout"
)
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS",
    "Access-Control-Allow-Headers": ",".join(
        ["Authorization", "Content-Type", "User-Agent", "Accept", "X-Requested-With", "Openai-Beta"]
        + [f"X-Stainless-{name}" for name in _STAINLESS.split()]
    ),
    "Access-Control-Max-Age": "43200",  # seconds
}
_ASKED = "Access-Control-Request-Method, Access-Control-Request-Headers"


class BadOrigin(ValueError):
    """No browser sends an origin like this, in words that say what would be one."""


@dataclass(frozen=True)
class OriginDecision:
    """`status` ends the request with an empty body, `None` lets it pass; the headers belong to the
    response in both cases."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


PASS = OriginDecision()
REFUSE = OriginDecision(403)


class Origins:
    """Pages of this machine and of desktop programs may always call; `more` may, too.

    Each of `more` is an origin such as `http://pi.local:3000`, may have one `*` in it that stands
    for anything, or is `*`, which allows everybody.  Raises `BadOrigin`.
    """

    def __init__(self, more: Iterable[str] = ()) -> None:
        patterns = [pattern.strip().lower() for pattern in (*_ALWAYS, *more)]
        for pattern in patterns:
            if "://" not in pattern and "*" not in pattern:
                raise BadOrigin(f"an origin such as http://pi.local:3000, not {pattern!r}")
            if pattern.count("*") > 1:
                raise BadOrigin(f"an origin with at most one *, not {pattern!r}")
        self._everybody = "*" in patterns
        self._exact = frozenset(pattern for pattern in patterns if "*" not in pattern)
        self._ends = [
            (start, end) for start, star, end in (p.partition("*") for p in patterns) if star
        ]

    def judge(self, method: str, origin: str, host: str) -> OriginDecision:
        """`origin` and `host` are the headers, empty where there is none."""
        if not origin or origin in (f"http://{host}", f"https://{host}"):
            return PASS  # not a page, or one of our own
        if not self._allows(origin.lower()):
            return REFUSE
        if self._everybody:
            allowed = {"Access-Control-Allow-Origin": "*"}
        else:
            allowed = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        if method != "OPTIONS":
            return OriginDecision(None, allowed)
        if not self._everybody:
            allowed["Vary"] += f", {_ASKED}"
        return OriginDecision(204, allowed | _PREFLIGHT)

    def _allows(self, origin: str) -> bool:
        return (
            self._everybody
            or origin in self._exact
            or any(
                origin.startswith(start)
                and origin.endswith(end)
                and len(origin) >= len(start + end)
                for start, end in self._ends
            )
        )
