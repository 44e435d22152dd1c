"""Faults of the vendor's tokenizer script; they show in the runtime's log, if at all."""

from __future__ import annotations

from axproxy.errors import RuntimeMisbehaved, SessionLost
from axproxy.runtimes.main_api.run_log import RunLog
from axproxy.runtimes.main_api.run_reader import RunReader


class ScriptFaultDetector:
    """Detects them in one run.

    `timeout` is how many seconds text may take once `log` shows the first token.
    """

    def __init__(self, log: RunLog, timeout: float) -> None:
        self._log = log
        self._timeout = timeout
        self._first_token_at: float | None = None

    def check(self, reader: RunReader, now: float) -> None:
        """Raise if the run has such a fault; called before text that was just read is passed on.

        Raises `SessionLost` where the script returns no text for tokens, `RuntimeMisbehaved` where
        this is another prompt's answer, or none.
        """
        if self._log.misread():
            raise RuntimeMisbehaved(
                "the tokenizer could not encode the prompt for the runtime; send it again"
            )
        if not reader.wordless:
            return
        if self._first_token_at is None and self._log.times().first_token is not None:
            self._first_token_at = now
        if self._first_token_at is not None and (
            reader.ended or now - self._first_token_at > self._timeout
        ):
            raise SessionLost(
                "the vendor's tokenizer script returns no text for tokens any more; it is "
                "restarted with the runtime, try again in a few minutes"
            )
        if reader.ended:  # the first token is text, whatever it is (observed on the binary)
            raise RuntimeMisbehaved(
                "the runtime answered without any text; send the request again, and if that does "
                "not help, restart the runtime and its tokenizer"
            )
