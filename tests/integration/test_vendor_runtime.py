"""`AX650_RUNTIME=vendor`: whatever the binary is, it is launched as the vendor's program."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import psutil
import pytest

from tests.service import ROOT, Start, run
from tests.waiting import eventually

pytestmark = pytest.mark.integration

# As a container or a debugging session would do it: notes its command line, then goes on.
WRAPPER = """#!/bin/sh
printf '%s\\n' "$@" > "$0.flags"; pwd > "$0.cwd"
exec {python} {mock} --port {port} --load-seconds 0.1 --tokens-per-second 300 "$@"
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder as the vendor publishes it, empty files and all."""
    folder = tmp_path / "repo" / "qwen3-0.6b-ax650"
    folder.mkdir(parents=True)
    for layer in range(28):
        (folder / f"qwen3_p128_l{layer}_together.axmodel").touch()
    (folder / "qwen3_post.axmodel").touch()
    with (folder / "model.embed_tokens.weight.bfloat16.bin").open("wb") as table:
        table.truncate(151936 * 1024 * 2)
    (folder.parent / "post_config.json").write_text(
        json.dumps(
            {
                "enable_temperature": False,
                "temperature": 0.9,
                "enable_repetition_penalty": False,
                "repetition_penalty": 1.2,
                "penalty_window": 20,
                "enable_top_p_sampling": False,
                "top_p": 0.8,
                "enable_top_k_sampling": True,
                "top_k": 1,
            }
        )
    )
    shutil.copytree(ROOT / "axproxy" / "small_tokenizer", folder.parent / "qwen3_tokenizer")
    return folder


def test_the_program_is_launched_with_the_flags_of_its_model_folder(
    model: Path, start_service: Start, tmp_path: Path
) -> None:
    binary = tmp_path / "main_api_axcl_aarch64"
    binary.touch(mode=0o755)
    # `auto`: a configured model means the vendor's program; its port is fixed, a wrapper's is not.
    service = start_service(
        wait=False,
        AX650_MODEL_PATH=str(model),
        AX650_RUNTIME_BIN="./main_api_axcl_aarch64",
        AX650_AXCL_SMI=str(tmp_path / "no-such-axcl-smi"),
        folder=tmp_path,
    )
    mock = ROOT / "mock_main_api.py"
    binary.write_text(WRAPPER.format(python=sys.executable, mock=mock, port=service.runtime_port))
    eventually(service.ready, seconds=40)

    health = service.health()
    assert health["backend_type"] == "vendor"
    assert health["model_path"] == str(model)
    assert health["model"] == "qwen3-0.6b-ax650:latest"
    answer = service.post("/generate", {"prompt": "How many layers?", "max_tokens": 64}).json()
    assert "How many layers?" in answer["text"]
    flags = (tmp_path / "main_api_axcl_aarch64.flags").read_text().split("\n")
    assert flags[flags.index("--axmodel_num") + 1] == "28"
    assert flags[flags.index("--tokens_embed_size") + 1] == "1024"
    assert flags[flags.index("--devices") + 1] == "0"
    assert (tmp_path / "main_api_axcl_aarch64.cwd").read_text().strip() == str(model.parent)
    tokenizer = psutil.Process(service.pids()[0]).cmdline()
    assert tokenizer[tokenizer.index("--model-path") + 1] == str(model)
    assert service.stop() == 0


def test_the_pair_with_the_vendors_tokenizer_script_is_supervised_as_one(
    model: Path, start_service: Start, tmp_path: Path
) -> None:
    shutil.copy(Path(__file__).with_name("vendor_tokenizer.py"), model / "qwen3_tokenizer_uid.py")
    supervisor = start_service(
        wait=False,
        command=[sys.executable, str(ROOT / "runtime_supervisor.py")],
        AX650_RUNTIME="mock",
        AX650_MODEL_PATH=str(model),
        AX650_TOKENIZER="vendor",
    )

    def times(line: str) -> int:
        return supervisor.log.read_text().count(line)

    eventually(lambda: times("ready on"), seconds=30)
    (tokenizer,) = [p for p in supervisor.family() if "qwen3_tokenizer_uid.py" in p.cmdline()]
    tokenizer.kill()
    eventually(lambda: times("ready on") == 2, seconds=30)

    assert times("tokenizer: ready -> backoff") == 1
    assert times("runtime: ready -> stopping (stop)") == 1  # it held a session that is gone
    assert supervisor.stop() == 0


def test_the_service_refuses_the_vendors_script_in_one_sentence(model: Path) -> None:
    result = run(
        sys.executable,
        str(ROOT / "backend.py"),
        AX650_TOKENIZER="vendor",
        AX650_MODEL_PATH=str(model),
    )

    assert result.returncode == 2
    assert "leave AX650_TOKENIZER at builtin" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_card_that_cannot_start_never_becomes_the_simulator(
    model: Path, start_service: Start, tmp_path: Path
) -> None:
    service = start_service(
        wait=False,
        AX650_MODEL_PATH=str(model),
        AX650_RUNTIME_BIN=str(tmp_path / "not-there"),
        AX650_AXCL_SMI=str(tmp_path / "no-such-axcl-smi"),
    )
    note = eventually(lambda: service.listening() and service.health()["runtime"]["note"])

    assert "not-there is not there" in note
    assert service.health()["backend_type"] == "vendor"

    def refusal() -> str:
        refused = service.get("/ready")
        assert refused.status_code == 503
        return refused.json()["error"]

    eventually(lambda: "not-there is not there" in refusal())
    service.stop()
