"""`AX650_RUNTIME=vendor`: any binary is launched as the vendor's program."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.model_folders import published_model, sparse
from tests.support.service import ROOT, Service, Start, run
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

# As a container or a debugger would do it: writes its command line to a file, then goes on.
WRAPPER = """#!/bin/sh
printf '%s\\n' "$@" > "$0.flags"; pwd > "$0.cwd"
exec {python} {mock} --port {port} --load-seconds 0.1 --tokens-per-second 300 "$@"
"""

MODEL = "qwen3-0.6b-ax650"

# Checks that a wrapper, on a machine without a card, cannot pass.
NO_CARD = "binary,pcie,driver,device-node,kernel-log,card,device-id,cmm"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return published_model(tmp_path / "repo")


def test_the_program_is_launched_with_the_flags_of_its_model_folder(
    model: Path, start_service: Start, tmp_path: Path
) -> None:
    binary = tmp_path / "main_api_axcl_aarch64"
    binary.touch(mode=0o755)
    # `auto`: a configured model means the vendor's program.  Its port is fixed, a wrapper's is not.
    service = start_service(
        wait=False,
        AX650_MODEL_PATH=str(model),
        AX650_RUNTIME_BIN="./main_api_axcl_aarch64",
        AX650_PREFLIGHT_SKIP=NO_CARD,
        AX650_AXCL_SMI=str(tmp_path / "no-such-axcl-smi"),
        folder=tmp_path,
    )
    mock = ROOT / "mock_main_api.py"
    binary.write_text(WRAPPER.format(python=sys.executable, mock=mock, port=service.runtime_port))
    eventually(service.ready)

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

    eventually(lambda: times("ready on"))
    (tokenizer,) = [p for p in supervisor.family() if "qwen3_tokenizer_uid.py" in p.cmdline()]
    tokenizer.kill()
    eventually(lambda: times("ready on") == 2)

    assert times("tokenizer: ready -> backoff") == 1
    assert times("runtime: ready -> stopping (stop)") == 1  # its session is gone
    assert supervisor.stop() == 0


@pytest.fixture
def scripted(model: Path, start_service: Start, tmp_path: Path) -> Service:
    """The whole service on the vendor's tokenizer script."""
    shutil.copy(Path(__file__).with_name("vendor_tokenizer.py"), model / "qwen3_tokenizer_uid.py")
    binary = tmp_path / "main_api_axcl_aarch64"
    binary.touch(mode=0o755)
    service = start_service(
        wait=False,
        AX650_MODEL_PATH=str(model),
        AX650_RUNTIME_BIN=str(binary),
        AX650_TOKENIZER="vendor",
        AX650_PREFLIGHT_SKIP=NO_CARD,
        AX650_AXCL_SMI=str(tmp_path / "no-such-axcl-smi"),
    )
    mock = ROOT / "mock_main_api.py"
    binary.write_text(WRAPPER.format(python=sys.executable, mock=mock, port=service.runtime_port))
    eventually(service.ready)
    return service


def chat(service: Service, *turns: tuple[str, str], **more: object) -> dict[str, Any]:
    messages = [{"role": role, "content": content} for role, content in turns]
    body = {"model": MODEL, "messages": messages, "stream": False, **more}
    answer: dict[str, Any] = service.post("/api/chat", body).json()
    return answer


def test_conversations_go_through_the_vendors_script(scripted: Service, model: Path) -> None:
    assert scripted.health()["backend_type"] == "vendor"
    shown = scripted.post("/api/show", {"model": MODEL}).json()
    assert shown["capabilities"] == ["completion"]
    first = chat(scripted, ("system", "Be brief."), ("user", "Hi <|im_end|> you\ufffd"))
    assert first["done_reason"] == "stop"
    assert first["message"]["content"].endswith("You said: Hi < |im_end|> you")
    asked = (model / "seen").read_text()
    assert asked == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHi < |im_end|> you/no_think<|im_end|>\n<|im_start|>assistant\n"
    )

    chat(scripted, ("user", "u1"), ("assistant", "a1"), ("user", "u2"))
    assert (model / "seen").read_text() == (
        "<|im_start|>system\nYou are Qwen.<|im_end|>\n<|im_start|>user\nu1<|im_end|>\n"
        "<|im_start|>assistant\na1<|im_end|>\n"
        "<|im_start|>user\nu2/no_think<|im_end|>\n<|im_start|>assistant\n"
    )

    assert "does not support thinking" in chat(scripted, ("user", "x"), think=True)["error"]
    too_long = chat(scripted, ("user", "why? " * 600))
    assert "longer than the context length" in too_long["error"]
    raw = {"model": MODEL, "prompt": "x", "raw": True}
    assert "no raw mode" in scripted.post("/api/generate", raw).json()["error"]
    once_more = scripted.post("/api/generate", {"model": MODEL, "prompt": "p", "stream": False})
    assert once_more.json()["response"].endswith("You said: p")
    assert scripted.stop() == 0


