"""Parses the output of `axcl-smi`: the cards and their users, or the reason for no table.

Pure: any text gives either of them.  The tool prints its headers even without a card and always
exits with status 0, so only rows count.  Its columns move from one version to the next, so a row is
recognised by its cells, not by their positions (observed in the tables of V1.0 to V3.10).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from axproxy.card.failure import DEAD_CARD
from axproxy.process.output import plain

Reason = Literal["busy", "forbidden", "no driver", "no card", "dead", "unknown", "missing", "hung"]

_MAX_ROW = 1000  # characters; real ones have about a hundred
_ROW_END = r"\s*\|?\s*$"
_MEMORY = r"([0-9]{1,9})\s*MiB\s*/\s*([0-9]{1,9})\s*MiB"
# "|    0  AX650N                     V3.4.0 | 0000:01:00.0 |       193 MiB /      945 MiB |"; the
# first number is the index that `--devices` takes; "--" stands for an unknown value.
_CARD = re.compile(r"^\s*\|?\s*([0-9]{1,4})\s+([^|]*)\|([^|]*)\|\s*" + _MEMORY + _ROW_END)
# "|   --   37C                      -- / -- | 2%        0% |      6348 MiB /     7040 MiB |"
_VITALS = re.compile(r"^\s*\|?\s*[^\s|]+\s+([^|]*)\|([^|]*)\|\s*" + _MEMORY + _ROW_END)
# "|    0    84643  /home/axera/samples/main_axcl_aarch64                   4894032 KiB |"
_USER = re.compile(
    r"^\s*\|?\s*([0-9]{1,4})\s+([0-9]{1,9})\s+(\S.*?)\s+([0-9]{1,12})\s*KiB" + _ROW_END
)
_VERSION = re.compile(r"AXCL-SMI\s+V([0-9]{1,6})\.([0-9]{1,6})", re.IGNORECASE)
_DEGREES = re.compile(r"(-?[0-9]{1,4})C\b")
_PERCENT = re.compile(r"([0-9]{1,4})%")
_BUS = re.compile(r"^[0-9A-Fa-f]{4,8}:([0-9A-Fa-f]{2}):[0-9A-Fa-f]{2}\.[0-9A-Fa-f]$")

# Why there is no row, by the text that is there instead; the first match explains it.
_EXPLANATIONS: tuple[tuple[re.Pattern[str], Reason], ...] = (
    (re.compile(r"is already running", re.IGNORECASE), "busy"),
    (re.compile(r"/dev/axcl_host fail.*(errno: 13|permission denied)", re.IGNORECASE), "forbidden"),
    (re.compile(r"/dev/axcl_host fail|0x8030010b", re.IGNORECASE), "no driver"),
    (re.compile(r"no device connected|0x80300181", re.IGNORECASE), "no card"),
    (DEAD_CARD, "dead"),
    (
        re.compile(
            r"device [0-9a-f]+ is dead|request ports from device|recv port ack timeout"
            r"|active device \d+ fail|execute shell .* fail|is not connected|axcl init fail"
            r"|\|\s*Card\s+Name\s",  # a card whose context cannot be created is left out
            re.IGNORECASE,
        ),
        "dead",
    ),
)


@dataclass(frozen=True)
class Card:
    """One card.

    `index` is its number for `--devices`, `bus` the number of its PCIe bus.  Memory is in MiB; CMM
    is the memory that holds the models.  `None` stands for values that the tool does not know.
    """

    index: int
    name: str | None = None
    bus_id: str | None = None
    temperature_c: int | None = None
    npu_percent: int | None = None
    cmm_used_mb: int | None = None
    cmm_total_mb: int | None = None

    @property
    def bus(self) -> int | None:
        found = _BUS.match(self.bus_id or "")
        return int(found[1], 16) if found else None

    @property
    def cmm_free_mb(self) -> int | None:
        if self.cmm_used_mb is None or self.cmm_total_mb is None:
            return None
        return self.cmm_total_mb - self.cmm_used_mb

    @property
    def silent(self) -> bool:
        """Whether it is listed without any values."""
        return self.temperature_c is None and self.cmm_total_mb is None


@dataclass(frozen=True)
class CardUser:
    """A process of this host that uses a card.

    `mb` is less than the process really uses (6330 MiB where 4779 are shown), so the free memory
    cannot be computed from it.
    """

    card: int
    pid: int
    program: str
    mb: int


@dataclass(frozen=True)
class Table:
    """At least one card, in the tool's order; `version` is the tool's, without its time stamp."""

    cards: tuple[Card, ...]
    users: tuple[CardUser, ...] = ()
    version: tuple[int, int] | None = None

    def card(self, index: int) -> Card | None:
        return next((card for card in self.cards if card.index == index), None)

    def tool_number(self, card: Card) -> int:
        """Return the card's number for `axcl-smi -d`.

        Up to V2.25 that is the number of its bus, since then its index (vendor's release notes).
        """
        old = self.version is not None and (2, 0) <= self.version < (2, 26)
        return card.bus if old and card.bus is not None else card.index


@dataclass(frozen=True)
class NoTable:
    """There is no row of a card; `message` is the line of the output that explains it."""

    reason: Reason
    message: str


def read_table(text: str) -> Table | NoTable:
    """Return the cards in the output of `axcl-smi`, or the reason why it shows none."""
    lines = [line for line in plain(text).splitlines() if len(line) <= _MAX_ROW]
    cards: dict[int, Card] = {}
    users: list[CardUser] = []
    current: int | None = None  # the card whose second row comes next
    for line in lines:
        if found := _USER.match(line):
            card, pid, program, kib = found.groups()
            users.append(CardUser(int(card), int(pid), program, int(kib) // 1024))
            continue
        row, vitals = _CARD.match(line), _VITALS.match(line)
        if current is not None and vitals and not (row and _BUS.match(row[3].strip())):
            cards[current] = _with_vitals(cards[current], vitals)
            current = None
        elif row:
            current = int(row[1])
            cards[current] = Card(current, _known(row[2].split()[:1]), _known([row[3]]))
    if cards:
        return Table(tuple(cards.values()), tuple(users), _version(lines))
    return _explain(lines)


def _with_vitals(card: Card, row: re.Match[str]) -> Card:
    degrees, percents = _DEGREES.search(row[1]), _PERCENT.findall(row[2])
    total = int(row[4])
    return Card(
        card.index,
        card.name,
        card.bus_id,
        temperature_c=int(degrees[1]) if degrees else None,
        npu_percent=int(percents[-1]) if len(percents) > 1 else None,
        # No card has 0 MiB: the tool prints zeros where the card gave no answer.
        cmm_used_mb=int(row[3]) if total else None,
        cmm_total_mb=total or None,
    )


def _known(words: list[str]) -> str | None:
    word = words[0].strip() if words else ""
    return word if word not in ("", "--") else None


def _version(lines: list[str]) -> tuple[int, int] | None:
    found = next((found for line in lines if (found := _VERSION.search(line))), None)
    return (int(found[1]), int(found[2])) if found else None


def _explain(lines: list[str]) -> NoTable:
    for pattern, reason in _EXPLANATIONS:
        for line in lines:
            if pattern.search(line):
                # A line of the header explains nothing to people.
                message = "" if line.lstrip().startswith("|") else line.strip()[:300]
                return NoTable(reason, message)
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return NoTable("unknown", last[:300])
