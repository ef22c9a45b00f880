"""A look into the warehouse after a run: a few of its rows and dead letters, as any client would see them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devstack.home import Wishes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devstack.state import Standing

_ROWS = (
    "SELECT _kafka_partition, _kafka_offset, username, email_domain, country, plan, "
    "CAST(signed_up_at AS VARCHAR) AS signed_up_at "
    "FROM user_signups WHERE _batch_id = {mark} ORDER BY _kafka_offset DESC, _kafka_partition LIMIT 3"
)
_DEAD_LETTERS = (
    "SELECT _kafka_partition, _kafka_offset, reason, error, value FROM user_signups_dead_letters "
    "WHERE _batch_id = {mark} ORDER BY reason, _kafka_offset DESC LIMIT 3"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """Some rows of a table: the names of the columns, then the values."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


def read_back(standing: Standing, batch_id: str) -> tuple[Sample, Sample]:
    """Returns up to three rows and three dead letters of a batch, read by a connection of our own."""
    if standing.warehouse == "postgres":
        import psycopg

        with psycopg.connect(standing.postgres_dsn) as connection:
            rows, dead = (connection.execute(q.format(mark="%s"), [batch_id]) for q in (_ROWS, _DEAD_LETTERS))
            return _sample(rows), _sample(dead)
    import duckdb

    file = str(Wishes(home=standing.home).duckdb_file)
    with closing(duckdb.connect(file, read_only=True)) as database:
        first = _sample(database.execute(_ROWS.format(mark="?"), [batch_id]))
        return first, _sample(database.execute(_DEAD_LETTERS.format(mark="?"), [batch_id]))


def _sample(cursor: Any) -> Sample:
    columns = tuple(column[0].removeprefix("_kafka_") for column in cursor.description)
    return Sample(columns, cursor.fetchall())
