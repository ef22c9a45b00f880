"""The accounts as a plain table for a task log: no colours, no boxes, nothing wider than its sentences."""

from __future__ import annotations

from collections.abc import Sequence

from topicledger.model.accounts import Identity
from topicledger.model.ledger import LedgerRow, ReconciledBooks
from topicledger.report.accounts import account_lines
from topicledger.report.display import number, printable
from topicledger.report.verdict import verdict_on


def accounts_table(books: ReconciledBooks) -> str:
    """Show a batch's verdict, accounts and identities as plain text.

    Args:
        books: The batch's books, closed or not.

    Returns:
        Several lines without a final line break. Hostile text in it stays on its line.
    """
    row, identities = books.row, books.identities
    verdict = verdict_on(row, identities)
    blocks = [[f"{verdict.headline}: {verdict.summary}", *_names(row)]]
    if row.accounts is not None:
        blocks.append(["Accounts", *_accounts(row)])
    if identities:
        blocks.append(["Identities", *_identities(identities)])
    if verdict.next_steps:
        blocks.append(["What to do", *(f"  {n}. {step}" for n, step in enumerate(verdict.next_steps, 1))])
    return "\n\n".join("\n".join(block) for block in blocks)


def _names(row: LedgerRow) -> list[str]:
    target = f"{printable(row.pipeline)} into {printable(row.target)}"
    return [f"  {target}, run {printable(row.run_id)}, batch {row.batch_id}, plan {row.plan_id}"]


def _accounts(row: LedgerRow) -> list[str]:
    lines = account_lines(row.accounts) if row.accounts is not None else ()
    names = max((len(line.name) for line in lines), default=0)
    values = max((len(number(line.value)) for line in lines), default=0)
    return [f"  {line.name:<{names}}  {number(line.value):>{values}}  {line.meaning}" for line in lines]


def _identities(identities: Sequence[Identity]) -> list[str]:
    return [
        f"  {'ok' if identity.holds else 'BROKEN':<6}  {identity.name}  {printable(identity.text)}"
        for identity in identities
    ]
