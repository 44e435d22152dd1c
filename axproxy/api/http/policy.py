"""What settings must agree on before the service is made; all of it raises `SettingsError`."""

from __future__ import annotations

from axproxy.api.http.cors import BadOrigin, Origins
from axproxy.api.http.origins import is_loopback
from axproxy.settings import Settings, SettingsError

NO_KEY = "none"  # said on purpose


def allowed_origins(settings: Settings) -> Origins:
    """From where web pages may call."""
    try:
        return Origins(settings.origins)
    except BadOrigin as error:
        raise SettingsError(f"AX650_ORIGINS must hold {error}") from error


def required_key(settings: Settings) -> str | None:
    """The key that clients must send; `None` lets everybody in who can reach us.  It may be
    the whole network only where somebody has said so.
    """
    if settings.api_key:
        return None if settings.api_key.lower() == NO_KEY else settings.api_key
    if is_loopback(settings.host):
        return None
    raise SettingsError(
        f"listening on {settings.host} lets the whole network use the card; set AX650_API_KEY to "
        f"a key that clients must send, or to {NO_KEY} if everybody may"
    )
