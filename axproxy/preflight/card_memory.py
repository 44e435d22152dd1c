"""Room for the model in the card's own memory, and who takes it.

A model for which there is too little room seems to load to 100 % and then answers nonsense.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from axproxy.card.failure import recovery_steps
from axproxy.card.smi_table import Card, CardUser, NoTable, Table
from axproxy.preflight.finding import Finding, Severity

_LEFT_OVER_MB = 512  # an idle card uses 18

# (layers, columns of the embedding) of published models: the MiB of card memory that they took,
# by "remain cmm" or axcl-smi (vendor's and users' logs; the smaller build where there are two).
_MEASURED = {
    (28, 1024): 1954,
    (28, 1536): 1944,
    (28, 2048): 3375,
    (36, 2560): 5223,
    (28, 3584): 5200,
}
_MOST_BUFFERS_MB = 1500  # on top of files and KV; more was measured on a build with wider weights
# Width of a row of K or V of the published models by the same key (heads times their size).
_KV_COLUMNS = {(24, 896): 128, (28, 1536): 256, (36, 2048): 256, (28, 3584): 512}
_KV_DEFAULT = 1024  # all of Qwen3


@dataclass(frozen=True)
class Need:
    """MiB: `least` is what the files and the KV cache fill for certain; `measured` is what was seen
    in use for this model, buffers and all, or `None`."""

    least: int
    measured: int | None = None

    @property
    def likely(self) -> int:
        return max(self.least, self.measured or 0)


def need_of(file_sizes: Iterable[int], layers: int, columns: int, context: int) -> Need:
    """`file_sizes` are the axmodel files' in bytes, `columns` the length of an embedding, `context`
    the window in tokens; K and V are bfloat16 and kept for each layer."""
    shape = (layers, columns)
    kv = layers * 2 * context * _KV_COLUMNS.get(shape, _KV_DEFAULT) * 2
    least = (sum(file_sizes) + kv) // 2**20
    measured = _MEASURED.get(shape)
    return Need(least, measured if measured and measured <= least + _MOST_BUFFERS_MB else None)


def check_cmm(
    need: Need, said: Table | NoTable, devices: Collection[int], ours: Collection[int] = ()
) -> Finding:
    """Whether the model fits the memory that is free on `devices`; layers are spread over them.

    `ours` are pids of a runtime of this very service, which has its model on the card already.
    """
    if isinstance(said, NoTable):
        seen = "the card's memory is not known, for axcl-smi shows no card; see card"
        return Finding("cmm", "skip", seen)
    cards = [card for card in said.cards if card.index in devices]
    holders = [holder for holder in said.users if holder.card in devices]
    if any(holder.pid in ours for holder in holders):
        return Finding("cmm", "ok", f"our runtime has its model on the card; {_usage(cards)}")
    free = [card.cmm_free_mb for card in cards]
    if not free or None in free:
        seen = "the card does not tell how much of its memory is free"
        return Finding("cmm", "warn", seen, "run axcl-smi and look at CMM-Usage")
    room = sum(mb for mb in free if mb is not None)
    seen = f"{room} MiB of card memory are free, the model takes {_amount(need)}"
    if room >= need.likely:
        return Finding("cmm", "ok", seen)
    seen += f"; {_taken(holders, cards)}"
    verdict: Severity = "fail" if room < need.least else "warn"
    return Finding("cmm", verdict, seen, _remedy(holders, cards, said))


def _amount(need: Need) -> str:
    if need.measured and need.measured > need.least:
        return f"about {need.measured} MiB"
    return f"at least {need.least} MiB"


def _usage(cards: Iterable[Card]) -> str:
    return ", ".join(
        f"{card.cmm_used_mb} of {card.cmm_total_mb} MiB are in use on card {card.index}"
        for card in cards
    )


def _taken(holders: list[CardUser], cards: list[Card]) -> str:
    if holders:
        named = (f"{holder.program} (pid {holder.pid})" for holder in holders)
        return f"the card is used by {', '.join(named)}"
    return f"no process is listed, yet {_usage(cards)}"


def _remedy(holders: list[CardUser], cards: list[Card], said: Table) -> str:
    if holders:
        # SIGINT is the signal on which the vendor's programs give the card back.
        return f"kill -INT {' '.join(str(pid) for pid in sorted({h.pid for h in holders}))}"
    if any((card.cmm_used_mb or 0) > _LEFT_OVER_MB for card in cards):
        return recovery_steps(said.tool_number(cards[0]))
    return "choose a smaller model: this one does not fit the card"
