from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import FakeEngine, FakeModels


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def models() -> FakeModels:
    return FakeModels()


@pytest.fixture
def client(engine: FakeEngine, models: FakeModels) -> FlaskClient:
    return create_app(Settings(), engine, models).test_client()
