"""What would be sent to a Snowflake account, written down: the connector's place is taken, no account answers.

The answers are the least that the product needs to go on: an id of the transaction, the uploaded files as copied, one
position, and counts of a batch of one row. They prove nothing; the text of the statements is what is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec
import pytest
import snowflake.connector

from topicledger.model.plan import Position

_ANSWERS: tuple[tuple[str, list[tuple[Any, ...]]], ...] = (
    (r"SELECT CURRENT_TRANSACTION\(\)", [("1700000000000000000",)]),
    (r"COPY INTO", [("1.parquet", "LOADED", 1, 1)]),
    (r"SELECT \"TOPIC\"", [("events", "Zm9vYmFyYmF6cXV1eA", 0, 0, 0, None, 0)]),
    (r"\s*SELECT p\.topic_id", [("Zm9vYmFyYmF6cXV1eA", 0, 0, 1, 1)]),
    (r"\s+SELECT r\.n, d\.n, t\.n", [(1, 0, 0, 1, 0)]),
    (r"\s+SELECT COALESCE\(SUM\(CASE", [(0, 0)]),
    (r"SELECT COUNT\(\*\)", [(0,)]),
    (r"SELECT version FROM", [(1,)]),
)
_WRITTEN: tuple[tuple[str, int], ...] = (
    (r"\s*INSERT INTO \"PUBLIC\"\.\"EVENTS\" ", 1),
    (r"INSERT INTO \"PUBLIC\"\.\"TOPICLEDGER_", 1),
    (r"UPDATE", 1),
)


@dataclass
class WrittenDown:
    """Every statement of every session, in order, and what sessions were opened with."""

    statements: list[str] = field(default_factory=list)
    opened: list[dict[str, Any]] = field(default_factory=list)
    answers: list[tuple[str, list[tuple[Any, ...]]]] = field(default_factory=list)
    written: list[tuple[str, int]] = field(default_factory=list)

    def has_positions(self, *positions: Position) -> None:
        """From now on, the ledger has these position rows."""
        self.answers.insert(0, (r"SELECT \"TOPIC\"", [msgspec.structs.astuple(p) for p in positions]))

    def connect(self, **given: Any) -> _Session:
        """Take the place of the connector's own `connect`."""
        self.opened.append(given)
        self.statements.append("-- a session")
        return _Session(self)

    def text(self) -> str:
        """The statements, with what differs from run to run replaced."""
        lines = "\n".join(re.sub(r"[ \n]+", " ", statement).strip() for statement in self.statements)
        return re.sub(
            r"topicledger_[0-9a-f]{16}", "topicledger_<random>", re.sub(r"//.*/(\d+\.)", r"//<folder>/\1", lines)
        )


@dataclass
class _Session:
    book: WrittenDown

    def cursor(self) -> _Cursor:
        return _Cursor(self.book)

    def rollback(self) -> None:
        self.book.statements.append("ROLLBACK")

    def close(self) -> None:
        pass


@dataclass
class _Cursor:
    book: WrittenDown
    rowcount: int = 0
    rows: list[tuple[Any, ...]] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, sql: str, values: Sequence[Any] | None = None) -> None:
        if values:
            assert sql.count("?") == len(values), sql
        self.book.statements.append(f"{sql};" if not values else f"{sql}; -- {len(values)} bound")
        found = (rows for pattern, rows in (*self.book.answers, *_ANSWERS) if re.match(pattern, sql))
        self.rows = next(found, [])
        self.rowcount = next((count for pattern, count in (*self.book.written, *_WRITTEN) if re.match(pattern, sql)), 0)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.rows


@pytest.fixture
def written_down(monkeypatch: pytest.MonkeyPatch) -> WrittenDown:
    """No session is opened; what would be sent is written down."""
    book = WrittenDown()
    taken: Callable[..., Any] = book.connect
    monkeypatch.setattr(snowflake.connector, "connect", taken)
    return book
