"""What the vendor's program logs about itself while it loads.

Only lines from before it serves are read here.  Afterwards prompts and answers stand between its
log lines, and a model can print anything (observed on the vendor's binary);
axproxy.runtimes.main_api.run_log reads those.
"""

from __future__ import annotations

import re

from axproxy.card.failure import DEAD_CARD, REFUSED_FILE, why_refused
from axproxy.process.output import plain
from axproxy.prompts.fitting import Window
from axproxy.runtimes.main_api.run_log import RunLog

# "\r 42% | ████     |   3 /   7 [0.17s<0.40s, 17.34 count/s] init 2 axmodel ok"
_PROGRESS = re.compile(r"(\d{1,3})% \| .*?\| +\d+ / +\d+ \[.*?count/s\]")
_NUMBER = {
    "max_token_len": re.compile(r"\]: max_token_len : (\d+)"),
    "prefill_limit": re.compile(r"\]: prefill_max_token_num : (\d+)"),
    "prefill_chunk": re.compile(r"\]: prefill_token_num : (\d+)"),
}
# One line per group of slots, the largest last; some builds log no total after them.
_GROUP = re.compile(r"\]: grp: \d+, prefill_max_token_num : (\d+)")
# The dynamic loader's, of the C library that the program was built with.
_OUTDATED = re.compile(r"version \W(\w+_[\d.]+)\W not found")
_SERVING = re.compile(r"Server running on port \d+\.\.\.")

# After these lines the program is unusable, even where it goes on and logs "ok"; so it is after the
# lines of a dead card.
_FATAL = re.compile(
    r"axcl_Init\(-?\d+\) failed|AXCLWorker initialization timeout"
    r"|Invalid AXCL device id|AXCLWorker exit|init (post )?axmodel\(.*\) failed"
    r"|(lLaMa|tokenizer|embed_selector)\.Init.* failed|embed file\(.*\)|not equal token_num"
    r"|max_token_len\(\d+\) > kv_cache_num|error while loading shared libraries|what\(\): "
    rf"|{_OUTDATED.pattern}"
)


class RuntimeLog:
    """What the program has logged since its start; fed by one thread, read by any."""

    def __init__(self) -> None:
        self.load_percent: int | None = None
        self.window: Window | None = None
        self.fault: str | None = None  # the first line that shows why it cannot work
        self.dead_card: str | None = None  # the first sign of one
        self.refused: str | None = None  # the model file that the card refused; empty: not named
        self.lacking: str | None = None  # the version of a library that this system does not have
        self.serving = False
        self.run = RunLog()
        self._numbers: dict[str, int] = {}
        self._largest_group = 0

    def feed(self, line: str) -> None:
        """Read one complete line, colour codes included."""
        if self.serving:
            self.run.feed(line)
            return
        self.glimpse(line)
        text = plain(line).strip()
        refused, dead = REFUSED_FILE.search(text), DEAD_CARD.search(text)
        if refused:
            self.refused = refused["file"] or self.refused or ""
        elif dead:
            self.dead_card = self.dead_card or dead[0]
        if self.fault is None and (dead or _FATAL.search(text)):
            self.fault = text
        if outdated := _OUTDATED.search(text):
            self.lacking = self.lacking or outdated[1]
        if group := _GROUP.search(text):
            self._largest_group = max(self._largest_group, int(group[1]))
        for name, pattern in _NUMBER.items():
            if found := pattern.search(text):
                self._numbers[name] = int(found[1])
        if _SERVING.search(text):
            self.serving = True
            self.load_percent = 100
            self._settle_window()

    def why_useless(self) -> str | None:
        """Return why the program cannot work, from its output; `None` if nothing shows that."""
        if self.refused is not None and self.dead_card is None:
            return why_refused(self.refused)
        if self.lacking:
            return (
                f"it needs a newer system: {self.lacking} is not found here; install Debian 12, "
                "Ubuntu 22.04 or newer, or take an older build of the program"
            )
        return f"it logged: {self.fault}" if self.fault else None

    def why_ended(self) -> str | None:
        """Return why the program ended by itself while loading, where its output explains that."""
        known = self.refused is not None or self.lacking is not None
        return self.why_useless() if known and not self.serving else None

    @property
    def certain(self) -> bool:
        """Whether what makes a start hopeless is beyond doubt; beside clients' texts it is not."""
        return bool(self.lacking or self.dead_card or self.run.certain)

    def glimpse(self, unfinished: str) -> None:
        """Read a line that is still being written.

        The progress bar ends its line only when it is drawn again.
        """
        if not self.serving:
            for found in _PROGRESS.finditer(plain(unfinished)):
                self.load_percent = min(int(found[1]), 100)

    def _settle_window(self) -> None:
        # `prefill_max_token_num` is printed per group and, by most builds, once more as the total.
        if self._largest_group > 1:
            self._numbers.setdefault("prefill_limit", self._largest_group)
        if {"max_token_len", "prefill_limit"} <= self._numbers.keys():
            self.window = Window(
                self._numbers["max_token_len"],
                self._numbers["prefill_limit"],
                self._numbers.get("prefill_chunk", 128),
            )
