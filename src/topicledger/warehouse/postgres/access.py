"""What a user may not do in PostgreSQL that a run does: asked of the catalogue, so that nothing is tried."""

from __future__ import annotations

from collections.abc import Iterator

from topicledger.warehouse.sql.dialect import quoted
from topicledger.warehouse.sql.session import Session
from topicledger.warehouse.sql.tables import Table, Tables

_STANDING = """
    SELECT current_user, current_database(),
           has_database_privilege(current_database(), 'TEMPORARY'), has_database_privilege(current_database(), 'CREATE')
"""
_SCHEMA = """
    SELECT has_schema_privilege(oid, 'USAGE'), has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = %s
"""
_TABLE = """
    SELECT p, has_table_privilege(c.oid, p)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN unnest(CAST(%s AS text[])) p
    WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
"""


def missing_grants(session: Session, tables: Tables, *, create: bool) -> Iterator[str]:
    """Name each privilege that a run needs and this user lacks, with the statement that grants it.

    Args:
        session: Its transaction is open.
        tables: The pipeline's.
        create: Whether a run creates tables that are missing.
    """
    ((user, database, may_use_temporary, may_create_schema),) = session.query(_STANDING)
    if not may_use_temporary:
        yield _lacks(user, "TEMPORARY", f"DATABASE {quoted(database)}")
    rights = session.query(_SCHEMA, (tables.schema,))
    if not rights:
        if create and not may_create_schema:
            yield (
                f"schema {tables.schema} isn't there and user {user} may not create it: "
                f"CREATE SCHEMA {quoted(tables.schema)} AUTHORIZATION {quoted(user)}"
            )
        return
    ((may_use, may_create),) = rights
    if not may_use:
        yield _lacks(user, "USAGE", f"SCHEMA {quoted(tables.schema)}")
    found = {table.name: dict(_held(session, table, needed)) for table, needed in _needed(tables)}
    if create and not may_create and not all(found.values()):
        yield _lacks(user, "CREATE", f"SCHEMA {quoted(tables.schema)}")
    for table, _ in _needed(tables):
        lacking = [privilege for privilege, held in found[table.name].items() if not held]
        if lacking:
            yield _lacks(user, ", ".join(lacking), table.sql)


def _needed(tables: Tables) -> tuple[tuple[Table, list[str]], ...]:
    """Each table with what a run does with it, as the grants in docs/warehouses/postgresql.md have it."""
    return (
        (tables.rows, ["SELECT", "INSERT"]),
        (tables.dead_letters, ["INSERT"]),
        (tables.positions, ["SELECT", "INSERT", "UPDATE"]),
        (tables.batches, ["SELECT", "INSERT"]),
        (tables.version, ["SELECT"]),
    )


def _held(session: Session, table: Table, needed: list[str]) -> list[tuple[str, bool]]:
    return [(p, held) for p, held in session.query(_TABLE, (needed, table.schema, table.name))]


def _lacks(user: str, privileges: str, thing: str) -> str:
    return f"user {user} lacks {privileges} on {thing}: GRANT {privileges} ON {thing} TO {quoted(user)}"
