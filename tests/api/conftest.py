from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from axproxy.api import streaming
from axproxy.settings import Settings
from backend import create_app
from tests.support.fakes import FakeEngine, FakeModels


class _Current:
    """Passes each call on to an object of the test that is running."""

    target: Any = None

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            return getattr(self.target, name)(*args, **kwargs)

        return call  # the target is looked up when called: routes keep methods of the engine


_ENGINE, _MODELS = _Current(), _Current()


@pytest.fixture(scope="session")
def shared_app() -> Flask:
    """One application for all tests: to make one takes longer than most tests."""
    return create_app(Settings(), _ENGINE, _MODELS)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def models() -> FakeModels:
    return FakeModels()


@pytest.fixture
def app(shared_app: Flask, engine: FakeEngine, models: FakeModels) -> Flask:
    _ENGINE.target, _MODELS.target = engine, models
    return shared_app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(autouse=True)
def every_sign_of_life_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests script signs of life; those need not wait until one is due."""
    monkeypatch.setattr(streaming, "HEARTBEAT_INTERVAL", 0.0)
