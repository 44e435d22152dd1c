"""How a run ended, and where its time went."""

from __future__ import annotations

from dataclasses import dataclass, replace

from axproxy.messages import FinishReason
from axproxy.runtimes.main_api.run_log import RunTimes


@dataclass(frozen=True)
class RunResult:
    """How a run ended; times in seconds."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    prompt_eval: float
    eval: float

    def refined(self, times: RunTimes) -> RunResult:
        """With the program's own times where they can be true.  It flushes three tokens at a time,
        so seen from outside the first one seems to come late and the others fast."""
        whole = self.prompt_eval + self.eval
        first = times.first_token or 0.0
        if not 0 < first <= self.prompt_eval:
            return self
        rest = self.completion_tokens / times.speed if times.speed else whole - first
        return replace(self, prompt_eval=first, eval=min(rest, whole - first))
