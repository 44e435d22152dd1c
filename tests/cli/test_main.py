"""The command line of backend.py, up to the point where gunicorn takes over."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from axproxy import __version__
from axproxy.cli.main import main
from tests.support.service import ROOT


@pytest.mark.parametrize("option", ["--version", "-v"])
def test_the_version_is_the_services_own(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 0
    assert capsys.readouterr().out == f"backend {__version__}\n"


def test_the_version_is_semantic() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[\w.]+)?", __version__)


def test_the_service_imports_no_http_client_before_it_pulls_a_model() -> None:
    code = "import backend, sys; print('requests' in sys.modules, 'tokenizers' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "False False\n"
