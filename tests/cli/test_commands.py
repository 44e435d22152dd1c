"""The commands of `ax650`, each on answers of the service as a client gets them."""

from __future__ import annotations

import json
import os
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from axproxy import __version__
from axproxy.cli import chat, config, logs
from axproxy.cli.commands import COMMANDS, SERVE, parser, run, unknown
from axproxy.cli.main import main
from axproxy.cli.service import CommandFailed, ServiceClient
from axproxy.cli.status import render
from axproxy.health import (
    CardHealth,
    CheckHealth,
    ChildHealth,
    Health,
    HostHealth,
    QueueHealth,
    RuntimeHealth,
)
from axproxy.preflight.unit_settings import UnitSettings
from axproxy.settings import SECRETS, Settings

URL = Settings().own_url
NOW = 10_000.0


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AX650_", "OLLAMA_")):
            monkeypatch.delenv(name)


def health(**runtime: Any) -> dict[str, Any]:
    state = {"status": "ok", "kind": "vendor", "runtime": ChildHealth("ready", NOW - 65, 12, 1)}
    whole = RuntimeHealth(**{**state, **runtime})
    return Health("qwen3:1.7b", "/models/q", whole, QueueHealth(2, True, 64)).as_json()


def shown(**runtime: Any) -> str:
    return render(health(**runtime), URL, NOW)


def test_status_says_what_runs_since_when_and_how_many_wait() -> None:
    lines = shown(context_length=2048).splitlines()
    assert lines[0] == f"ax650 {__version__} at {URL}: ok"
    assert lines[1] == "model      qwen3:1.7b: loaded, a context of 2048 tokens"
    assert lines[2] == "runtime    ready since 1 min 5 s, pid 12, 1 restart"
    assert "queue      an answer is running, 2 of 64 places taken" in lines


def test_status_shows_how_far_a_load_is() -> None:
    starting = ChildHealth("starting", NOW - 5, 12, 0)
    assert "[##########..........] 50 %" in shown(
        status="loading", runtime=starting, load_percent=50
    )


def test_status_shows_card_and_host_and_leaves_out_what_is_not_known() -> None:
    text = shown(card=CardHealth(45, 7040, 1300, 80), host=HostHealth(52.4, 900))
    assert "card       45 °C, 1.4 GB of 7.4 GB of memory used, NPU 80 % busy" in text
    assert "host       52 °C, 944 MB of memory used" in text
    assert not re.search("card|None", shown())


def test_status_shows_findings_with_their_remedies_and_nothing_of_good_checks() -> None:
    checks = [
        CheckHealth("cma", "warn", "8 MiB", "add a line"),
        CheckHealth("pcie", "ok", "x1", ""),
    ]
    text = shown(preflight=checks)
    assert "warn       cma: 8 MiB\n           -> add a line" in text
    assert "pcie" not in text


def test_status_names_the_simulator() -> None:
    assert "a SIMULATOR answers" in shown(kind="mock")


def test_status_escapes_what_a_program_could_have_written() -> None:
    bad = ChildHealth("backoff", NOW, last_exit="\x1b]0;owned\x07", note="\x1b[2J")
    assert "\x1b" not in shown(status="restarting", runtime=bad)


