"""The errors that clients get, grouped by whose fault they are.

An error proposes an HTTP status and, where a retry helps, the time of it.  The dialect that answers
the client decides how the message is wrapped.  Every message ends with what to do next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

INPUT_TOO_LONG = "the input length exceeds the context length"  # Ollama's words, of an embedding


class ProxyError(Exception):
    """The base of every error that a client may get.

    With `transient` the same request may well succeed in a moment.
    """

    status_hint = 500
    transient = False
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
    """The request is at fault; sent again unchanged it fails again."""

    status_hint = 400


class UnknownModel(ClientError):
    """The request names a model that does not exist here.

    `here` are the names of those that do; the message ends with them.
    """

    status_hint = 404

    def __init__(self, message: str, here: Sequence[str] = ()) -> None:
        names = ", ".join(f"'{name}'" for name in here)
        super().__init__(f"{message}; this service has {names}" if names else message)
        self.here = here


class PromptTooLong(ClientError):
    """The prompt does not fit the model's window, even without its older turns.

    `tokens` is how long it is without them, at least, and `limit` how long it may be; both are None
    where the program that refused it gave no numbers.
    """

    def __init__(self, message: str, tokens: int | None = None, limit: int | None = None) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.limit = limit


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

    transient = True


class Restarting(Starting):
    """A program behind us failed and is being restarted; a request waits a little for it."""


class Unloaded(Starting):
    """The model is not on the card; a request loads it and waits."""


class NoModelYet(Unavailable):
    """There is no model that could be loaded; no time to retry is given."""

    retry_after = None


class Unloadable(Unavailable):
    """A model's files or program are not as they must be; no time to retry is given."""

    retry_after = None


class Busy(Unavailable):
    """The queue of waiting requests is full."""

    transient = True


class TooManyRequests(ProxyError):
    """The client's key is at one of its limits."""

    status_hint = 429
    transient = True


class Stopping(Unavailable):
    """The service is being stopped, mostly to be started again."""

    transient = True


class GaveUp(Unavailable):
    """A program failed too often; only an operator can help, so no time to retry is given."""

    retry_after = None


class RuntimeFault(ProxyError):
    """A program behind us is at fault."""

    status_hint = 502
    transient = True


class RuntimeGone(RuntimeFault):
    """The runtime closed the connection or refuses it: it crashed or was stopped."""


class RuntimeMisbehaved(RuntimeFault):
    """The runtime gave an answer that its protocol does not have."""


class BadTemplate(RuntimeMisbehaved):
    """The model's chat template cannot be used; only another model folder helps."""

    transient = False


class SessionLost(RuntimeMisbehaved):
    """The vendor's tokenizer script no longer turns tokens into text; only a new session helps."""


class CardFailed(RuntimeFault):
    """The card failed during the computation, so the answer is meaningless."""


class RuntimeStalled(RuntimeFault):
    """The runtime is alive but has been silent for longer than its prompt explains."""

    status_hint = 504


class TokenizerGone(RuntimeFault):
    """The tokenizer process does not answer; its supervisor brings it back within seconds."""

    status_hint = 503
    retry_after: int | None = 2


class TokenizerRefused(TokenizerGone):
    """The tokenizer takes this service for another program; only an operator can change that."""

    retry_after = None


class ClientGone(Exception):
    """The client closed its connection."""


# Gets what stands in the way of requests, `None` when nothing does.
OnChange = Callable[[ProxyError | None], None]
