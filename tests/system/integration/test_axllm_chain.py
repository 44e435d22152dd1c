"""The README's commands with a model for the vendor's `axllm`."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from axproxy.runtimes.axllm.launch import SIMULATED_MODEL
from tests.support.model_folders import axllm_model
from tests.support.ports import own_port
from tests.support.service import ROOT, Start, run
from tests.support.waiting import eventually

QUICK = "--load-seconds 0.1 --tokens-per-second 500"


def test_one_command_asks_one_question_and_stops_everything() -> None:
    done = run(
        str(ROOT / "run_integration.sh"),
        AX650_RUNTIME="mock-axllm",
        AX650_MOCK_ARGS=QUICK,
        AX650_PORT=str(own_port()),
        AX650_RUNTIME_PORT=str(own_port()),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "** AX650_RUNTIME=mock-axllm: the SIMULATOR answers" in done.stdout
    assert "  runtime ready, model loaded to 100 %" in done.stdout
    assert "tokenizer" not in done.stdout
    assert done.stdout.endswith("stopped; no process is left behind\n")


def test_the_folder_alone_makes_the_service_start_axllm(
    start_service: Start, tmp_path: Path
) -> None:
    model = axllm_model(tmp_path / "Qwen3-0.6B")
    shutil.copy(SIMULATED_MODEL / "tokenizer.txt", model / "qwen3_tokenizer.txt")
    program = tmp_path / "axllm"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/mock_axllm.py" {QUICK} "$@"\n')
    program.chmod(0o755)
    service = start_service(
        AX650_MODEL_PATH=str(model),
        AX650_AXLLM_BIN=str(program),
        AX650_PREFLIGHT_SKIP="binary,pcie,driver,device-node,kernel-log,card,device-id,cmm",
    )

    listed = service.get("/api/tags").json()["models"][0]
    assert listed["name"] == "Qwen3-0.6B:latest"
    assert listed["capabilities"] == ["completion", "tools", "thinking"]
    health = service.health()
    assert (health["backend_type"], health["tokenizer"]) == ("vendor", None)
    body = {"model": "qwen3-0.6b", "prompt": "Hi", "stream": False, "think": False}
    assert "You said: Hi" in service.post("/api/generate", body).json()["response"]
    assert not (model / "config.json").is_symlink()
    assert (model / "config.json").read_text().count("server_timeout_ms") == 0


def test_the_supervisor_alone_keeps_axllm_up(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        supervisor = subprocess.Popen(
            [sys.executable, str(ROOT / "runtime_supervisor.py")],
            env={
                "PATH": "/usr/bin:/bin",
                "AX650_RUNTIME": "mock-axllm",
                "AX650_MOCK_ARGS": QUICK,
                "AX650_RUNTIME_PORT": str(own_port()),
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: "ready on http://127.0.0.1:" in log.read_text())
    finally:
        supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(30) == 0
