"""The command line of backend.py, up to the point where gunicorn takes over."""

from __future__ import annotations

import re

import pytest

from axproxy import __version__
from axproxy.cli.main import main


@pytest.mark.parametrize("option", ["--version", "-v"])
def test_the_version_is_the_services_own(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 0
    assert capsys.readouterr().out == f"backend {__version__}\n"


def test_the_version_is_semantic() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(-[\w.]+)?", __version__)
