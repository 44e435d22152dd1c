"""What `axllm` logs while it loads its model.

Only lines from before it serves are read here; afterwards answers stand between them.
"""

from __future__ import annotations

import re

from axproxy.card.failure import DEAD_CARD
from axproxy.process.output import plain
from axproxy.prompts.fitting import Window
from axproxy.runtimes.axllm.run_log import AxllmRunLog

# " 97% | ####  |  38 /  39 [88.17s<90.49s, 0.43 count/s] init post axmodel ok,remain_cmm(1798 MB)"
_PROGRESS = re.compile(r"(\d{1,3})% \| .*?\| +\d+ / +\d+ \[")
_NUMBER = {
    "max_token_len": re.compile(r"\| max_token_len : (\d+)"),
    "prefill_limit": re.compile(r"\| prefill_max_token_num : (\d+)"),
    "prefill_chunk": re.compile(r"\| prefill_token_num : (\d+)"),
}
_SERVING = re.compile(r"OpenAI API Server starting on ")
# After these lines it ends with status 255.
_FATAL = re.compile(
    r"LLM\.Init failed|Port \d+ is unavailable: |Model path does not exist: |Key not found: "
    r"|Failed to (?:parse|load) config|Config file not found: |serve terminated by exception: "
    r"|mem(?:ory)?[ _-]?guard.*(?:abort|unsafe|exceed)|error while loading shared libraries"
    r"|init (?:post )?axmodel\(.*\) failed|what\(\): ",
    re.IGNORECASE,
)


class AxllmLog:
    """What one process has logged since its start; fed by one thread, read by any."""

    def __init__(self) -> None:
        self.load_percent: int | None = None
        self.window: Window | None = None
        self.fault: str | None = None  # the first line that shows why it cannot work
        self.dead_card: str | None = None  # the first sign of one
        self.serving = False
        self.run = AxllmRunLog()
        self._numbers: dict[str, int] = {}

    def feed(self, line: str) -> None:
        """Read one complete line, colour codes included."""
        if self.serving:
            self.run.feed(line)
            return
        self.glimpse(line)
        text = plain(line).strip()
        if dead := DEAD_CARD.search(text):
            self.dead_card = self.dead_card or dead[0]
        if self.fault is None and (dead or _FATAL.search(text)):
            self.fault = text.rpartition(" | ")[2]
        for name, pattern in _NUMBER.items():
            if found := pattern.search(text):
                self._numbers[name] = int(found[1])
        if _SERVING.search(text):
            self.serving = True
            self.load_percent = 100
            if {"max_token_len", "prefill_limit"} <= self._numbers.keys():
                self.window = Window(
                    self._numbers["max_token_len"],
                    self._numbers["prefill_limit"],
                    self._numbers.get("prefill_chunk", 128),
                )

    def glimpse(self, unfinished: str) -> None:
        """Read a line that is still being written, as the progress bar's."""
        if not self.serving:
            for found in _PROGRESS.finditer(plain(unfinished)):
                self.load_percent = min(int(found[1]), 100)

    @property
    def prefill_chunk(self) -> int | None:
        return self._numbers.get("prefill_chunk")
