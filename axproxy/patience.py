"""How long a run may take before something counts as broken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """Seconds to wait."""

    stall: float = 60.0  # for a token; reading the prompt comes on top
    stop: float = 10.0  # for the runtime to become idle after a stop
    settle: float = 1.0  # for an accepted run to show that it has begun
