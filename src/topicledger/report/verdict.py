"""The verdict on a ledger row: did its books close, in one sentence, and what to do when they didn't."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from topicledger.errors import AGAIN
from topicledger.model.accounts import Accounts, Identity
from topicledger.model.ledger import LedgerRow
from topicledger.report.display import number, printable

Outcome = Literal["closed", "broken", "accepted", "unchecked"]

_HEADLINES: dict[Outcome, str] = {
    "closed": "Books closed",
    "broken": "Books broken",
    "accepted": "Loss accepted",
    "unchecked": "Books not checked",
}

_FIRST_STEPS = (
    "Pause the DAG, so that no further run builds on these numbers.",
    "Keep the task logs and the staged files; clear nothing yet.",
)

_STEPS = {
    "I1": "I1: offsets of the plan are unaccounted for. Read the named partition's range with an independent "
    "consumer (read_committed) and compare: a record that it finds and this batch lacks was lost in reading.",
    "I2": "I2: the staged files don't hold what was read. Look for a full disk or another writer in the "
    f"staging folder. {AGAIN['consume']}.",
    "I3": "I3: records entered the load and came out as nothing, or twice. Compare the rows and dead letters "
    "that carry this _batch_id with the numbers here; look for triggers or other writers on the tables.",
    "I4": "I4: the ledger contradicts itself. Look for hand-made changes to the topicledger_ tables, or for "
    "a backup that restored some tables and not others; restore all of them from one moment.",
    "I5": "I5: records that this run produced are not all in the warehouse. Compare the receipt with the "
    f"positions. When the topic still has the records: {AGAIN['consume']}.",
}

_LAST_STEP = "`topicledger accounts` shows the ledger's history and every partition's books."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person reads first.

    Args:
        outcome: `closed`, `broken`, `accepted` (a person accepted a loss; no batch) or `unchecked` (no
            identity was evaluated, so nothing is claimed).
        headline: The outcome in two or three words.
        summary: One sentence with the numbers that matter.
        next_steps: What to do, in order; empty unless the books are broken.
    """

    outcome: Outcome
    headline: str
    summary: str
    next_steps: tuple[str, ...]


def verdict_on(row: LedgerRow, identities: Sequence[Identity]) -> Verdict:
    """Judge a row by its identities. `closed` is said only when at least one was evaluated and all hold."""
    broken = sorted({identity.name for identity in identities if not identity.holds})
    outcome = _outcome(row, identities, broken)
    steps = (*_FIRST_STEPS, *(_STEPS[name] for name in broken), _LAST_STEP) if broken else ()
    summary = _acceptance(row) if row.accounts is None else _summary(row, row.accounts)
    if broken:
        summary += f" Broken: {', '.join(broken)}."
    return Verdict(outcome, _HEADLINES[outcome], summary, steps)


def _outcome(row: LedgerRow, identities: Sequence[Identity], broken: list[str]) -> Outcome:
    if broken:
        return "broken"
    if row.accounts is None:
        return "accepted"
    return "closed" if identities else "unchecked"


def _summary(row: LedgerRow, accounts: Accounts) -> str:
    topic = printable(row.topic)
    if not accounts.records:
        return f"Nothing new to load from {topic}."
    parts = [
        f"{number(count)} {words}"
        for count, words in (
            (accounts.loaded, "loaded"),
            (accounts.duplicates, "duplicates"),
            (accounts.dead_letters, "dead letters"),
            (accounts.tombstones, "tombstones"),
            (accounts.already_loaded, "already loaded"),
        )
        if count
    ]
    return f"{number(accounts.records)} records of {topic}: {', '.join(parts)}."


def _acceptance(row: LedgerRow) -> str:
    return f"A person accepted a loss on {printable(row.topic)}; this entry records it and loads nothing."
