"""Whether a model thinks where the request does not say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from axproxy.engine.engine import SerialEngine
from axproxy.engine.protocol import EngineOptions
from axproxy.messages import ChatRequest, Message
from axproxy.settings import Settings
from backend import create_engine
from tests.support.fakes import QWEN
from tests.support.runtimes import FakeSupervisor, PreparedText, TextRuntime

ABLE = replace(QWEN, capabilities=("completion", "thinking"))
ASKED = ChatRequest((Message("user", "Hi"),))


class Remembering(TextRuntime):
    """Remembers whether the last request was to think."""

    think: bool | None = None

    def prepare(self, request: ChatRequest, gone: Any, *, wait: bool) -> PreparedText:
        self.think = request.think
        return super().prepare(request, gone, wait=wait)


def thinks(request: ChatRequest, options: EngineOptions, model: Any = ABLE) -> bool | None:
    runtime = Remembering()
    engine = SerialEngine(runtime, FakeSupervisor(), model, options)
    engine.answer(model, request, lambda: False).close()
    return runtime.think


def test_a_model_that_can_think_does_so_unless_the_setting_says_no() -> None:
    assert thinks(ASKED, EngineOptions()) is True
    assert thinks(ASKED, EngineOptions(think=False)) is False


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("think", [True, False])
def test_what_a_request_says_wins_over_the_setting(think: bool, default: bool) -> None:
    assert thinks(replace(ASKED, think=think), EngineOptions(think=default)) is think


def test_a_model_that_cannot_think_never_does() -> None:
    assert thinks(ASKED, EngineOptions(), QWEN) is False


@pytest.mark.parametrize(
    ("value", "think"), [("", True), ("ask", True), ("on", True), ("off", False)]
)
def test_ax650_think_is_that_setting(value: str, think: bool) -> None:
    engine, _models = create_engine(Settings.from_env({"AX650_THINK": value}))

    assert engine._options.think is think
