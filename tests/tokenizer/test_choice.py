"""AX650_TOKENIZER chooses the tokenizer, and with it everything that depends on it."""

from __future__ import annotations

import sys
from pathlib import Path

from axproxy.prompts.fitting import Prompt, Window
from axproxy.prompts.vendor_script import VendorScriptRenderer
from axproxy.settings import Settings
from axproxy.tokenizer.choice import (
    BuiltinTokenizer,
    VendorScriptTokenizer,
    choose_tokenizer,
)
from axproxy.tokenizer.client import TokenizerClient
from axproxy.tokenizer.vendor_script import VendorScriptClient

WINDOW = Window(context=1023, prefill_limit=896)


def test_the_builtin_tokenizer_is_chosen_by_default() -> None:
    tokenizer = choose_tokenizer(Settings())
    assert isinstance(tokenizer, BuiltinTokenizer)
    assert type(tokenizer.client()) is TokenizerClient
    assert not tokenizer.stateful
    assert tokenizer.capabilities == {"completion", "tools", "thinking"}


def test_the_vendors_script_is_chosen_by_name() -> None:
    tokenizer = choose_tokenizer(Settings(tokenizer="vendor"))
    assert isinstance(tokenizer, VendorScriptTokenizer)
    assert isinstance(tokenizer.client(), VendorScriptClient)
    assert tokenizer.stateful
    assert tokenizer.capabilities == {"completion"}


def test_the_builtin_tokenizer_is_started_for_the_port_and_the_model(tmp_path: Path) -> None:
    settings = Settings(tokenizer_port=12399, model_path=tmp_path)
    python, *words = choose_tokenizer(settings).command()
    assert python == sys.executable
    port, model = ["--port", "12399"], ["--model-path", str(tmp_path)]
    assert words[2:] == ["--siblings-only", *port, *model]
    assert "--model-path" not in choose_tokenizer(Settings()).command()


def test_the_vendors_script_is_started_by_start_tokenizer() -> None:
    *environment, script = choose_tokenizer(Settings(tokenizer="vendor")).command()
    assert environment == ["env", "AX650_TOKENIZER=vendor"]
    assert Path(script).name == "start_tokenizer.sh"
    assert Path(script).is_file()


def test_a_tokenizer_is_told_no_setting_that_it_does_not_need(tmp_path: Path) -> None:
    given = {"api_key": "s3cret", "tokenizer_port": 12399, "model_path": tmp_path}
    scripted = choose_tokenizer(Settings(tokenizer="vendor", **given))  # type: ignore[arg-type]  # any of them
    assert scripted.environment() == {
        "AX650_TOKENIZER_PORT": "12399",
        "AX650_MODEL_PATH": str(tmp_path),
    }
    tokenizer = choose_tokenizer(Settings(**given))  # type: ignore[arg-type]  # any of them
    secret = {"AX650_TOKENIZER_SECRET"} if isinstance(tokenizer, BuiltinTokenizer) else set()
    assert tokenizer.environment().keys() == secret


def test_the_vendors_script_gets_the_greeting_as_plain_text() -> None:
    tokenizer = choose_tokenizer(Settings(tokenizer="vendor"))
    client = tokenizer.client()
    assert tokenizer.greeting(client, WINDOW) == Prompt("Hi", tokens=16)
    assert isinstance(tokenizer.renderer(client), VendorScriptRenderer)
