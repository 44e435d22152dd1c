from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from axproxy.api import streaming
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


@pytest.fixture(autouse=True)
def every_sign_of_life_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests script signs of life; those need not wait until one is due."""
    monkeypatch.setattr(streaming, "HEARTBEAT_INTERVAL", 0.0)
