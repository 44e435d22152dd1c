"""Checks that the model fits the card's free memory, and names the programs that use the card.

With too little memory a model seems to load to 100 %, and then answers nonsense.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from axproxy.card.failure import recovery_steps
from axproxy.card.smi_table import Card, CardUser, NoTable, Table
from axproxy.preflight.finding import Finding, Severity

_LEFT_OVER_MB = 512  # more in use than this is left over from a process; an idle card uses 18

# MiB of card memory that published models used, by (layers, columns of the embedding) and bits of a
# weight: from "remain cmm" or axcl-smi in the vendor's and users' logs; of two builds, the smaller.
_MEASURED = {
    (28, 1024, 8): 1954,
    (28, 1536, 8): 2320,
    (28, 1536, 4): 800,
    (28, 2048, 8): 3375,
    (36, 2560, 8): 5223,
    (28, 3584, 8): 5200,
    (28, 3584, 4): 5200,
}
_MAX_BUFFERS_MB = 1500  # on top of files and KV; a build with wider weights used more
# Columns of K or V (heads times their size) by the same key.
_KV_COLUMNS = {(24, 896): 128, (28, 1536): 256, (36, 2048): 256, (28, 3584): 512}
_KV_DEFAULT = 1024  # all of Qwen3


@dataclass(frozen=True)
class MemoryNeed:
    """Card memory in MiB that a model needs.

    `least` is the size of its files and KV cache.  `measured` is what such a model was seen to use
    with all its buffers, or `None`.
    """

    least: int
    measured: int | None = None

    @property
    def likely(self) -> int:
        return max(self.least, self.measured or 0)


def need_of(
    file_sizes: Iterable[int], layers: int, columns: int, context: int, bits: int = 8
) -> MemoryNeed:
    """Return the need of a model.

    `file_sizes` are those of the axmodel files in bytes, `columns` is the length of an embedding,
    `context` the window in tokens, `bits` the width of a weight.  Each layer keeps K and V in
    bfloat16.
    """
    shape = (layers, columns)
    kv = layers * 2 * context * _KV_COLUMNS.get(shape, _KV_DEFAULT) * 2
    least = (sum(file_sizes) + kv) // 2**20
    # Names do not always say that the weights are narrower; the sizes then do.
    measured = _MEASURED.get((*shape, bits))
    return MemoryNeed(least, measured if measured and measured <= least + _MAX_BUFFERS_MB else None)


def check_cmm(
    need: MemoryNeed, result: Table | NoTable, devices: Collection[int], ours: Collection[int] = ()
) -> Finding:
    """Check that the model fits the free memory of `devices`; its layers are spread over them.

    `ours` are pids of this service: if one of them uses the card, the model is on it already.
    """
    if isinstance(result, NoTable):
        seen = "axcl-smi shows no card, so its free memory is not known; see card"
        return Finding("cmm", "skip", seen)
    cards = [card for card in result.cards if card.index in devices]
    users = [user for user in result.users if user.card in devices]
    if any(user.pid in ours for user in users):
        return Finding("cmm", "ok", f"the model is on the card already; {_usage(cards)}")
    free = [card.cmm_free_mb for card in cards]
    if not free or None in free:
        seen = "the card does not report how much memory is free"
        return Finding("cmm", "warn", seen, "run axcl-smi and look at CMM-Usage")
    room = sum(mb for mb in free if mb is not None)
    seen = f"{room} MiB of card memory are free, the model takes {_amount(need)}"
    if room >= need.likely:
        return Finding("cmm", "ok", seen)
    seen += f"; {_in_use_by(users, cards)}"
    severity: Severity = "fail" if room < need.least else "warn"
    return Finding("cmm", severity, seen, _remedy(users, cards, result))


def _amount(need: MemoryNeed) -> str:
    if need.measured and need.measured > need.least:
        return f"about {need.measured} MiB"
    return f"at least {need.least} MiB"


def _usage(cards: Iterable[Card]) -> str:
    return ", ".join(
        f"{card.cmm_used_mb} of {card.cmm_total_mb} MiB are in use on card {card.index}"
        for card in cards
    )


def _in_use_by(users: list[CardUser], cards: list[Card]) -> str:
    if users:
        named = (f"{user.program} (pid {user.pid})" for user in users)
        return f"the card is used by {', '.join(named)}"
    return f"no process is listed, yet {_usage(cards)}"


def _remedy(users: list[CardUser], cards: list[Card], result: Table) -> str:
    if users:
        # On SIGINT the vendor's programs free the card.
        return f"kill -INT {' '.join(str(pid) for pid in sorted({h.pid for h in users}))}"
    if any((card.cmm_used_mb or 0) > _LEFT_OVER_MB for card in cards):
        return recovery_steps(result.tool_number(cards[0]))
    return "choose a smaller model: this one does not fit the card"
