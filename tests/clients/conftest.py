from __future__ import annotations

import shlex

import pytest

from tests.scripted import Scripted
from tests.service import QUICK_MOCK, Start


@pytest.fixture(scope="session")
def scripted_service(start_service: Start, tmp_path_factory: pytest.TempPathFactory) -> Scripted:
    """One service for all tests that say what the model says."""
    file = tmp_path_factory.mktemp("script") / "reply"
    file.write_text("Hello")
    mock = f"{QUICK_MOCK} --reply-file {shlex.quote(str(file))}"
    return Scripted(start_service(AX650_MOCK_ARGS=mock), file)
