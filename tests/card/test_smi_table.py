"""The output of axcl-smi: rows count, not headers, statuses, positions or device ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axproxy.card.smi_table import Card, CardUser, NoTable, Table, read_table
from tests.support import fake_axcl_smi as fake

# As the vendor's guide, the README of AXERA-TECH/Qwen3-4B and a Raspberry Pi show them.
GUIDE = """
i 0 = 748  pid = 748
+------------------------------------------------------------------------------------------------+
| AXCL-SMI  V2.18.0                                                              Driver  V2.18.0 |
+-----------------------------------------+--------------+---------------------------------------+
| Card  Name                     Firmware | Bus-Id       |                          Memory-Usage |
| Fan   Temp                Pwr:Usage/Cap | CPU      NPU |                             CMM-Usage |
|=========================================+==============+=======================================|
|    0  AX650N                    V2.18.0 | 0001:81:00.0 |                181 MiB /      954 MiB |
|   --   52C                      -- / -- | 3%        0% |                 22 MiB /     3072 MiB |
+-----------------------------------------+--------------+---------------------------------------+

+------------------------------------------------------------------------------------------------+
| Processes:                                                                                     |
| Card      PID  Process Name                                                   NPU Memory Usage |
|================================================================================================|
|    0      763  /opt/bin/axcl/axcl_run_model                                            160 KiB |
+------------------------------------------------------------------------------------------------+
"""
LOADED = """
|=========================================+==============+=======================================|
|    0  AX650N                     V3.4.0 | 0000:01:00.0 |                193 MiB /      945 MiB |
|   --   37C                      -- / -- | 2%        0% |               6348 MiB /     7040 MiB |
+-----------------------------------------+--------------+---------------------------------------+
| Card      PID  Process Name                                                   NPU Memory Usage |
|================================================================================================|
|    0    84643  /home/axera/samples/qwen3-4b/main_axcl_aarch64                      4894032 KiB |
+------------------------------------------------------------------------------------------------+
"""
SQUEEZED = """
0  AX650N  V3.6.4 | 0001:01:00.0 | 149 MiB / 945 MiB
--  41C  -- / -- | 1%  0% | 18 MiB / 7040 MiB
"""
TABLES = [
    (GUIDE, (Card(0, "AX650N", "0001:81:00.0", 52, 0, 22, 3072),)),
    (LOADED, (Card(0, "AX650N", "0000:01:00.0", 37, 0, 6348, 7040),)),
    (SQUEEZED, (Card(0, "AX650N", "0001:01:00.0", 41, 0, 18, 7040),)),
    (fake.scenario("shifted", 1), (Card(0, "AX650N", "0001:01:00.0", 41, 0, 18, 7040),)),
    (fake.scenario("idle", 1), (Card(0, "AX650N", "0001:01:00.0", 41, 0, 18, 7040),)),
    (fake.scenario("second", 1), (Card(1, "AX8850", "0001:81:00.0", 41, 0, 18, 7040),)),
    (
        fake.scenario("two", 1),
        (
            Card(0, "AX650N", "0001:01:00.0", 37, 35, 6348, 7040),
            Card(1, "AX650N", "0000:03:00.0", 38, 0, 18, 7040),
        ),
    ),
    (fake.scenario("silent", 1), (Card(0),)),
]


@pytest.mark.parametrize(("text", "cards"), TABLES)
def test_every_known_layout_shows_its_cards(text: str, cards: tuple[Card, ...]) -> None:
    result = read_table(text)

    assert isinstance(result, Table)
    assert result.cards == cards


def test_a_user_of_the_card_is_known_by_pid_and_program() -> None:
    assert read_table(LOADED) == Table(
        (Card(0, "AX650N", "0000:01:00.0", 37, 0, 6348, 7040),),
        (CardUser(0, 84643, "/home/axera/samples/qwen3-4b/main_axcl_aarch64", 4779),),
    )


def test_a_user_with_spaces_and_bars_in_its_path_is_one_user() -> None:
    text = fake.head() + fake.card() + fake.users((0, 7, "/a b/12 MiB | 3 KiB /x", 2048))

    assert read_table(text).users == (CardUser(0, 7, "/a b/12 MiB | 3 KiB /x", 2),)


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("busy", "busy", "already running"),
        ("driverless", "no driver", "0x8030010b"),
        ("forbidden", "forbidden", "Permission denied"),
        ("cardless", "no card", "no device connected"),
        ("dead", "dead", "request ports from device 1 fail"),
        ("rowless", "dead", ""),
        ("garbage", "unknown", "Segmentation fault"),
    ],
)
def test_a_table_without_rows_is_explained(name: str, reason: str, message: str) -> None:
    found = read_table(fake.scenario(name, 1))

    assert isinstance(found, NoTable)
    assert found.reason == reason
    assert message in found.message
    assert "\x1b" not in found.message


def test_empty_output_is_no_table() -> None:
    assert read_table("") == NoTable("unknown", "")


@pytest.mark.parametrize(
    ("version", "bus", "number"),
    [
        ("V2.18.0", "0001:81:00.0", 129),
        ("V2.25.0_20250117163029", "0000:03:00.0", 3),
        ("V2.26.1", "0001:81:00.0", 0),
        ("V3.10.2_20251215", "0001:81:00.0", 0),
        ("V1.0.0", "0001:81:00.0", 0),  # another product's tool
        ("?", "0001:81:00.0", 0),
        ("V2.18.0", "--", 0),
    ],
)
def test_old_tools_take_the_bus_number_and_the_runtime_always_the_index(
    version: str, bus: str, number: int
) -> None:
    result = read_table(fake.head(version) + fake.card(bus=bus))

    assert isinstance(result, Table)
    assert result.tool_number(result.cards[0]) == number
    assert result.cards[0].index == 0


@given(st.text() | st.text(alphabet="|+-=: 0123456789ACMKiB/%.\n\r\x1b[m"))
def test_any_text_is_a_table_with_cards_or_an_explanation(text: str) -> None:
    result = read_table(text)

    assert isinstance(result, NoTable) or result.cards


@given(st.data())
def test_a_table_with_lost_lines_invents_no_card(data: st.DataObject) -> None:
    text = fake.scenario(data.draw(st.sampled_from(["two", "loaded", "shifted", "old"])), 77)
    lines = text.splitlines()
    kept = data.draw(st.lists(st.booleans(), min_size=len(lines), max_size=len(lines)))
    result = read_table("\n".join(line for line, keep in zip(lines, kept, strict=True) if keep))
    whole = read_table(text)

    assert isinstance(whole, Table)
    for card in result.cards if isinstance(result, Table) else ():
        original = whole.card(card.index)
        assert original
        assert card.bus_id == original.bus_id


cards = st.builds(
    dict,
    name=st.sampled_from(["AX650N", "AX8850", "--"]),
    bus=st.builds(
        "{:04X}:{:02X}:{:02X}.{:X}".format,
        st.integers(0, 0xFFFF),
        st.integers(0, 0xFF),
        st.integers(0, 31),
        st.integers(0, 7),
    ),
    temperature=st.sampled_from(["--", "-5C", "0C", "41C", "119C"]),
    npu=st.sampled_from(["--", "0%", "100%"]),
    used=st.integers(0, 99_999),
    total=st.integers(0, 99_999),
)


@given(st.lists(cards, min_size=1, max_size=9), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_number_of_cards_on_any_bus_is_read_as_the_tool_prints_it(
    fields: list[dict[str, object]], line_end: str, squeezed: bool
) -> None:
    text = fake.head() + "".join(fake.card(i, **each) for i, each in enumerate(fields))
    if squeezed:
        text = "\n".join(" ".join(line.split()) for line in text.splitlines())
    result = read_table(text.replace("\n", line_end))

    assert isinstance(result, Table)
    assert len(result.cards) == len(fields)
    for i, (card, each) in enumerate(zip(result.cards, fields, strict=True)):
        assert card.index == i
        assert card.bus_id == each["bus"]
        assert card.bus == int(str(each["bus"])[5:7], 16)
        assert card.cmm_total_mb == (each["total"] or None)
        assert card.cmm_used_mb == (each["used"] if each["total"] else None)
        shown = str(each["temperature"])
        assert card.temperature_c == (None if shown == "--" else int(shown[:-1]))
        assert card.npu_percent == (None if each["npu"] == "--" else int(str(each["npu"])[:-1]))


def test_an_overlong_line_is_ignored() -> None:
    text = "0 " + " " * 300_000 + "1 KiB" + "\n" + fake.card()

    assert read_table(text).cards[0].index == 0


@pytest.mark.parametrize(
    "line",
    [
        "[E][channel][send][166]: send 2807 bytes, but 0 bytes sent",
        "[E][channel][recv][201]: [1-21] recv dma size 614400 is not equal to 9743",
        "[E][engine][invoke][97]: Decode api(4) response failed.",
        "[E][rt][reset][12]: axcl.rt.reset_device failed with code -2144337532",
    ],
)
def test_without_a_table_a_line_of_a_dead_card_explains_it(line: str) -> None:
    assert read_table(f"{line}\n") == NoTable("dead", line)
