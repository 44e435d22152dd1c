"""How the runtime is launched: command lines, windows, stop ladders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from axproxy.card.environment import child_environment, with_axcl
from axproxy.models.folder import ModelFolderError
from axproxy.process.probe import Unusable
from axproxy.prompts.fitting import Window, enforced_window
from axproxy.runtimes.main_api.launch import MainApiRecipe
from axproxy.runtimes.tokenizer_launch import tokenizer_spec
from axproxy.settings import Settings

LOGGED = Window(context=2559, prefill_limit=2048, prefill_chunk=128)


def settings(**environ: str) -> Settings:
    return Settings.from_env(environ)


def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "qwen3-0.6b-ax650"
    folder.mkdir()
    for layer in range(3):
        (folder / f"qwen3_p128_l{layer}_together.axmodel").touch()
    (folder / "qwen3_post.axmodel").touch()
    with (folder / "model.embed_tokens.weight.bfloat16.bin").open("wb") as table:
        table.truncate(151936 * 1024 * 2)
    (tmp_path / "post_config.json").write_text("{}")
    return folder


def test_without_a_model_the_simulator_is_started_with_its_own_arguments() -> None:
    command, folder = MainApiRecipe(settings(AX650_MOCK_ARGS="--reply 'good day'")).command()

    assert command[0] == sys.executable
    assert Path(command[1]).name == "mock_main_api.py"
    assert command[2:] == [
        *("--port", "8000", "--url_tokenizer_model", "http://127.0.0.1:12345"),
        *("--reply", "good day"),
    ]
    assert folder is None


def test_the_vendors_program_gets_the_flags_of_the_model_folder(tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    command, working_folder = MainApiRecipe(
        settings(
            AX650_MODEL_PATH=str(folder),
            AX650_RUNTIME_BIN=str(tmp_path / "main_api"),
            AX650_DEVICE="1",
        )
    ).command()

    assert command == [
        str(tmp_path / "main_api"),
        *("--template_filename_axmodel", str(folder / "qwen3_p128_l%d_together.axmodel")),
        *("--axmodel_num", "3"),
        *("--filename_post_axmodel", str(folder / "qwen3_post.axmodel")),
        *("--filename_tokens_embed", str(folder / "model.embed_tokens.weight.bfloat16.bin")),
        *("--tokens_embed_num", "151936", "--tokens_embed_size", "1024"),
        *("--use_mmap_load_embed", "1"),
        *("--url_tokenizer_model", "http://127.0.0.1:12345"),
        *("--devices", "1"),
    ]
    assert working_folder == tmp_path  # post_config.json is read from there


def test_a_configured_card_never_becomes_the_simulator(tmp_path: Path) -> None:
    recipe = MainApiRecipe(settings(AX650_MODEL_PATH=str(tmp_path)))

    with pytest.raises(ModelFolderError, match=r"no \*_post.axmodel"):
        recipe.command()


@pytest.mark.parametrize(
    ("environ", "logged", "expected"),
    [
        ({}, LOGGED, LOGGED),
        ({"AX650_PREFILL_LIMIT": "1000"}, LOGGED, Window(2559, 1000, 128)),
        ({"AX650_CONTEXT_LENGTH": "500"}, LOGGED, Window(500, 500, 128)),
        ({"AX650_PREFILL_LIMIT": "9999"}, LOGGED, LOGGED),
        ({}, None, Window(1023, 512, 128)),
        ({"AX650_CONTEXT_LENGTH": "4095", "AX650_PREFILL_LIMIT": "3584"}, None, Window(4095, 3584)),
    ],
)
def test_settings_only_ever_make_a_logged_window_smaller(
    environ: dict[str, str], logged: Window | None, expected: Window
) -> None:
    given = settings(**environ)
    found = enforced_window(logged, given.context_length, given.prefill_limit)
    assert found == expected


def test_a_stop_during_a_load_waits_longer_and_logs_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = MainApiRecipe(settings(AX650_MODEL_PATH=str(tmp_path)))
    loading = recipe.spec().stop_ladder()
    assert "waiting up to 150 s for the end of the load" in caplog.text
    caplog.clear()
    recipe.log.serving = True
    serving = recipe.spec().stop_ladder()
    assert not caplog.text

    assert loading[0][0] is serving[0][0] is signal.SIGINT
    assert loading[0][1] > 133  # the longest published load, of a 4B model on a Pi 5
    assert serving[0][1] < 60


def test_children_find_the_cards_libraries_and_not_the_socket_of_systemd(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    environ = child_environment()

    assert "NOTIFY_SOCKET" not in environ
    assert environ["LD_LIBRARY_PATH"] == "/opt/lib:/usr/lib/axcl"
    assert environ["PATH"].endswith(":/usr/bin/axcl")
    assert "127.0.0.1" in environ["NO_PROXY"]


SECRETS = {
    "AX650_API_KEY": "s3cret",
    "AX650_AUTHORIZED_KEYS": "/etc/ax650.keys",
    "AX650_MODEL_PATH": "/opt/models",
    "OLLAMA_HOST": "0.0.0.0",
    "HF_TOKEN": "hf_s3cret",
    "OPENAI_API_KEY": "s3cret",
    "AWS_SECRET_ACCESS_KEY": "s3cret",
    "DB_PASSWORD": "s3cret",
    "SSH_AUTH_SOCK": "/run/agent",
    "CREDENTIALS_DIRECTORY": "/run/credentials",
    "GUNICORN_CMD_ARGS": "--bind=0.0.0.0",
    "HTTPS_PROXY": "http://me:s3cret@proxy:3128",
}
NEEDED = {
    "AXCL_LOG_LEVEL": "3",
    "HOME": "/home/me",
    "TOKENIZERS_PARALLELISM": "false",
    "KEYBOARD": "de",
    "XDG_RUNTIME_DIR": "/run/user/1000",
    "LANG": "de_DE.UTF-8",
}


def test_the_programs_get_neither_settings_nor_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SECRETS, **NEEDED}.items():
        monkeypatch.setenv(name, value)

    for environ in (child_environment(), with_axcl(os.environ)):
        assert not environ.keys() & SECRETS.keys()
        assert environ.items() >= NEEDED.items()


def test_a_held_port_is_named_before_anything_is_started() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        spec = tokenizer_spec(settings(AX650_TOKENIZER_PORT=str(port)))
        blocked_by = spec.blocked_by()
        assert blocked_by
        assert f"port {port} is held by" in blocked_by
        assert "AX650_TOKENIZER_PORT" in blocked_by
    assert spec.blocked_by() is None


def test_the_window_of_the_running_program_counts() -> None:
    recipe = MainApiRecipe(settings(AX650_MOCK_ARGS=""))
    recipe._logged = LOGGED  # by the model that was loaded before
    for line in ("max_token_len : 1023", "prefill_max_token_num : 896"):
        recipe.log.feed(f"[I][                            Init][ 1]: {line}")
    assert recipe.window() == LOGGED  # it is loading: nothing better is known
    recipe.log.feed("Server running on port 8000...")

    assert recipe.window() == Window(1023, 896, 128)


def test_a_strangers_answer_on_a_shared_port_is_not_stopped() -> None:
    asked: list[str] = []

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

        def log_message(self, *_: object) -> None: ...

    ours = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with HTTPServer(("127.0.0.1", 0), Stranger) as stranger:
            threading.Thread(target=stranger.serve_forever, args=(0.01,)).start()
            recipe = MainApiRecipe(settings(AX650_RUNTIME_PORT=str(stranger.server_port)))
            recipe._pid = ours.pid
            recipe.log.feed("Server running on port 8000...")
            recipe.spec().before_stop()
            stranger.shutdown()
    finally:
        ours.kill()
        ours.wait()

    assert asked == []


class AnsweringClient:
    def answers(self) -> bool:
        return True


def test_a_card_that_dies_between_requests_is_noticed(tmp_path: Path) -> None:
    recipe = MainApiRecipe(settings(AX650_MODEL_PATH=str(tmp_path)))
    recipe.log.feed("Server running on port 8000...")
    recipe._check_alive(AnsweringClient())
    recipe.log.feed(
        "[2025-11-09 08:46:00.029][1][W][device manager][listen][292]: device 1 is dead"
    )

    with pytest.raises(Unusable, match="it logged: device 1 is dead"):
        recipe._check_alive(AnsweringClient())
    assert recipe._hopeless(1) is None  # a restart may help
    assert "power off at the wall" in (recipe._hopeless(2) or "")
