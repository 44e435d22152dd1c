from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.axengine_models import FAKE, write_scripted_model
from tests.support.scripted import Scripted
from tests.support.service import QUICK_MOCK, Service, Start

JS = Path(__file__).parent / "js"
INSTALL = "install --no-package-lock --no-audit --no-fund --silent --fetch-retries=0".split()

RunJs = Callable[..., Any]


@pytest.fixture(scope="session")
def run_js() -> RunJs:
    """Run a scenario of Ollama's JavaScript client; install the client the first time."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not (node and npm):
        pytest.skip("there is no node, or no npm, on the PATH")
    if not all((JS / "node_modules" / name).is_dir() for name in ("ollama", "playwright-core")):
        try:
            subprocess.run([npm, *INSTALL], cwd=JS, check=True, capture_output=True, timeout=120)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"npm could not install the client: {error}; {error.stderr!r}")

    def run(service: Service, scenario: str, script: str = "scenarios.mjs") -> Any:
        environ = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        command = [node, str(JS / script), service.base, scenario]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=False, env=environ
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session", params=["mock", "mock-axllm", "axengine"])
def runtime(request: pytest.FixtureRequest) -> str:
    """All that can answer, simulated: no client may notice which one does."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def shared(
    start_shared_service: Start, runtime: str, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    """One service for all tests that do not change it."""
    if runtime == "axengine":
        folder = tmp_path_factory.mktemp("model")
        write_scripted_model(folder)
        return start_shared_service(**on_pyaxengine(folder))
    return start_shared_service(AX650_RUNTIME=runtime)


def on_pyaxengine(folder: Path) -> dict[str, str]:
    return {
        "AX650_RUNTIME": "axengine",
        "AX650_MODEL_PATH": str(folder),
        "AX650_MODEL_NAME": "mock",
        "AX650_AXENGINE_PATH": str(FAKE),
        "AX650_AXENGINE_PROVIDER": "board",
    }


@pytest.fixture(scope="session")
def scripted_service(
    start_shared_service: Start, runtime: str, tmp_path_factory: pytest.TempPathFactory
) -> Scripted:
    """One service for all tests that set the model's answers."""
    folder = tmp_path_factory.mktemp("script")
    if runtime == "axengine":
        write = write_scripted_model(folder)
        return Scripted(start_shared_service(**on_pyaxengine(folder)), write, runtime)
    file = folder / "reply"
    file.write_text("Hello")
    mock = f"{QUICK_MOCK} --reply-file {shlex.quote(str(file))}"
    service = start_shared_service(AX650_RUNTIME=runtime, AX650_MOCK_ARGS=mock)
    return Scripted(service, file.write_text, runtime)