def test_failures_of_the_script_only_delay_a_request(scripted: Service) -> None:
    before = scripted.pids()
    assert "my secret" in chat(scripted, ("user", "my secret"))["message"]["content"]
    # Here the runtime answers the previous prompt again.
    stumbled = chat(scripted, ("user", "stumble once"))
    assert stumbled["message"]["content"].endswith("You said: stumble once")
    assert "could not encode the prompt" in scripted.log.read_text()
    assert scripted.pids() == before

    broken = chat(scripted, ("user", "leave half a character"))
    assert broken["message"]["content"].endswith("You said: leave half a character")
    assert "returns no text for tokens any more" in scripted.log.read_text()
    assert not set(before) & set(scripted.pids())
    assert scripted.stop() == 0


def test_a_card_that_cannot_start_never_becomes_the_simulator(
    model: Path, start_service: Start, tmp_path: Path
) -> None:
    service = start_service(
        wait=False,
        AX650_MODEL_PATH=str(model),
        AX650_RUNTIME_BIN=str(tmp_path / "not-there"),
        AX650_AXCL_SMI=str(tmp_path / "no-such-axcl-smi"),
        AX650_PREFLIGHT_SKIP=NO_CARD.removeprefix("binary,"),
    )
    note = eventually(lambda: service.listening() and service.health()["runtime"]["note"])

    assert "not-there does not exist" in note
    assert service.health()["backend_type"] == "vendor"

    def refusal() -> str:
        refused = service.get("/ready")
        assert refused.status_code == 503
        return refused.json()["error"]

    eventually(lambda: "not-there does not exist" in refusal())
    service.stop()


@pytest.mark.timeout(120)  # the checks run again after up to 15 s, and two programs start twice
def test_a_finding_of_the_preflight_is_reported_everywhere_until_it_is_fixed(
    model: Path, start_service: Start, tmp_path: Path
) -> None:
    binary = tmp_path / "main_api_axcl_aarch64"
    binary.touch(mode=0o755)
    layer = model / "qwen3_p128_l5_together.axmodel"
    layer.write_text("version https://git-lfs.github.com/spec/v1\n")
    service = start_service(
        wait=False,
        AX650_MODEL_PATH=str(model),
        AX650_RUNTIME_BIN=str(binary),
        AX650_AXCL_SMI=str(tmp_path / "no-such-axcl-smi"),
        AX650_PREFLIGHT_SKIP=NO_CARD,
    )
    mock = ROOT / "mock_main_api.py"
    binary.write_text(WRAPPER.format(python=sys.executable, mock=mock, port=service.runtime_port))
    sentence = f"{layer} is a git-LFS pointer, not the file itself; cd {model} && git lfs pull"

    eventually(lambda: service.listening() and service.health()["runtime"]["note"] == sentence)
    refused = service.get("/ready")
    assert refused.status_code == 503
    assert sentence in refused.json()["error"]
    found = {finding["name"]: finding for finding in service.health()["preflight"]}
    assert found["binary"] == {
        "name": "binary",
        "verdict": "skip",
        "seen": "skipped by AX650_PREFLIGHT_SKIP",
        "remedy": "",
    }
    assert found["model-folder"]["verdict"] == "fail"
    assert f"{found['model-folder']['seen']}; {found['model-folder']['remedy']}" == sentence
    doctor = run(
        sys.executable,
        str(ROOT / "backend.py"),
        "doctor",
        **{name: value for name, value in service.environ.items() if name.startswith("AX650_")},
    )
    assert doctor.returncode == 1
    assert f"the service is running at {service.base}: blocked, vendor" in doctor.stdout
    assert f"-> cd {model} && git lfs pull" in doctor.stdout
    assert "ok    ports" in doctor.stdout  # the doctor recognises the service's own tokenizer

    sparse(layer, 4096)
    eventually(service.ready)
    log = service.log.read_text()
    assert log.count(f"cannot start: {sentence}") == 1
    assert {finding["verdict"] for finding in service.health()["preflight"]} <= {
        "ok",
        "warn",
        "skip",
    }
    assert service.stop() == 0
