"""gunicorn's options on the command line: followed where the service can, else refused."""

from __future__ import annotations

import sys

import pytest

from axproxy.server.options import OptionRefused, settings_from_options
from tests.support.ports import own_port
from tests.support.service import ROOT, run


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ("", {}),
        ("backend:app --log-level debug --workers 1", {}),
        ("-b 0.0.0.0:5003", {"AX650_HOST": "0.0.0.0", "AX650_PORT": "5003"}),
        ("--bind [::1]:5003", {"AX650_HOST": "::1", "AX650_PORT": "5003"}),
        ("-b 127.0.0.1", {"AX650_HOST": "127.0.0.1"}),
        ("-b :5003", {"AX650_HOST": "0.0.0.0", "AX650_PORT": "5003"}),
    ],
)
def test_an_address_on_the_command_line_counts_as_the_setting(
    options: str, settings: dict[str, str]
) -> None:
    assert settings_from_options(options.split()) == settings


@pytest.mark.parametrize(
    "options",
    [
        "--workers 4",
        "-w 2",
        "-k gevent",
        "--max-requests 100",
        "--reload",
        "--preload",
        "--daemon",
        "--reuse-port",
        "--graceful-timeout 5",
        "--certfile a.pem --keyfile b.pem",
        "-b unix:/run/ax650.sock",
        "-b fd://3",
        "-b 127.0.0.1:5003 -b 0.0.0.0:5004",
    ],
)
def test_an_option_that_the_service_cannot_follow_is_refused(options: str) -> None:
    with pytest.raises(OptionRefused) as refusal:
        settings_from_options(options.split())
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("-b 0.0.0.0:5003", "backend: listening on 0.0.0.0 lets the whole network use the card"),
        ("--workers 4", "backend: --workers is not possible here: one worker"),
        ("--daemon", "backend: --daemon is not possible here: a service in the background"),
    ],
)
@pytest.mark.parametrize("how", ["command line", "GUNICORN_CMD_ARGS"])
def test_the_service_refuses_an_option_in_one_line(how: str, options: str, sentence: str) -> None:
    given = options.split() if how == "command line" else []
    environ = {} if given else {"GUNICORN_CMD_ARGS": options}
    program = str(ROOT / "backend.py")
    result = run(sys.executable, program, *given, AX650_PORT=str(own_port()), **environ)

    assert result.returncode == 2
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == 1
