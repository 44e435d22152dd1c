"""The tokenizer as a process: how it starts, and how it ends."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from axproxy.models.tokenizer_files import SMALL_TOKENIZER
from tests.tokenizer.tokenizer_calls import Caller

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = str(ROOT / "start_tokenizer.sh")
MODULE = (sys.executable, "-m", "axproxy.tokenizer")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("AX650_")}


@contextmanager
def running(*command: str, cwd: Path = ROOT, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is over when the block is."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=CLEAN | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def port_of(process: subprocess.Popen[str]) -> int:
    """Return the port from the line that reports that the tokenizer listens."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("tokenizer listening on 127.0.0.1:"), (line, process.stderr)
    return int(line.rpartition(":")[2])


def refusal(*command: str, **settings: str) -> str:
    """Return the output of a process that ends with status 2."""
    done = subprocess.run(
        command,
        env=CLEAN | settings,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_quietly_and_at_once(number: signal.Signals) -> None:
    with running(*MODULE, "--port", "0", "--log-level", "warning") as process:
        port = port_of(process)
        assert Caller(port).get("/")["server"] == "axproxy tokenizer"
        with (
            socket.create_connection(("127.0.0.1", port)),
            socket.create_connection(("127.0.0.1", port)) as reader,
        ):
            reader.sendall(b"GET /trace?wait=30 HTTP/1.1\r\n\r\n")
            began = time.monotonic()
            process.send_signal(number)
            assert process.wait(60) == 0
            assert time.monotonic() - began < 25  # not the 30 s that its reader waits
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_port_that_is_taken_is_explained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refusal(*MODULE, "--port", str(port))


def test_it_can_be_started_again_at_once_on_the_same_port() -> None:
    with running(*MODULE, "--port", "0") as process:
        port = port_of(process)
        Caller(port).get("/")
    with running(*MODULE, "--port", str(port)) as process:
        assert port_of(process) == port


@pytest.mark.parametrize("option", ["--folder", "--model-path"])
def test_a_folder_without_a_tokenizer_is_explained(tmp_path: Path, option: str) -> None:
    folder = tmp_path / "empty" / "model"
    folder.mkdir(parents=True)
    assert "Hugging Face" in refusal(*MODULE, "--port", "0", option, str(folder))


def test_the_script_becomes_the_tokenizer(tmp_path: Path) -> None:
    """From any directory, with relative arguments, and with the pid that was started."""
    shutil.copytree(SMALL_TOKENIZER, tmp_path / "mine")
    with running(SCRIPT, "--folder", "mine", cwd=tmp_path, AX650_TOKENIZER_PORT="0") as process:
        assert "eos_id" in Caller(port_of(process)).get("/info")
        process.terminate()
        assert process.wait(60) == 0


def test_the_script_uses_the_models_own_tokenizer(pieces_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(pieces_folder, tmp_path / "model" / "tokenizer")
    with running(
        SCRIPT, AX650_TOKENIZER_PORT="0", AX650_MODEL_PATH=str(tmp_path / "model")
    ) as process:
        assert Caller(port_of(process)).get("/bos_id") == {"bos_id": 1}


@pytest.mark.parametrize("place", ["model", "."], ids=["in the model", "beside it"])
def test_the_script_can_start_the_vendors(tmp_path: Path, place: str) -> None:
    (tmp_path / "model").mkdir()
    script = tmp_path / place / "qwen3_tokenizer_uid.py"
    # The real script prints every prompt; if that fails, the runtime answers an earlier prompt.
    script.write_text(
        "import os, sys; print('\\u8bf7\\ud800'); print(os.getpid(), os.getcwd(), *sys.argv[1:])"
    )
    with running(
        SCRIPT,
        cwd=tmp_path,
        AX650_TOKENIZER="vendor",
        AX650_TOKENIZER_PORT="4711",
        AX650_MODEL_PATH="model",
        PYTHONUTF8="0",
        LC_ALL="en_US.ISO-8859-1",
    ) as process:
        said, _ = process.communicate(timeout=60)
        folder = (tmp_path / place).resolve()
        assert said == f"请\\ud800\n{process.pid} {folder} --host 127.0.0.1 --port 4711\n"


@pytest.mark.parametrize(
    ("scripts", "started"),
    [
        (["qwen2.5"], "qwen2.5"),
        (["deepseek_r1"], "deepseek_r1"),
        (["qwen3", "qwen2.5", "internlm"], "qwen2.5"),
        (["qwen3", "internlm"], None),
    ],
)
def test_the_vendors_script_of_any_family_is_started(
    tmp_path: Path, scripts: list[str], started: str | None
) -> None:
    model = tmp_path / "Qwen2.5-0.5B-Instruct"
    model.mkdir()
    for name in scripts:
        (model / f"{name}_tokenizer_uid.py").write_text(f"print({name!r})")
    with running(
        SCRIPT, AX650_TOKENIZER="vendor", AX650_TOKENIZER_PORT="4711", AX650_MODEL_PATH=str(model)
    ) as process:
        said, complaint = process.communicate(timeout=60)
    assert said == (f"{started}\n" if started else "")
    if started is None:
        assert "has several scripts" in complaint
        assert process.returncode == 2


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"AX650_TOKENIZER": "vendor"}, "needs AX650_MODEL_PATH"),
        ({"AX650_TOKENIZER": "vendor", "AX650_MODEL_PATH": "/nowhere/at/all"}, "in or beside"),
        ({"AX650_TOKENIZER": "mine"}, "builtin or vendor"),
    ],
)
def test_the_script_explains_what_it_cannot_do(settings: dict[str, str], sentence: str) -> None:
    assert sentence in refusal(SCRIPT, **settings)
