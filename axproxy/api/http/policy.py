"""Settings that depend on each other: who may call.  Everything raises `SettingsError`."""

from __future__ import annotations

from axproxy.api.http.origins import BadOrigin, Origins, is_loopback
from axproxy.settings import Settings, SettingsError

NO_KEY = "none"  # the setting that opens the service on purpose


def allowed_origins(settings: Settings) -> Origins:
    """Return the origins whose web pages may call."""
    try:
        return Origins(settings.origins)
    except BadOrigin as error:
        raise SettingsError(f"AX650_ORIGINS must hold {error}") from error


def required_key(settings: Settings) -> str | None:
    """Return the key that clients must send, None if every client may call.

    A service that the whole network can reach needs either a key or the explicit setting.
    """
    if settings.api_key:
        return None if settings.api_key.lower() == NO_KEY else settings.api_key
    if is_loopback(settings.host):
        return None
    raise SettingsError(
        f"listening on {settings.host} lets the whole network use the card; set AX650_API_KEY to "
        f"a key that clients must send, or to {NO_KEY} to allow every client"
    )
