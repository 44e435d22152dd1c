"""Which beginning of prompts is worth keeping in the card's cache while nobody asks.

Whoever asks the same way again and again, as Home Assistant does with its list of a house's
devices, sends a long system prompt that never changes.  Once a stranger's request has emptied the
cache, it is read again in a quiet moment, so that the next question waits for its own words only.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass

from axproxy.prompts.fitting import Prompt
from axproxy.runtimes.main_api.kv_cache import CachedPrompt

REMEMBERED = 32  # requests
FADING = 0.8  # of a use's weight with each request after it: a prompt with a date is new every day


@dataclass(frozen=True)
class WarmingTimes:
    """Times in seconds, lengths in tokens."""

    least_tokens: int = 256  # two chunks; a shorter prompt is read in no time
    least_uses: int = 2
    after_others: float = 2.0  # of quiet, once somebody else has used the cache
    after_talk: float = 300.0  # of quiet, for a conversation may go on where it was


class WarmingPolicy:
    """Told of every request by the thread that has the turn; asked by the keeper of warmth."""

    def __init__(self, policy: WarmingTimes) -> None:
        self._policy = policy
        self._recent: deque[Prompt | None] = deque(maxlen=REMEMBERED)

    def used(self, beginning: Prompt | None) -> None:
        """A request began with it; `None` for one whose beginning cannot be kept."""
        self._recent.append(beginning)

    def candidate(self) -> Prompt | None:
        """The beginning that has been used most of late, if it is worth the effort."""
        uses: Counter[Prompt] = Counter()
        weights: dict[Prompt, float] = {}
        for age, one in enumerate(reversed(self._recent)):
            if one and one.tokens >= self._policy.least_tokens:
                uses[one] += 1
                weights[one] = weights.get(one, 0.0) + FADING**age
        habits = [one for one in uses if uses[one] >= self._policy.least_uses]
        return max(habits, key=weights.__getitem__, default=None)

    def due(self, held: CachedPrompt | None, quiet_since: float, talking: bool = False) -> float:
        """When to warm the cache that holds `held`, on the clock of `quiet_since`; never is
        `math.inf`.  `talking` says that somebody is in the middle of a conversation."""
        candidate = self.candidate()
        if candidate is None:
            return math.inf
        text = "".join(segment.text for segment in held.segments) if held else ""
        if text == candidate.text:
            return math.inf
        leave_alone = talking or text.startswith(candidate.text)
        pause = self._policy.after_talk if leave_alone else self._policy.after_others
        return quiet_since + pause
