"""Counts the calls of the library and the time that they take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from axproxy.runtimes.axengine.worker.shapes import Array, Session, Tensor


@dataclass
class Work:
    """What all sessions have done since the start; `seconds` are those inside them."""

    calls: int = 0
    seconds: float = 0.0


class CountedSession:
    """A session whose runs are counted."""

    def __init__(self, session: Session, work: Work) -> None:
        self._session, self._work = session, work

    def get_inputs(self, shape_group: int = 0) -> Sequence[Tensor]:
        return self._session.get_inputs(shape_group)

    def get_outputs(self, shape_group: int = 0) -> Sequence[Tensor]:
        return self._session.get_outputs(shape_group)

    def run(
        self,
        output_names: list[str] | None,
        input_feed: dict[str, Array],
        run_options: object | None = None,
        shape_group: int = 0,
    ) -> list[Array]:
        began = time.perf_counter()
        try:
            return self._session.run(output_names, input_feed, run_options, shape_group)
        finally:
            self._work.calls += 1
            self._work.seconds += time.perf_counter() - began
