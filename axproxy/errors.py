"""What can go wrong, sorted by whose fault it is.

An error proposes an HTTP status and, where trying again helps, when; the dialect that answers the
client decides how the sentence is wrapped.  Every sentence ends with what to do next.
"""

from __future__ import annotations

from collections.abc import Callable


class ProxyError(Exception):
    """The root of every error that a client may be told about."""

    status_hint = 500
    retry_after: int | None = None  # seconds

    def __init__(
        self, message: str, retry_after: int | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        if status is not None:
            self.status_hint = status
        if retry_after is not None:
            self.retry_after = retry_after


class ClientError(ProxyError):
    """The request is at fault; sending it again unchanged will fail again."""

    status_hint = 400


class UnknownModel(ClientError):
    """The request names a model that is not here."""

    status_hint = 404


class PromptTooLong(ClientError):
    """The prompt does not fit the model's window even without its older turns."""


class BodyTooLarge(ClientError):
    """The request body is larger than any prompt could be."""

    status_hint = 413


class OptionOfWrongType(ClientError):
    """An entry of `options` has the wrong type; Ollama answers this one with 500."""

    status_hint = 500


class Unavailable(ProxyError):
    """The service is fine but cannot run this request now."""

    status_hint = 503
    retry_after: int | None = 5


class Starting(Unavailable):
    """The model is being loaded; a request waits for it."""


class Restarting(Starting):
    """A program behind us failed and is started again; a request waits for that a little."""


class Unloaded(Starting):
    """The model is not on the card; a request has it loaded and waits."""


class Busy(Unavailable):
    """The line of waiting requests is full."""


class GaveUp(Unavailable):
    """The runtime failed too often; an operator is needed, so there is no time to retry at."""

    retry_after = None


class RuntimeFault(ProxyError):
    """A program behind us is at fault."""

    status_hint = 502


class RuntimeGone(RuntimeFault):
    """The runtime closed the connection or refuses it: it has died, or was stopped."""


class RuntimeMisbehaved(RuntimeFault):
    """The runtime answered something that its protocol does not know."""


class SessionLost(RuntimeMisbehaved):
    """The vendor's tokenizer script makes no text of tokens any more; only a new session helps."""


class CardFailed(RuntimeFault):
    """The card did not compute what it was asked to, so the answer means nothing."""


class RuntimeStalled(RuntimeFault):
    """The runtime is alive but has produced nothing for longer than its prompt explains."""

    status_hint = 504


class TokenizerGone(RuntimeFault):
    """The tokenizer process does not answer; its supervisor brings it back within seconds."""

    status_hint = 503
    retry_after = 2


class ClientGone(Exception):
    """The client hung up."""


# Gets what stands in the way of requests, `None` when nothing does.
OnChange = Callable[[ProxyError | None], None]
