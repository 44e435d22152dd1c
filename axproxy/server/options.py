"""gunicorn's options on our command line: which of them the service follows, and which it cannot.

One worker owns the card, and its settings say where it listens and who may call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from axproxy.server.gunicorn_adapter import option_parser

_ONE_CARD = "one worker, which is never replaced, owns the card"
_TLS = "the service has no TLS; put a reverse proxy with TLS before it"

# Options that the service cannot follow, by gunicorn's name of the setting, and why.
_REFUSED: Mapping[str, str] = {
    "workers": _ONE_CARD,
    "worker_class": "the service has a worker of its own",
    "max_requests": _ONE_CARD,
    "max_requests_jitter": _ONE_CARD,
    "reload": _ONE_CARD,
    "preload_app": _ONE_CARD,
    "reuse_port": _ONE_CARD,
    "dirty_workers": _ONE_CARD,
    "dirty_apps": _ONE_CARD,
    "daemon": "a service in the background belongs to systemd; run ./install.sh",
    "graceful_timeout": "a model that is loading must be waited for, or the card can be dead",
    "certfile": _TLS,
    "keyfile": _TLS,
    "proxy_protocol": "the service reads HTTP only",
    "http_protocols": "the service reads HTTP/1 only",
}
# Values that change nothing.
_HARMLESS = {"workers": 1, "max_requests": 0, "max_requests_jitter": 0}


class OptionRefused(Exception):
    """Says in one sentence why an option on the command line cannot be followed."""


def settings_from_options(arguments: Sequence[str]) -> dict[str, str]:
    """Return the settings that gunicorn's options stand for: `-b` sets host and port.

    So `-b` is checked like the settings.  `arguments` come without the program.  Raises
    `OptionRefused`; ends the process if gunicorn does not know an option.
    """
    given = {
        name: value
        for name, value in vars(option_parser().parse_args(list(arguments))).items()
        if value is not None
    }
    for name, why in _REFUSED.items():
        if name in given and given[name] != _HARMLESS.get(name):
            option = name.removesuffix("_app").replace("_", "-")
            raise OptionRefused(f"--{option} is not possible here: {why}; leave the option out")
    return _address(given.get("bind") or [])


def _address(binds: Sequence[Any]) -> dict[str, str]:
    if not binds:
        return {}
    host, colon, port = str(binds[0]).rpartition(":")
    if not colon:
        host, port = port, ""
    if len(binds) > 1 or (port and not port.isdecimal()) or host in ("unix", "fd"):
        raise OptionRefused(
            f"-b takes one HOST:PORT here, not {' '.join(map(str, binds))}; "
            "AX650_OLLAMA_PORT opens a second port"
        )
    address = {"AX650_HOST": host.strip("[]") or "0.0.0.0"}
    return address | ({"AX650_PORT": port} if port else {})
