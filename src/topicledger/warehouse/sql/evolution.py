"""A rows table follows its declaration where no row loses or gains anything by it; see docs/decisions/0032."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from topicledger.columns import Column
from topicledger.warehouse.sql.dialect import Dialect
from topicledger.warehouse.sql.tables import OWN, FoundColumn, Table, column_ddl

_DECIMAL = re.compile(r"(?:numeric|DECIMAL|NUMBER)\((\d+),(\d+)\)\Z")
_WHOLE = {"smallint": 5, "integer": 10, "bigint": 19}
"""How many digits the largest of each has; any number of one digit less fits."""


def evolved(
    table: Table, found: Mapping[str, FoundColumn], dialect: Dialect
) -> tuple[dict[str, FoundColumn], tuple[str, ...]]:
    """What altering can do for a rows table that isn't as declared: the rest is drift.

    A nullable column that is missing is added, a number's type gets more digits, a column that is NOT NULL gets
    nullable. The engine's own columns are left alone.

    Args:
        table: The rows table as declared.
        found: Its columns as they are.
        dialect: The warehouse's.

    Returns:
        The columns as they are afterwards, and the statements, each of which may be repeated where DDL commits.
    """
    after, statements = dict(found), []
    for column in table.columns:
        if column in OWN:
            continue
        name, there = dialect.name(column.name), found.get(dialect.name(column.name))
        changed, clauses = _altered(column, there, dialect)
        if changed is not None:
            after[name] = changed
            statements += [f"ALTER TABLE {table.sql} {clause}" for clause in clauses]
    return after, tuple(statements)


def _altered(column: Column, there: FoundColumn | None, dialect: Dialect) -> tuple[FoundColumn | None, list[str]]:
    """What a column becomes, and the clauses of an ALTER TABLE by which it does."""
    wanted = dialect.type_of(column.type)
    if there is None:
        missing = "IF NOT EXISTS " if dialect.ddl_commits else ""
        added = FoundColumn(wanted, nullable=True, has_default=False)
        return (added, [f"ADD COLUMN {missing}{column_ddl(column, dialect)}"]) if column.nullable else (None, [])
    after, clauses = there, []
    if _widens(there.type, wanted, dialect):
        after = replace(after, type=wanted)
        clauses.append(f"ALTER COLUMN {dialect.quoted(column.name)} SET DATA TYPE {wanted}")
    if column.nullable and not there.nullable:
        after = replace(after, nullable=True)
        clauses.append(f"ALTER COLUMN {dialect.quoted(column.name)} DROP NOT NULL")
    return after, clauses


def _widens(there: str, wanted: str, dialect: Dialect) -> bool:
    """Whether every number of one type is one of the other, digit for digit, and the warehouse can convert them."""
    before, after = _digits(there, fits=False), _digits(wanted, fits=True)
    if there == wanted or before is None or after is None:
        return False
    return after[0] >= before[0] and (after[1] >= before[1] if dialect.rescales else after[1] == before[1])


def _digits(kind: str, *, fits: bool) -> tuple[int, int] | None:
    """How many digits a type has before and behind the point: at most, or of any number that fits."""
    decimal = _DECIMAL.match(kind)
    if decimal:
        return int(decimal[1]) - int(decimal[2]), int(decimal[2])
    digits = _WHOLE.get(kind.lower())
    return None if digits is None else (digits - fits, 0)
