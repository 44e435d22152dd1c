"""Which card: by the rows of axcl-smi's table, never by its exit status or its "Device ID"."""

from __future__ import annotations

from pathlib import Path

import pytest

from axproxy.axcl_smi import card_indices, first_card

# As printed by V3.4.0 on a Raspberry Pi 5 (README of AXERA-TECH/Qwen3-4B), shortened.
ONE_CARD = """
+-----------------------------------------+--------------+---------------------------------------+
| Card  Name                     Firmware | Bus-Id       |                          Memory-Usage |
| Fan   Temp                Pwr:Usage/Cap | CPU      NPU |                             CMM-Usage |
|=========================================+==============+=======================================|
|    0  AX650N                     V3.4.0 | 0000:01:00.0 |                193 MiB /      945 MiB |
|   --   37C                      -- / -- | 2%        0% |               6348 MiB /     7040 MiB |
+-----------------------------------------+--------------+---------------------------------------+
| Card      PID  Process Name                                                   NPU Memory Usage |
|================================================================================================|
|    0    84643  /home/axera/samples/qwen3-4b/main_axcl_aarch64                      4894032 KiB |
+------------------------------------------------------------------------------------------------+
"""
SECOND_ONLY = ONE_CARD.replace("|    0  AX650N ", "|    1  AX8850 ").replace(
    "0000:01:00.0", "0001:81:00.0"
)
NO_CARD = """
[E][smi][device_manager][  20]: axcl init fail, ret = 0x8030010b
| Card  Name                     Firmware | Bus-Id       |                          Memory-Usage |
|=========================================+==============+=======================================|
"""

TABLE = [
    ("one card", ONE_CARD, [0]),
    ("the first is not there", SECOND_ONLY, [1]),
    ("header without rows", NO_CARD, []),
    ("already running", "axcl-smi is already running, please try later.\n", []),
]


@pytest.mark.parametrize(("output", "cards"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE])
def test_cards_are_the_rows_of_the_table(output: str, cards: list[int]) -> None:
    assert card_indices(output) == cards


def script(folder: Path, body: str) -> Path:
    program = folder / "axcl-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return program


def test_auto_takes_the_first_card_there_is(tmp_path: Path) -> None:
    (tmp_path / "table").write_text(SECOND_ONLY)

    assert first_card(script(tmp_path, f"cat {tmp_path}/table")) == "1"


@pytest.mark.parametrize("body", ["exit 0", "echo no device connected"])
def test_where_nothing_can_be_told_it_is_card_0(tmp_path: Path, body: str) -> None:
    assert first_card(script(tmp_path, body)) == "0"
    assert first_card(tmp_path / "missing") == "0"


def test_a_tool_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("axproxy.axcl_smi.PATIENCE", 0.1)

    assert first_card(script(tmp_path, "exec sleep 60")) == "0"
