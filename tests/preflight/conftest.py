from __future__ import annotations

from pathlib import Path

import pytest

from tests.preflight.machine import Machine


@pytest.fixture
def pi(tmp_path: Path) -> Machine:
    """A Raspberry Pi 5 in good order with a card in it."""
    root = tmp_path / "pi"
    root.mkdir()
    return Machine(root)
