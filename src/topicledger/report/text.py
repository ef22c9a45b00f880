"""A batch's books in words: whether they closed, in one line, as a table for a task log, and what to do."""

from __future__ import annotations

from typing import Literal

from topicledger.errors import AGAIN
from topicledger.model.ledger import ReconciledBooks
from topicledger.model.manifest import Manifest
from topicledger.report.display import number, printable

MEANINGS = {
    "records": "records read from the topic",
    "loaded": "rows inserted by this batch",
    "duplicates": "their key was in the table already, or came earlier in the batch; not inserted; none without a key",
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
"""Every account with its meaning, in the order in which a person reads them."""

FATES = {
    "loaded": "rows",
    "duplicates": "duplicates",
    "dead_letters": "dead letters",
    "tombstones": "tombstones",
    "already_loaded": "already loaded",
}
"""The accounts that share out `records` (identity I3), in a sentence's words."""

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


def outcome(books: ReconciledBooks) -> Literal["closed", "broken"]:
    """Say whether the books closed, to a program."""
    return "broken" if books.broken else "closed"


def headline(books: ReconciledBooks) -> str:
    """Say it to a person."""
    return f"Books {outcome(books)}"


def summary(books: ReconciledBooks) -> str:
    """Say what became of the records, and which identities are broken, as a sentence without its full stop."""
    accounts, topic = books.accounts, printable(books.row.topic)
    fates = [_count(getattr(accounts, name), words) for name, words in FATES.items() if getattr(accounts, name)]
    equals, plus = (": ", ", ") if books.broken else (" = ", " + ")  # a sum is only claimed where it is one
    said = f"{_count(accounts.records, 'records')} of {topic}{equals}{plus.join(fates)}"
    if not accounts.records:
        said = f"Nothing new to load from {topic}"
    if accounts.gap:
        said += f"; {_count(accounts.gap, 'offsets')} lost by Kafka, as accepted"
    altered = books.row.manifest.altered if isinstance(books.row.manifest, Manifest) else ()
    if altered:
        said += f"; {printable(books.row.target)} was altered before: {printable('; '.join(altered))}"
    return f"{said}. Broken: {', '.join(books.broken)}" if books.broken else said


def one_line(books: ReconciledBooks) -> str:
    """Say it all in one line: `Books closed: 1,000 records of user_signups = 992 rows + 8 dead letters`."""
    return f"{headline(books)}: {summary(books)}"


def next_steps(books: ReconciledBooks) -> tuple[str, ...]:
    """Say what to do about each broken identity, in order; nothing when the books closed."""
    if not books.broken:
        return ()
    return (*_FIRST_STEPS, *(_STEPS[name] for name in books.broken), _LAST_STEP)


def accounts_table(books: ReconciledBooks) -> str:
    """Show books as plain text: no colours, no boxes, nothing wider than its sentences.

    Returns:
        Several lines without a final line break. Hostile text in it stays on its line.
    """
    row = books.row
    run = (
        f"  {printable(row.pipeline)} into {printable(row.target)}, "
        f"run {printable(row.run_id)}, batch {row.batch_id}, plan {row.plan_id}"
    )
    identities = [f"  {'ok' if i.holds else 'BROKEN':<6}  {i.name}  {printable(i.text)}" for i in books.identities]
    blocks = [[f"{one_line(books)}.", run], ["Accounts", *_accounts(books)], ["Identities", *identities]]
    if books.broken:
        blocks.append(["What to do", *(f"  {n}. {step}" for n, step in enumerate(next_steps(books), 1))])
    return "\n\n".join("\n".join(block) for block in blocks)


def _accounts(books: ReconciledBooks) -> list[str]:
    counts = {name: number(getattr(books.accounts, name)) for name in MEANINGS}
    names, values = max(map(len, counts)), max(map(len, counts.values()))
    return [f"  {name:<{names}}  {count:>{values}}  {MEANINGS[name]}" for name, count in counts.items()]


def _count(count: int, words: str) -> str:
    return f"{number(count)} {words.removesuffix('s') if count == 1 else words}"
