"""With OLLAMA_AUTH=1 the `ollama` command line signs its requests, and needs no other key."""

from __future__ import annotations

import base64
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask.testing import FlaskClient

from axproxy.api.http.signatures import AuthorizedKeys, BadKey
from axproxy.settings import Settings, SettingsError
from backend import create_app
from tests.support.fakes import FakeEngine, FakeModels

MINE, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
NOW = 1_790_000_000


def public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def authorization(key: Ed25519PrivateKey, signed: str) -> str:
    """What the command line sends, as it was recorded."""
    return f"{public(key).split()[1]}:{base64.b64encode(key.sign(signed.encode())).decode()}"


def judge(value: str, method: str = "POST", path: str = "/api/chat", query: str = "") -> str:
    keys = AuthorizedKeys([public(MINE)], clock=lambda: NOW)
    return keys.judge(value, method, [path], query or f"ts={NOW}")


def test_what_the_command_line_signs_is_accepted() -> None:
    assert judge(authorization(MINE, f"POST,/api/chat?ts={NOW}")) == "right"


@pytest.mark.parametrize(
    ("off", "judgement"), [(-61, "stale"), (-60, "right"), (60, "right"), (61, "stale")]
)
def test_a_signature_holds_for_a_minute_before_and_after_its_time(off: int, judgement: str) -> None:
    query = f"ts={NOW + off}"
    assert judge(authorization(MINE, f"POST,/api/chat?{query}"), query=query) == judgement


@pytest.mark.parametrize(
    ("signed", "asked"),
    [
        ("POST,/api/chat", ("GET", "/api/chat", f"ts={NOW}")),
        ("POST,/api/chat", ("POST", "/api/delete", f"ts={NOW}")),
        ("POST,/api/chat", ("POST", "/api/chat", f"ts={NOW + 1}")),
        ("POST,/api/chat", ("POST", "/api/chat", f"ts={NOW}&ts={NOW}")),
        ("POST,/api/chat", ("POST", "/api/chat", f"ts={NOW}&more=1")),
        ("POST,/api/chat", ("POST", "/api/chat", "ts=")),
        ("POST,/api/chat", ("POST", "/api/chat", "ts=-1")),
        ("POST,/api/chat", ("POST", "/api/chat", "ts=" + "9" * 13)),
        ("POST,/api/chat", ("POST", "/api/chat", "ts=\u0661")),
        ("POST,/api/chat", ("POST", "/api/chat", "x=1")),
    ],
)
def test_a_signature_is_for_one_method_path_and_time(
    signed: str, asked: tuple[str, str, str]
) -> None:
    assert judge(authorization(MINE, f"{signed}?ts={NOW}"), *asked) == "wrong"


def test_a_signature_of_another_key_is_wrong_also_under_the_name_of_a_listed_one() -> None:
    text = f"POST,/api/chat?ts={NOW}"
    listed, _, _ = authorization(MINE, text).partition(":")
    _, _, forged = authorization(OTHER, text).partition(":")

    assert judge(authorization(OTHER, text)) == "wrong"
    assert judge(f"{listed}:{forged}") == "wrong"


RIGHT = authorization(MINE, f"POST,/api/chat?ts={NOW}")


@pytest.mark.parametrize(
    "value",
    [
        *("", ":", "Bearer s3cret", RIGHT + "A", RIGHT[:-4], RIGHT.replace(":", ""), "\xff:\xff"),
        *(f"Bearer {RIGHT}", f"{RIGHT}:", RIGHT.partition(":")[0] + ":", "A" * 8000),
    ],
)
def test_what_is_no_signature_is_wrong(value: str) -> None:
    assert judge(value) == "wrong"


def test_the_file_may_have_names_comments_and_empty_lines() -> None:
    lines = ["# who may call", "", f"{public(OTHER)} ann@laptop of hers", f"  {public(MINE)}  "]
    keys = AuthorizedKeys(lines, clock=lambda: NOW)

    assert keys.judge(RIGHT, "POST", ["/api/chat"], f"ts={NOW}") == "right"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAB", "line 2 is none"),
        ("ssh-ed25519", "line 2 is none"),
        ("ssh-ed25519 AAAA", "line 2 is none"),
        (f"ssh-ed25519 {public(MINE).split()[1][:-4]}", "line 2 is none"),
        (f"no-pty {public(MINE)}", "line 2 is none"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "line 2 is none"),
    ],
)
def test_a_line_that_is_no_key_is_named(line: str, message: str) -> None:
    with pytest.raises(BadKey, match=message):
        AuthorizedKeys([public(OTHER), line])


# --- the service


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "authorized_keys"
    file.write_text(f"{public(MINE)} me@laptop\n")
    return file


def ask(client: FlaskClient, key: Ed25519PrivateKey, path: str, off: int = 0) -> tuple[int, str]:
    url = f"{path}?ts={int(time.time()) + off}"
    headers = {"Authorization": authorization(key, f"GET,{url}")}
    reply = client.get(url, headers=headers)
    return reply.status_code, reply.text


@pytest.mark.parametrize("key", [None, "s3cret"])
def test_signed_requests_are_answered_and_others_refused(file: Path, key: str | None) -> None:
    settings = Settings(host="0.0.0.0", authorized_keys=file, api_key=key)
    client = create_app(settings, FakeEngine(), FakeModels()).test_client()

    assert ask(client, MINE, "/api/tags")[0] == 200
    assert ask(client, MINE, "/api/tags/")[0] == 200
    status, said = ask(client, OTHER, "/api/tags")
    assert (status, "OLLAMA_AUTH=1" in said) == (403, True)
    status, said = ask(client, MINE, "/api/tags", off=-3600)
    assert (status, "set the clocks" in said) == (403, True)
    assert client.get("/api/tags").status_code == 403
    sent = client.get("/api/tags", headers={"X-Api-Key": "s3cret"})
    assert sent.status_code == (200 if key else 403)


def test_who_signs_sees_what_operators_see(file: Path) -> None:
    settings = Settings(authorized_keys=file)
    client = create_app(settings, FakeEngine(), FakeModels()).test_client()

    assert "/models/qwen3-0.6b" in ask(client, MINE, "/health")[1]
    assert "/models/qwen3-0.6b" not in ask(client, OTHER, "/health")[1]


def test_a_file_that_cannot_be_used_is_named_at_the_start(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(**settings: object) -> None:
        create_app(Settings(**settings), FakeEngine(), FakeModels())  # type: ignore[arg-type]  # any of them

    with pytest.raises(SettingsError, match="AX650_API_KEY=none lets every client in"):
        start(authorized_keys=file, api_key="none")
    with pytest.raises(SettingsError, match="cannot be read: .*nothing: No such file"):
        start(authorized_keys=file.parent / "nothing")
    (file.parent / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="it is not text"):
        start(authorized_keys=file.parent / "binary")
    (file.parent / "empty").write_text("# nobody\n")
    with pytest.raises(SettingsError, match=r"must hold a line such as ssh-ed25519 AAAA"):
        start(authorized_keys=file.parent / "empty")
    for module in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(SettingsError, match="pip install -r .*requirements-signatures.txt"):
        start(authorized_keys=file)
