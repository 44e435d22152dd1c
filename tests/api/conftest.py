from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import FakeEngine


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(engine: FakeEngine) -> FlaskClient:
    return create_app(Settings(), engine).test_client()
