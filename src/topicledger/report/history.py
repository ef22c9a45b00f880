"""The ledger's history and a target's books, as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from topicledger.model.accounts import PartitionBooks
from topicledger.model.ledger import LedgerRow
from topicledger.report.display import NOTHING, aligned, number

_HISTORY = ("loaded at", "run", "batch", "plan", ">records", ">loaded", ">duplicates", ">dead", ">tombstones")
_BOOKS = ("topic id", ">partition", ">origin", ">position", ">sum of applied", "I4")


def books_close(partitions: Sequence[PartitionBooks]) -> bool:
    """Whether I4 holds in every partition: the sum of applied is what the position moved by."""
    return all(books.close for books in partitions)


def history_table(rows: Sequence[LedgerRow]) -> str:
    """Show ledger rows, in the order given, one line each."""
    return aligned(_HISTORY, [_line(row) for row in rows]) if rows else "The ledger has no batch of this target."


def books_table(partitions: Sequence[PartitionBooks]) -> str:
    """Show the books of every partition, and whether I4 holds."""
    lines = [
        (
            books.topic_id,
            str(books.partition),
            number(books.origin),
            number(books.position),
            number(books.applied),
            "ok" if books.close else "BROKEN",
        )
        for books in partitions
    ]
    return aligned(_BOOKS, lines) if lines else "The ledger has no position of this target."


def history_json(target: str, rows: Sequence[LedgerRow], partitions: Sequence[PartitionBooks]) -> str:
    """Give the same as a JSON document, for programs."""
    document = {
        "target": target,
        "books_close": books_close(partitions),
        "batches": msgspec.to_builtins(tuple(rows)),
        "partitions": msgspec.to_builtins(tuple(partitions)),
    }
    return json.dumps(document, indent=2)


def _line(row: LedgerRow) -> tuple[str, ...]:
    when = f"{row.loaded_at:%Y-%m-%d %H:%M:%S}" if row.loaded_at else NOTHING
    accounts = row.accounts
    if accounts is None:
        counts = (f"accepted {', '.join(row.manifest.accepted)}", *[NOTHING] * 4)
    else:
        counts = (
            number(accounts.records),
            number(accounts.loaded),
            number(accounts.duplicates),
            number(accounts.dead_letters),
            number(accounts.tombstones),
        )
    return (when, row.run_id, row.batch_id, row.plan_id, *counts)
