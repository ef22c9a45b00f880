"""The tables' life: creating what is missing, altering what may change, refusing what differs, and a newer ledger."""
# ruff: noqa: S608 - only quoted identifiers and constants are put into the text; every value is bound

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from topicledger.errors import IntegrityError, SettingsError
from topicledger.model.ledger import SCHEMA_VERSION
from topicledger.warehouse.contract import Compared
from topicledger.warehouse.sql.dialect import Dialect
from topicledger.warehouse.sql.evolution import evolved
from topicledger.warehouse.sql.session import Session
from topicledger.warehouse.sql.tables import FoundColumn, Table, Tables, require_columns

_Found = dict[str, dict[str, FoundColumn]]


def ddl(tables: Tables, dialect: Dialect) -> tuple[str, ...]:
    """The statements that create the schema and every table in it."""
    return (f"CREATE SCHEMA IF NOT EXISTS {dialect.quoted(tables.schema)}", *tables.ddl(dialect))


def compare(session: Session, tables: Tables, dialect: Dialect, *, create: bool) -> Compared:
    """Compare what is there; change nothing.

    Args:
        session: Its transaction is open.
        tables: The pipeline's.
        dialect: The warehouse's.
        create: Whether a run may create what is missing, and alter what it can.

    Raises:
        SettingsError: A table is missing or has to be altered, and may not be; or the ledger is of a newer version.
        IntegrityError: A table differs from what the pipeline declares, or isn't one.
    """
    _require_tables(session, tables, dialect)
    found = _found(session, tables, dialect)
    missing = _missing(tables, found)
    if missing and not create:
        raise _not_created(tables, dialect, missing)
    alterations: tuple[str, ...] = ()
    if tables.rows.name in found:
        found[tables.rows.name], alterations = evolved(tables.rows, found[tables.rows.name], dialect)
    _require_as_declared(session, tables, dialect, {name: found[name] for name in found.keys() - missing})
    if alterations and not create:
        raise _not_altered(tables, alterations, "the pipeline declares create_tables=False")
    if alterations and dialect.may_alter:
        asked = session.query(dialect.may_alter, (tables.schema, tables.rows.name))
        if asked != [(True,)]:
            raise _not_altered(tables, alterations, "this user doesn't own it")
    return Compared(not missing, alterations)


def ensure(session: Session, tables: Tables, dialect: Dialect, *, create: bool) -> tuple[str, ...]:
    """Create what is missing and alter what may change, when allowed, and compare what is there.

    All of it happens inside the session's transaction, but for DDL where it commits by itself.

    Returns:
        The statements that altered a table that was there.

    Raises:
        RetriableError: Others hold the table that has to be altered.
        SettingsError: As `compare`; or this user may not alter the table.
        IntegrityError: A table differs from what the pipeline declares, or isn't one.
    """
    compared = compare(session, tables, dialect, create=create)
    if compared.as_declared:
        return ()
    session.lock_creation()
    found = _create(session, tables, dialect)
    alterations: tuple[str, ...] = ()
    if tables.rows.name in found:
        _, alterations = evolved(tables.rows, found[tables.rows.name], dialect)
    if alterations:
        _alter(session, tables, dialect, alterations)
        found = _found(session, tables, dialect)
    _require_as_declared(session, tables, dialect, {table.name: found[table.name] for table in tables.all})
    return alterations


def has_table(session: Session, table: Table, dialect: Dialect) -> bool:
    """Whether a table is there."""
    return any(row[0] == table.name for row in session.query(dialect.columns_query, (table.schema,)))


def _require_as_declared(session: Session, tables: Tables, dialect: Dialect, found: _Found) -> None:
    """Compare those tables of the pipeline that are in `found`."""
    for table in tables.all:
        if table.name in found:
            require_columns(table, found[table.name], dialect)
    if tables.rows.name in found:
        _require_unique_key(session, tables, dialect)
    if tables.version.name in found:
        _require_version(session, tables)


