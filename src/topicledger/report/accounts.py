"""The accounts in the order in which a person reads them, each with its meaning."""

from __future__ import annotations

from typing import NamedTuple

from topicledger.model.accounts import Accounts

_MEANINGS = {
    "records": "records read from the topic",
    "loaded": "rows inserted by this batch",
    "duplicates": "their key was in the table already, or came earlier in the batch; not inserted",
    "dead_letters": "not readable as an event; kept with their bytes and the reason",
    "tombstones": "records with a null value",
    "already_loaded": "records that an earlier batch had put into the warehouse",
    "invisible": "offsets without a record: transaction markers, aborted or compacted records",
    "gap": "offsets that Kafka lost and a person accepted",
    "acked": "records of this run that the broker acknowledged; - when it produced none",
    "acked_seen": "those of them that this batch read; - when they are not all in its plan",
    "unknown_fields": "fields that the event type doesn't have; ignored",
    "conflicts": "duplicates whose other columns differ from the row that won",
    "unchecked_jumps": "jumps in the offsets that were not read a second time",
}

FATES = ("loaded", "duplicates", "dead_letters", "tombstones", "already_loaded")
"""The accounts that share out `records` (identity I3)."""


class AccountLine(NamedTuple):
    """One account: its public name, its value (None where it doesn't apply) and what it means."""

    name: str
    value: int | None
    meaning: str


def account_lines(accounts: Accounts) -> tuple[AccountLine, ...]:
    """List every account, `records` and what became of them first."""
    return tuple(AccountLine(name, getattr(accounts, name), text) for name, text in _MEANINGS.items())
