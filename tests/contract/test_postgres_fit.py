"""What of a PostgreSQL database keeps it from holding, showing or keeping all that a run loads: said before it does."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import psycopg
import pytest

from tests.contract.batches import COLUMNS, TOPIC, TOPIC_ID, Batch, load, origin
from tests.contract.loader import numbered
from tests.contract.places import Place
from tests.contract.test_ledger import acceptance
from topicledger.columns import Column
from topicledger.errors import IntegrityError, SettingsError
from topicledger.model.plan import OffsetRange, Position

TABLES = ("events", "events_dead_letters", "topicledger_positions", "topicledger_batches", "topicledger_schema")


@pytest.fixture
def place(postgres_place: Place) -> Place:
    return postgres_place


@pytest.fixture
def role(place: Place) -> Iterator[Place]:
    """The same database as a role that may do all that a run does, and owns nothing."""
    name = f"loader_{uuid.uuid4().hex[:8]}"
    place.ready()
    place.query(f"CREATE ROLE {name} LOGIN")
    place.query(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    yield replace(place, settings=replace(place.settings, login=name))
    place.query(f"DROP OWNED BY {name}")
    place.query(f"DROP ROLE {name}")


@pytest.mark.fault(140, "stopped")
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_an_encoding_that_is_not_utf8(place: Place, encoding: str) -> None:
    """A database of another encoding is refused before anything is created in it, and the check says the same."""
    name = f"{place.settings.schema}_{encoding.lower()}"
    place.query(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    other = replace(place, settings=replace(place.settings, schema=name))
    try:
        with pytest.raises(SettingsError, match=f"{name} has the encoding {encoding}.* ENCODING 'UTF8'") as refused:
            other.warehouse().ensure_tables()
        assert other.warehouse().access().problems == (refused.value.message,)
        assert other.query("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    finally:
        place.query(f"DROP DATABASE {name}")


def test_settings_that_a_role_may_have(place: Place, role: Place) -> None:
    """Whatever a role's own settings are, the table has what was sent, and the ledger is read as it was written."""
    for setting in (
        "client_encoding = 'LATIN1'",
        "standard_conforming_strings = off",
        "DateStyle = 'SQL, DMY'",
        "IntervalStyle = 'sql_standard'",
        "TimeZone = 'Asia/Kathmandu'",
        "bytea_output = 'escape'",
        "extra_float_digits = -15",
        "array_nulls = off",
        "transform_null_equals = on",
        "quote_all_identifiers = on",
        "search_path = ''",
        "default_transaction_read_only = on",
        "default_transaction_deferrable = on",
        "default_transaction_isolation = 'serializable'",
    ):
        place.query(f"ALTER ROLE {role.settings.login} SET {setting}")
    warehouse = role.warehouse()
    warehouse.ensure_tables()
    origin(warehouse)
    batch = Batch([OffsetRange(0, 0, 3)], run="łauf 'n'").dead(0, 1, b"\xc5\\\x00", headers='[["\\u0141", "\\\\"]]')
    at = dt.datetime(2026, 4, 3, 2, 1, 0, 123456, dt.UTC)
    values = {"name": "Łukasz \\x27 'q'", "ratio": 0.1 + 0.2, "at": at, "day": at.date()}
    batch.row(0, 0, 1, **values)
    batch.row(0, 2, 2, name="\\N", note="")
    assert load(warehouse, batch).accounts.loaded == 2
    assert load(warehouse, batch).repeated
    assert warehouse.history(1)[0].run_id == "łauf 'n'"
    accounts = load(warehouse, Batch([OffsetRange(0, 3, 4)], run="again").row(0, 3, 1, **values)).accounts
    assert (accounts.duplicates, accounts.conflicts) == (1, 0)
    assert place.query(f"SELECT name, ratio, at = '{at}', day = '{at.date()}' FROM events ORDER BY event_id") == [
        ("Łukasz \\x27 'q'", 0.1 + 0.2, True, True),
        ("\\N", None, None, None),
    ]
    assert place.query("SELECT value, headers->0->>0 FROM events_dead_letters") == [(b"\xc5\\\x00", "Ł")]


