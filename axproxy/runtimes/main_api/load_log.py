"""What the vendor's program says about itself on its output while it loads.

Only what it prints before it serves is believed here: afterwards prompts and answers stand between
its log lines, and a model can print anything (observed on the vendor's binary); that is read by
axproxy.runtimes.main_api.run_log.
"""

from __future__ import annotations

import re

from axproxy.card.failure import DEAD_CARD
from axproxy.process.ansi import plain
from axproxy.prompts.fitting import Window
from axproxy.runtimes.main_api.run_log import RunLog

# "\r 42% | ████     |   3 /   7 [0.17s<0.40s, 17.34 count/s] init 2 axmodel ok"
_PROGRESS = re.compile(r"(\d{1,3})% \| .*?\| +\d+ / +\d+ \[.*?count/s\]")
_NUMBER = {
    "max_token_len": re.compile(r"\]: max_token_len : (\d+)"),
    "prefill_limit": re.compile(r"\]: prefill_max_token_num : (\d+)"),
    "prefill_chunk": re.compile(r"\]: prefill_token_num : (\d+)"),
}
_SERVING = re.compile(r"Server running on port \d+\.\.\.")

# Lines after which the program is of no use, even where it goes on and says "ok"; so are those of a
# dead card.
_FATAL = re.compile(
    r"axcl_Init\(-?\d+\) failed|AXCLWorker initialization timeout"
    r"|Invalid AXCL device id|AXCLWorker exit|init (post )?axmodel\(.*\) failed"
    r"|(lLaMa|tokenizer|embed_selector)\.Init.* failed|embed file\(.*\)|not equal token_num"
    r"|max_token_len\(\d+\) > kv_cache_num|error while loading shared libraries|what\(\): "
)


class RuntimeLog:
    """Fed line by line by one thread; read by any."""

    def __init__(self) -> None:
        self.load_percent: int | None = None
        self.window: Window | None = None
        self.fault: str | None = None  # the first line that says why it cannot work
        self.dead_card: str | None = None  # the first sign of one
        self.serving = False
        self.run = RunLog()
        self._numbers: dict[str, int] = {}

    def feed(self, line: str) -> None:
        """One complete line, colours and all."""
        if self.serving:
            self.run.feed(line)
            return
        self.glimpse(line)
        said = plain(line).strip()
        if dead := DEAD_CARD.search(said):
            self.dead_card = self.dead_card or dead[0]
        if self.fault is None and (dead or _FATAL.search(said)):
            self.fault = said
        for name, pattern in _NUMBER.items():
            if found := pattern.search(said):
                self._numbers[name] = int(found[1])
        if _SERVING.search(said):
            self.serving = True
            self.load_percent = 100
            self._settle_window()

    def glimpse(self, unfinished: str) -> None:
        """A line still being written: the progress bar ends only when it is drawn again."""
        if not self.serving:
            for found in _PROGRESS.finditer(plain(unfinished)):
                self.load_percent = min(int(found[1]), 100)

    def _settle_window(self) -> None:
        # `prefill_max_token_num` is printed per group and once more as the total; the last counts.
        if {"max_token_len", "prefill_limit"} <= self._numbers.keys():
            self.window = Window(
                self._numbers["max_token_len"],
                self._numbers["prefill_limit"],
                self._numbers.get("prefill_chunk", 128),
            )
