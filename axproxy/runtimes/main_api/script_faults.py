"""What the vendor's tokenizer script can do to a run; it shows in the runtime's log, if at all."""

from __future__ import annotations

from axproxy.errors import RuntimeMisbehaved, SessionLost
from axproxy.runtimes.main_api.run_log import RunLog
from axproxy.runtimes.main_api.run_reader import RunReader


class ScriptFaultDetector:
    """Of one run.  `patience` is how many seconds text may take once `log` tells of a token."""

    def __init__(self, log: RunLog, patience: float) -> None:
        self._log = log
        self._patience = patience
        self._spoke: float | None = None

    def check(self, reader: RunReader, now: float) -> None:
        """Before anything that was just read is handed on.

        Raises `SessionLost` where the script gives tokens no text, `RuntimeMisbehaved` where this
        is another prompt's answer, or none.
        """
        if self._log.misread():
            raise RuntimeMisbehaved(
                "the tokenizer could not read the prompt to the runtime; send it again"
            )
        if not reader.wordless:
            return
        if self._spoke is None and self._log.times().first_token is not None:
            self._spoke = now
        if self._spoke is not None and (reader.ended or now - self._spoke > self._patience):
            raise SessionLost(
                "the vendor's tokenizer script makes no text of tokens any more; it is restarted "
                "with the runtime, try again in a few minutes"
            )
        if reader.ended:  # the first token is text, whatever it is (observed on the binary)
            raise RuntimeMisbehaved(
                "the runtime answered without a word; send it again, and if that does not help "
                "restart it and its tokenizer"
            )
