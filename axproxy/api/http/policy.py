"""Settings that depend on each other: who may call.  Everything raises `SettingsError`."""

from __future__ import annotations

import sys
from pathlib import Path

from axproxy.api.http.named_keys import KeyFile, why_unreadable
from axproxy.api.http.origins import BadOrigin, Origins, is_loopback
from axproxy.api.http.signatures import AuthorizedKeys, BadKey
from axproxy.api_keys import BadKeyLine
from axproxy.settings import Settings, SettingsError

LARGEST_BODY = 4 * 1024 * 1024  # bytes; many times what fits the window of any model for the card

_REQUIREMENTS = Path(__file__).resolve().parents[3] / "requirements-signatures.txt"
NO_KEY = "none"  # the setting that opens the service on purpose


def allowed_origins(settings: Settings) -> Origins:
    """Return the origins whose web pages may call."""
    try:
        return Origins(settings.origins)
    except BadOrigin as error:
        raise SettingsError(f"AX650_ORIGINS must hold {error}") from error


def authorized_keys(settings: Settings) -> AuthorizedKeys | None:
    """Return the keys with which clients may sign their requests, None if none may."""
    file = settings.authorized_keys
    if file is None:
        return None
    if (settings.api_key or "").lower() == NO_KEY:
        raise SettingsError(
            f"AX650_API_KEY={NO_KEY} lets every client in, and AX650_AUTHORIZED_KEYS only some; "
            "leave one of them out"
        )
    try:
        return AuthorizedKeys(file.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(
            f"AX650_AUTHORIZED_KEYS cannot be read: {file}: {reason}; "
            "make it, and let the service's user read it"
        ) from error
    except BadKey as error:
        raise SettingsError(f"AX650_AUTHORIZED_KEYS: {file} must hold {error}") from error
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"AX650_AUTHORIZED_KEYS needs the Python package cryptography; run {sys.executable} "
            f"-m pip install -r {_REQUIREMENTS}"
        ) from error


def named_keys(settings: Settings) -> KeyFile | None:
    """Return the named keys that clients may send, None if there is no file of them."""
    file = settings.api_keys_file
    if file is None:
        return None
    if (settings.api_key or "").lower() == NO_KEY:
        raise SettingsError(
            f"AX650_API_KEY={NO_KEY} lets every client in, and AX650_API_KEYS_FILE only some; "
            "leave one of them out"
        )
    try:
        return KeyFile(file)
    except (OSError, UnicodeDecodeError, BadKeyLine) as error:
        raise SettingsError(
            f"AX650_API_KEYS_FILE cannot be used: {file}: {why_unreadable(error)}; "
            "make it with ax650 keys add NAME, and let the service's user read it"
        ) from error


def required_key(settings: Settings) -> str | None:
    """Return the key that clients must send, None if every client may call.

    A service that the whole network can reach needs a key, keys of signatures, or the explicit
    setting.
    """
    if settings.api_key:
        return None if settings.api_key.lower() == NO_KEY else settings.api_key
    if is_loopback(settings.host) or settings.authorized_keys or settings.api_keys_file:
        return None
    raise SettingsError(
        f"listening on {settings.host} lets the whole network use the card; set AX650_API_KEY to "
        f"a key that clients must send, or to {NO_KEY} to allow every client"
    )