@pytest.mark.parametrize(
    ("status", "expected"), [("ok", 0), ("unloaded", 0), ("loading", 1), ("failed", 1)]
)
@responses.activate
def test_the_exit_status_of_status_says_whether_a_request_would_run(
    status: str, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    responses.get(f"{URL}/health", json=health(status=status))
    assert run("status", ["--json"]) == expected
    assert json.loads(capsys.readouterr().out)["status"] == status


@pytest.mark.parametrize("name", ["status", "models", "rm x", "chat hi"])
@responses.activate
def test_a_command_without_a_service_says_how_to_start_it(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(name.split(maxsplit=1)[0], name.split()[1:]) == 3
    error = capsys.readouterr().err
    assert error.startswith(
        f"{name.split(maxsplit=1)[0]}: no service answers at {URL}; start it with"
    )


@responses.activate
def test_another_program_on_the_port_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    responses.get(f"{URL}/health", body="<html>")
    assert run("status", []) == 1
    assert "is not this service; check AX650_PORT" in capsys.readouterr().err


@responses.activate
def test_a_wrong_key_is_said_with_the_setting_that_holds_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    responses.get(f"{URL}/api/tags", json={"error": "unauthorized"}, status=401)
    assert run("models", []) == 1
    assert "set AX650_API_KEY" in capsys.readouterr().err


def model(name: str, size: int = 2_000_000_000) -> dict[str, Any]:
    return {
        "name": name,
        "size": size,
        "details": {"parameter_size": "1.7B", "quantization_level": "w8a16"},
    }


@responses.activate
def test_models_marks_those_on_the_card(capsys: pytest.CaptureFixture[str]) -> None:
    models = [model("qwen3:1.7b"), model("b:latest", 0)]
    responses.get(f"{URL}/api/tags", json={"models": models})
    responses.get(f"{URL}/api/ps", json={"models": [{"name": "qwen3:1.7b"}]})
    assert run("models", []) == 0
    _, first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"qwen3:1\.7b +2\.0 GB +1\.7B +w8a16 +loaded", first)
    assert re.fullmatch(r"b:latest +- +1\.7B +w8a16", second)


@responses.activate
def test_models_without_a_model_says_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    responses.get(f"{URL}/api/tags", json={"models": []})
    responses.get(f"{URL}/api/ps", json={"models": []})
    assert run("models", []) == 0
    assert "pull" in capsys.readouterr().out


@responses.activate
def test_rm_deletes_the_others_when_one_cannot_be_deleted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def answer(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        assert isinstance(request.body, bytes)
        bad = json.loads(request.body)["model"] == "a"
        return (404, {}, '{"error":"model \'a\' not found"}') if bad else (200, {}, "")

    responses.add_callback("DELETE", f"{URL}/api/delete", callback=answer)
    assert run("rm", ["a", "b"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("deleted b\n", "rm: model 'a' not found\n")


# chat


def answers(*pieces: dict[str, Any]) -> None:
    body = "".join(json.dumps(piece) + "\n" for piece in pieces)
    responses.post(f"{URL}/api/chat", body=" " + body, content_type="application/x-ndjson")


def piece(content: str = "", thinking: str = "", **more: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": content, "thinking": thinking}, **more}


LAST = {"done": True, "eval_count": 4, "eval_duration": 10**9}


def sent() -> list[dict[str, Any]]:
    calls = [call.request.body for call in responses.calls]
    return [json.loads(body) for body in calls if isinstance(body, bytes)]


@responses.activate
def test_chat_prints_thoughts_before_the_answer_and_nothing_that_commands_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers(piece(thinking="hm"), piece("It is \x1b[31mblue"), piece(**LAST))
    chat.TerminalChat(ServiceClient(Settings()), "m").ask("Why?")
    assert capsys.readouterr().out == "hm\n\nIt is \\x1b[31mblue\n"


@responses.activate
def test_a_conversation_is_sent_whole_with_the_system_prompt_first() -> None:
    answers(piece("one"), piece(**LAST))
    talk = chat.TerminalChat(ServiceClient(Settings()), "m", think=False)
    assert talk.converse(["/system Be short", "a", "", "/clear", "b", "/bye", "c"]) == 0
    first, second = sent()
    assert first["messages"] == [
        {"role": "system", "content": "Be short"},
        {"role": "user", "content": "a"},
    ]
    assert second["messages"][1:] == [{"role": "user", "content": "b"}]
    assert first["think"] is False


@responses.activate
def test_a_question_that_failed_before_any_text_is_not_sent_again_with_the_next() -> None:
    responses.post(f"{URL}/api/chat", json={"error": "busy"}, status=503)
    talk = chat.TerminalChat(ServiceClient(Settings()), "m")
    assert talk.converse(["a", "b"]) == 0
    assert [len(body["messages"]) for body in sent()] == [1, 1]


@responses.activate
def test_an_error_in_the_stream_keeps_what_came_before_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers(piece("half"), {"error": "the runtime died"})
    talk = chat.TerminalChat(ServiceClient(Settings()), "m")
    talk.converse(["a", "b"])
    assert "half" in capsys.readouterr().out
    assert [m["content"] for m in sent()[1]["messages"]] == ["a", "half", "b"]


def test_chat_reports_the_speed_and_a_cut_answer() -> None:
    last = {**LAST, "prompt_eval_duration": 5 * 10**8, "done_reason": "length"}
    assert chat.speed(last) == "(4 tokens, 4.0 tokens/s, 0.5 s before the first, cut at the limit)"
    assert chat.speed({"done": True}) == "(0 tokens, 0.0 s before the first)"


@responses.activate
def test_chat_asks_the_loaded_model_unless_one_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    responses.get(f"{URL}/api/ps", json={"models": [{"name": "on-card:latest"}]})
    answers(piece("x"), piece(**LAST))
    assert run("chat", ["what", "now?"]) == 0
    assert sent()[0]["model"] == "on-card:latest"
    assert sent()[0]["messages"][-1]["content"] == "what now?"
    assert capsys.readouterr().out == "x\n"


# config and logs


def test_config_names_the_source_of_each_value_and_hides_secrets() -> None:
    unit = UnitSettings({"AX650_API_KEY": "s3cret"}, {"AX650_API_KEY": "/etc/ax650.env, line 3"})
    shell = {"AX650_PORT": "6000", "OLLAMA_KEEP_ALIVE": "5m"}
    settings = Settings.from_env(unit.environment(shell))
    by_name = {each.variable: each for each in config.setting_values(settings, unit, shell)}
    assert by_name["AX650_PORT"].source == "this shell"
    assert by_name["AX650_KEEP_ALIVE"].source == "OLLAMA_KEEP_ALIVE in this shell"
    assert by_name["AX650_KEEP_ALIVE"].value == "300"
    assert by_name["AX650_API_KEY"].source == "/etc/ax650.env, line 3"
    assert by_name["AX650_API_KEY"].value == config.HIDDEN
    assert by_name["AX650_HOST"].source == "default"
    assert by_name["AX650_TOKENIZER"].value == "builtin"


def test_each_setting_that_may_hold_a_secret_is_known_as_one() -> None:
    variables = {field.metadata["variable"] for field in Settings.__dataclass_fields__.values()}
    public = {"AX650_TOKENIZER", "AX650_TOKENIZER_PORT", "AX650_AUTHORIZED_KEYS"}
    suspicious = {v for v in variables if re.search("KEY|SECRET|TOKEN|PASS", v)} - public
    assert {v for v in suspicious if "KEEP" not in v and not v.endswith("_FILE")} == set(SECRETS)


def test_a_bad_setting_ends_a_command_with_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AX650_PORT", "many")
    assert run("status", []) == 2
    assert capsys.readouterr().err.startswith("status: AX650_PORT must be")


@pytest.mark.parametrize(
    ("file", "installed", "command"),
    [
        (Path("/l"), True, "tail -n 5 -F -- /l"),
        (None, True, "journalctl -u ax650.service -n 5 --follow"),
    ],
)
def test_logs_are_followed_where_they_are(file: Path | None, installed: bool, command: str) -> None:
    assert " ".join(logs.log_command(file, installed, 5, follow=True)) == command


def test_logs_of_a_checkout_without_a_log_file_are_in_its_terminal() -> None:
    with pytest.raises(CommandFailed, match="AX650_LOG_FILE"):
        logs.log_command(None, installed=False, lines=5, follow=False)


# the command line


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^    {name} ", text, re.MULTILINE) for name in (SERVE[0], *COMMANDS))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_manual_of_its_own(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run(name, ["--help"])
    assert end.value.code == 0
    assert COMMANDS[name][1][1:] in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("word", "hint"), [("statsu", "did you mean status?"), ("xyzzy", "lists the commands")]
)
def test_an_unknown_command_gets_the_nearest_one(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word]) == 2
    assert hint in capsys.readouterr().err
    assert hint in unknown(word)


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("completion", [shell]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


def test_the_parser_of_all_commands_reads_the_options_of_one() -> None:
    assert parser().parse_args(["logs", "-n", "3"]) == Namespace(
        command="logs", version=False, follow=False, lines=3
    )


@responses.activate
def test_version_names_a_service_of_another_version(capsys: pytest.CaptureFixture[str]) -> None:
    responses.get(f"{URL}/health", json={**health(), "version": "0.0.1"})
    assert run("version", []) == 0
    assert "is 0.0.1; restart it" in capsys.readouterr().out
