"""The check of the file of named keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from axproxy.api_keys import digest_of
from axproxy.preflight.api_keys import check_api_keys
from axproxy.preflight.context import CheckContext
from axproxy.settings import Settings

GOOD = f"anna sha256:{digest_of(b'x')}\n"


@pytest.mark.parametrize(
    ("text", "mode", "verdicts", "seen"),
    [
        (GOOD, 0o644, "ok", "has 1 key"),
        (GOOD, 0o600, "ok", "has 1 key"),
        (GOOD, 0o664, "warn ok", "other users may write"),
        (GOOD, 0o646, "warn ok", "other users may write"),
        ("anna\n", 0o644, "warn", "keeps the keys that it had"),
        (None, 0, "warn", "does not exist"),
    ],
)
def test_the_file_is_checked(
    tmp_path: Path, text: str | None, mode: int, verdicts: str, seen: str
) -> None:
    path = tmp_path / "keys"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    findings = list(check_api_keys(CheckContext(Settings(api_keys_file=path))))
    assert [finding.verdict for finding in findings] == verdicts.split()
    assert seen in findings[0].seen


def test_a_file_that_this_user_may_not_read_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(GOOD)
    context = CheckContext(Settings(api_keys_file=path), can_access=lambda _path, _mode: False)
    (finding,) = check_api_keys(context)
    assert finding.remedy == f"sudo chmod a+r {path}"


def test_without_the_setting_there_is_nothing_to_check() -> None:
    assert list(check_api_keys(CheckContext(Settings()))) == []