@pytest.mark.fault(141, "stopped")
@pytest.mark.parametrize("table", TABLES)
def test_row_level_security(place: Place, role: Place, table: str) -> None:
    """A table whose rows a policy could hide is refused by name, whatever the policy; the statement given ends that."""
    place.query(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    place.query(f"CREATE POLICY seen ON {table} USING (true)")
    with pytest.raises(SettingsError, match=rf'security on "public"\."{table}" holds for user loader_') as refused:
        role.warehouse().ensure_tables()
    assert role.warehouse().access().problems == (refused.value.message,)
    place.query(refused.value.message.rpartition(": ")[2])
    assert role.warehouse().access().problems == ()
    origin(role.ready())
    assert load(role.warehouse(), numbered(0, 3, "run")).accounts.loaded == 3


@pytest.mark.fault(141, "stopped")
def test_row_level_security_that_the_owner_is_put_under(place: Place, role: Place) -> None:
    """An owner is exempt until row-level security is forced on it; the statement that ends that is given."""
    place.query(f"ALTER TABLE events OWNER TO {role.settings.login}")
    place.query("ALTER TABLE events ENABLE ROW LEVEL SECURITY")
    role.warehouse().ensure_tables()
    place.query("ALTER TABLE events FORCE ROW LEVEL SECURITY")
    with pytest.raises(SettingsError, match=r'ALTER TABLE "public"\."events" NO FORCE') as refused:
        role.warehouse().ensure_tables()
    role.query(refused.value.message.rpartition(": ")[2])
    role.warehouse().ensure_tables()


@pytest.mark.fault(141, "stopped")
def test_a_policy_made_during_a_run(place: Place, role: Place) -> None:
    """What a policy would filter is an error in every transaction, not a shorter answer."""
    warehouse = role.ready()
    origin(warehouse)
    for table in ("topicledger_positions", "events"):
        place.query(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        place.query(f"CREATE POLICY unseen ON {table} USING (false) WITH CHECK (true)")
        with pytest.raises(SettingsError, match="row-level security"):
            load(warehouse, numbered(0, 3, "run"))
        place.query(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    place.query("ALTER TABLE topicledger_positions ENABLE ROW LEVEL SECURITY")
    with pytest.raises(SettingsError, match="row-level security"):
        warehouse.positions(TOPIC)


@pytest.mark.fault(142, "stopped")
@pytest.mark.parametrize(
    ("table", "column"), [("events", "event_id"), ("events", "name"), ("topicledger_positions", "topic_id")]
)
def test_a_collation_that_takes_different_texts_for_equal(place: Place, table: str, column: str) -> None:
    """A column that folds texts together is named: two keys would be one. The catalogue alone says so here.

    This PostgreSQL has no ICU, whose collations are the only ones that fold; the flag is set by hand.
    """
    columns = (Column("event_id", "text"), *COLUMNS[1:])
    warehouse = place.ready(columns=columns)
    with psycopg.connect(place.dsn(), autocommit=True) as session:
        session.execute("CREATE COLLATION public.\"Folding\" (provider = libc, locale = 'C')")
        session.execute("SET allow_system_table_mods = on")
        session.execute(f'ALTER TABLE {table} ALTER {column} TYPE text COLLATE "Folding"'.encode())
        warehouse.ensure_tables()
        session.execute("UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'Folding'")
    with pytest.raises(IntegrityError, match=f'column {column} is text COLLATE "Folding", not text'):
        warehouse.ensure_tables()


@pytest.mark.fault(78, "stopped")
@pytest.mark.parametrize(
    ("instead", "named"),
    [
        ("CREATE VIEW events AS SELECT * FROM kept", "a view"),
        ("CREATE MATERIALIZED VIEW events AS SELECT * FROM kept", "a materialized view"),
        ("CREATE UNLOGGED TABLE events (LIKE kept INCLUDING ALL)", "an UNLOGGED table"),
    ],
)
def test_what_is_no_table(place: Place, instead: str, named: str) -> None:
    """What stands in a table's place and doesn't keep its rows is named."""
    warehouse = place.ready()
    place.query("ALTER TABLE events RENAME TO kept")
    place.query(instead)
    with pytest.raises(IntegrityError, match=f"public.events is {named}, where a table that keeps its rows"):
        warehouse.ensure_tables()


def spoil(place: Place, table: str, event: str, how: str) -> None:
    """Give a table a trigger or a rule."""
    if how.startswith("rule"):
        place.query(f"CREATE RULE spoilt AS ON {event} TO {table} DO INSTEAD {how.removeprefix('rule ')}")
        return
    place.query(f"CREATE FUNCTION spoilt() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {how}; END'")
    place.query(f"CREATE TRIGGER spoilt BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION spoilt()")


@pytest.mark.fault(143, "stopped")
@pytest.mark.parametrize("how", ["RETURN NULL", "rule NOTHING", "NEW.position = 7; NEW.origin = 7; RETURN NEW"])
def test_positions_that_are_not_kept(place: Place, how: str) -> None:
    """Position rows are read back before a plan rests on them; where they aren't what was written, none is."""
    warehouse = place.ready()
    spoil(place, "topicledger_positions", "INSERT", how)
    with pytest.raises(IntegrityError, match="topicledger_positions doesn't keep what is written to it"):
        origin(warehouse)
    assert warehouse.positions(TOPIC) == ()


@pytest.mark.fault(143, "stopped")
@pytest.mark.parametrize("how", ["RETURN NULL", "rule NOTHING", "RETURN OLD"])
def test_positions_that_do_not_move(place: Place, how: str) -> None:
    """A position that stays where it was stops a load and an accepted truncation; neither is tried for ever."""
    warehouse = place.ready()
    origin(warehouse, at=3)
    spoil(place, "topicledger_positions", "UPDATE", how)
    with pytest.raises(IntegrityError, match=r"doesn't keep what is written to it|I4: "):
        load(warehouse, numbered(3, 6, "run"))
    before = Position(TOPIC, TOPIC_ID, 0, 3, 3)
    after = msgspec.structs.replace(before, position=1, origin=1, generation=1)
    with pytest.raises(IntegrityError, match="topicledger_positions doesn't keep what is written to it"):
        warehouse.set_back(before, after, acceptance(warehouse, ()))
    assert warehouse.positions(TOPIC) == (before,)
    assert place.query("SELECT COUNT(*) FROM events") == [(0,)]


@pytest.mark.fault(143, "stopped")
@pytest.mark.parametrize("how", ["RETURN NULL", "rule NOTHING"])
@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("events", "I3: "),
        ("events_dead_letters", "I3: "),
        ("topicledger_batches", "topicledger_batches doesn't keep what is written to it"),
    ],
)
def test_rows_that_are_not_kept(place: Place, table: str, said: str, how: str) -> None:
    """Rows, dead letters and the ledger's row that a trigger or a rule drops stop the load, and nothing of it stays."""
    warehouse = place.ready()
    origin(warehouse)
    spoil(place, table, "INSERT", how)
    with pytest.raises(IntegrityError, match=said):
        load(warehouse, Batch([OffsetRange(0, 0, 2)]).row(0, 0, 1).dead(0, 1))
    assert warehouse.positions(TOPIC) == (Position(TOPIC, TOPIC_ID, 0, 0, 0),)
    if table == "topicledger_batches":
        with pytest.raises(IntegrityError, match=said):
            warehouse.add_positions([], acceptance(warehouse, ()))