def require_fit(problems: Iterable[str]) -> None:
    """Do nothing when there is no problem with what the tables are in.

    Args:
        problems: What keeps it from holding or showing all that a run loads, a sentence each.

    Raises:
        SettingsError: It has all of them.
    """
    if found := "; ".join(problems):
        raise SettingsError(found, code="database-unfit")


def _require_tables(session: Session, tables: Tables, dialect: Dialect) -> None:
    ours = {table.name for table in tables.all}
    found = session.query(dialect.stand_ins_query, (tables.schema,))
    stand_ins = [f"{tables.schema}.{name} is {kind}" for name, kind in found if name in ours]
    if stand_ins:
        raise IntegrityError(
            f"{'; '.join(stand_ins)}, where a table that keeps its rows is needed: move it out of the way; nothing was "
            "changed",
            code="stand-in-for-table",
            repeat="step",
        )


def _found(session: Session, tables: Tables, dialect: Dialect) -> _Found:
    found: _Found = defaultdict(dict)
    for table, column, kind, not_null, has_default in session.query(dialect.columns_query, (tables.schema,)):
        found[table][column] = FoundColumn(kind, not not_null, bool(has_default))
    return found


def _missing(tables: Tables, found: _Found) -> frozenset[str]:
    return frozenset(table.name for table in tables.all if table.name not in found)


def _create(session: Session, tables: Tables, dialect: Dialect) -> _Found:
    # Looked up rather than IF NOT EXISTS, which asks for the right to create even where nothing is missing.
    if not session.query(dialect.schema_query, (tables.schema,)):
        session.execute(f"CREATE SCHEMA IF NOT EXISTS {dialect.quoted(tables.schema)}")
    for statement in tables.ddl(dialect, _missing(tables, _found(session, tables, dialect))):
        session.execute(statement)
    return _found(session, tables, dialect)


def _alter(session: Session, tables: Tables, dialect: Dialect, alterations: Iterable[str]) -> None:
    try:
        for statement in filter(None, (dialect.before_alter, *alterations)):
            session.execute(statement)
    except SettingsError as error:
        raise _not_altered(tables, alterations, error.message) from error


def _not_altered(tables: Tables, alterations: Iterable[str], why: str) -> SettingsError:
    statements = ";\n".join(alterations)
    return SettingsError(
        f"table {tables.target} isn't as the pipeline declares it, and a run can't alter it: {why}. "
        f"Have its owner alter it:\n{statements};",
        code="table-not-alterable",
    )


def _not_created(tables: Tables, dialect: Dialect, missing: frozenset[str]) -> SettingsError:
    named = ", ".join(f"{tables.schema}.{name}" for name in sorted(missing))
    statements = ";\n".join(tables.ddl(dialect, missing))
    return SettingsError(
        f"the pipeline declares create_tables=False and these tables are missing: {named}. "
        f"Have them created:\n{statements};",
        code="tables-missing",
    )


def _require_unique_key(session: Session, tables: Tables, dialect: Dialect) -> None:
    key = tables.rows.key
    if not key or not dialect.keys:
        return
    unique = session.query(dialect.unique_query, (tables.schema,))
    if not any(table == tables.rows.name and set(columns) == set(key) for table, columns in unique):
        raise IntegrityError(
            f"table {tables.target} has no usable UNIQUE constraint on the key {', '.join(key)} alone, without which "
            f"an event could be loaded twice: ALTER TABLE {tables.rows.sql} ADD UNIQUE "
            f"({', '.join(map(dialect.quoted, key))})",
            code="unique-key-missing",
            repeat="step",
        )


def _require_version(session: Session, tables: Tables) -> None:
    versions = [row[0] for row in session.query(f"SELECT version FROM {tables.version.sql}")]
    name = f"{tables.schema}.{tables.version.name}"
    if len(versions) != 1:
        raise IntegrityError(
            f"{name} has {len(versions)} rows; it must have one, the ledger's version", code="ledger-version-lost"
        )
    if versions[0] > SCHEMA_VERSION:
        raise SettingsError(
            f"the ledger in schema {tables.schema} has version {versions[0]}, this topicledger knows up to "
            f"{SCHEMA_VERSION}: upgrade topicledger here",
            code="ledger-newer",
        )
