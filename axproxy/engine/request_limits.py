"""The most that one request may contain.

The limits lie above what any model for the card can use, and below what the service can bear.
"""

from __future__ import annotations

from axproxy.errors import ClientError
from axproxy.messages import ChatRequest

MAX_MESSAGES = 2000
MAX_TOOLS = 256
MAX_STOPS = 64
MAX_STOP_LENGTH = 1000  # characters; each stop string is looked for at every token


def check_size(request: ChatRequest) -> None:
    """Raise `ClientError` if the request contains too much of something."""
    if len(request.messages) > MAX_MESSAGES:
        raise ClientError(f"there are more than {MAX_MESSAGES} messages; leave out the oldest")
    if len(request.tools) > MAX_TOOLS:
        raise ClientError(f"there are more than {MAX_TOOLS} tools; offer fewer")
    if len(request.limits.stop) > MAX_STOPS:
        raise ClientError(f"there are more than {MAX_STOPS} stop strings; send fewer")
    if any(len(stop) > MAX_STOP_LENGTH for stop in request.limits.stop):
        raise ClientError(
            f"a stop string is longer than {MAX_STOP_LENGTH} characters; send a shorter one"
        )
