"""Rules of somebody's own on the tables: what a load says when one refuses a record, and what it keeps to itself."""

from __future__ import annotations

import datetime as dt
import re
import traceback
from pathlib import Path
from typing import Any

import pytest

from tests.contract.batches import Batch, load, origin
from tests.contract.places import Place
from topicledger.errors import IntegrityError, RetriableError
from topicledger.model.plan import OffsetRange
from topicledger.warehouse.sql import refused_rows as refused

VALUE = "somebody@private.example"
REFUSED = (1, 41)
"""The first record that the rules below refuse: the second one of that name."""

DEFERRED = " DEFERRABLE INITIALLY DEFERRED"
RULE = "ALTER TABLE public.events ADD CONSTRAINT rule"
COPY_OF_NAME = (
    "ALTER TABLE public.events ADD COLUMN copy {type} "
    "GENERATED ALWAYS AS (CASE WHEN name <> 'n' AND _kafka_offset > 40 THEN {name} END) STORED; "
)
KNOWN = "CREATE TABLE public.known (name text PRIMARY KEY); "
REFERS = "FOREIGN KEY (copy) REFERENCES public.known (name)"
FUNCTION = (
    "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ "
    "BEGIN IF NEW.name <> 'n' AND NEW._kafka_offset > 40 THEN {} END IF; RETURN NEW; END $$; "
)
RAISE = "RAISE EXCEPTION 'no % here', NEW.name USING DETAIL = NEW.name, HINT = NEW.name{};"
INSERT = "EXECUTE format('INSERT INTO public.known VALUES (%L), (%L)', NEW.name, NEW.name);"
BEFORE = "CREATE TRIGGER rule BEFORE INSERT ON public.events FOR EACH ROW EXECUTE FUNCTION public.refuse()"
LATER = (
    f"CREATE CONSTRAINT TRIGGER rule AFTER INSERT ON public.events{DEFERRED} "
    "FOR EACH ROW EXECUTE FUNCTION public.refuse()"
)
BY_FUNCTION = r"PL/pgSQL function public.refuse\(\)"

RULES = {
    "unique": (f"{RULE} UNIQUE (name, day)", "23505 UniqueViolation, constraint rule, table public.events"),
    "unique-deferrable": (
        f"{RULE} UNIQUE (name, day) DEFERRABLE",
        "23505 UniqueViolation, constraint rule, table public.events",
    ),
    "unique-deferred": (
        f"{RULE} UNIQUE (name, day){DEFERRED}",
        "23505 UniqueViolation, constraint rule, table public.events",
    ),
    "exclusion": (
        f"{RULE} EXCLUDE USING btree (name WITH =) WHERE (name <> 'n')",
        "23P01 ExclusionViolation, constraint rule, table public.events",
    ),
    "check": (
        f"{RULE} CHECK (name = 'n' OR _kafka_offset < 41)",
        "23514 CheckViolation, constraint rule, table public.events",
    ),
    "domain": (
        (
            f"CREATE DOMAIN public.short AS text CHECK (length(VALUE) < 9); "
            f"{COPY_OF_NAME.format(type='public.short', name='name')}"
        ),
        "23514 CheckViolation, constraint short_check, type short",
    ),
    "generated": (COPY_OF_NAME.format(type="integer", name="CAST(name AS integer)"), "22P02 InvalidTextRepresentation"),
    "foreign-key": (
        f"{KNOWN}{COPY_OF_NAME.format(type='text', name='name')}{RULE} {REFERS}",
        "23503 ForeignKeyViolation, constraint rule, table public.events",
    ),
    "foreign-key-deferred": (
        f"{KNOWN}{COPY_OF_NAME.format(type='text', name='name')}{RULE} {REFERS}{DEFERRED}",
        "23503 ForeignKeyViolation, constraint rule, table public.events",
    ),
    "trigger": (FUNCTION.format(RAISE.format("")) + BEFORE, f"P0001 RaiseException, {BY_FUNCTION}"),
    "trigger-deferred": (FUNCTION.format(RAISE.format("")) + LATER, f"P0001 RaiseException, {BY_FUNCTION}"),
    "trigger-with-a-state": (
        FUNCTION.format(RAISE.format(", ERRCODE = 'UX001'")) + BEFORE,
        rf"UX001 \w+, {BY_FUNCTION}",
    ),
    "trigger-with-a-statement": (
        KNOWN + FUNCTION.format(INSERT) + BEFORE,
        f"23505 UniqueViolation, constraint known_pkey, table public.known, {BY_FUNCTION}",
    ),
}
QUICK = ("unique-deferred", "check", "trigger", "trigger-deferred")


def batch(*named: tuple[int, int]) -> Batch:
    """A hundred records in two partitions, not all from offset 0 on; these have the name that the rules are about."""
    made = Batch([OffsetRange(0, 0, 50), OffsetRange(1, 30, 80)])
    for number in range(100):
        where = (0, number) if number < 50 else (1, number - 20)
        # Only those have a day, too.
        own: dict[str, Any] = {"name": VALUE, "day": dt.date(2026, 1, 2)} if where in named else {}
        made.row(*where, number, **own)
    return made


def refused_by(place: Place, rules: str, loaded: Batch) -> IntegrityError:
    """What a load says under these rules, of which nothing is there afterwards."""
    warehouse = place.ready()
    origin(warehouse, 0)
    origin(warehouse, 1, at=30)
    place.query(rules)
    with pytest.raises(IntegrityError) as said:
        load(warehouse, loaded)
    for table in ("events", "events_dead_letters", "topicledger_batches"):
        assert place.query(f"SELECT COUNT(*) FROM {place.schema}.{table}") == [(0,)]
    return said.value


def shown(error: BaseException) -> str:
    """Whatever a log may show of it, its causes included."""
    return "".join(traceback.format_exception(error))


@pytest.mark.fault(113, "stopped")
@pytest.mark.parametrize("rule", [pytest.param(r, marks=() if r in QUICK else pytest.mark.slow) for r in RULES])
def test_a_rule_that_refuses_a_record(postgres_place: Place, caplog: pytest.LogCaptureFixture, rule: str) -> None:
    """Of any rule, at once or at COMMIT, it is told which rule and which record; no value is."""
    rules, named = RULES[rule]
    error = refused_by(postgres_place, rules, batch((0, 10), REFUSED, (1, 60)))
    assert (error.partition, error.offset) == REFUSED
    assert "the record at partition 1, offset 41 of events is the first one that the warehouse refuses" in str(error)
    assert re.search(f"PostgreSQL says {named}. Nothing was changed. It is a rule of the table's own", str(error))
    assert VALUE not in shown(error) + caplog.text


@pytest.mark.fault(113, "stopped")
@pytest.mark.parametrize("rule", ["unique", "check"])
def test_a_rule_of_duckdb(duckdb_file_place: Place, rule: str) -> None:
    """There are no savepoints, and yet the first record is found."""
    place = duckdb_file_place
    rules = "CREATE UNIQUE INDEX rule ON main.events (name, day)"
    if rule == "check":
        # It can only be there from the beginning.
        declared = (
            place.warehouse()
            .ddl()
            .replace('"name" VARCHAR', "\"name\" VARCHAR CHECK (name = 'n' OR _kafka_offset < 41)")
        )
        Path(str(place.settings.host)).parent.mkdir()
        place.query(declared)
        rules = "SELECT 1"
    error = refused_by(place, rules, batch((0, 10), REFUSED, (1, 60)))
    assert (error.partition, error.offset) == REFUSED
    assert "It is a rule of the table's own" in str(error)
    assert re.search(
        "UNIQUE constraint" if rule == "unique" else r"CHECK constraint failed on table .?events", str(error)
    )
    assert VALUE not in shown(error)


def test_a_rule_for_dead_letters(postgres_place: Place) -> None:
    """A rule on the table of the dead letters is told likewise."""
    loaded = batch()
    loaded.rows = loaded.rows[:-2]
    loaded.dead(1, 78).dead(1, 79, reason="other")
    error = refused_by(postgres_place, "ALTER TABLE public.events_dead_letters ADD CHECK (reason <> 'other')", loaded)
    assert (error.partition, error.offset) == (1, 79)


def test_what_was_loaded_already_is_not_looked_through(postgres_place: Place) -> None:
    """Only what lies inside applied is inserted again."""
    place = postgres_place
    error = refused_by(place, RULES["unique-deferred"][0], batch(REFUSED, (1, 50)))
    assert (error.partition, error.offset) == (1, 50)
    place.query("ALTER TABLE public.events DROP CONSTRAINT rule")
    first = Batch([OffsetRange(1, 30, 45)])
    first.rows = [row for row in batch(REFUSED).rows if row["_kafka_partition"] == 1 and row["_kafka_offset"] < 45]
    load(place.warehouse(), first)
    place.query(RULES["unique-deferred"][0])
    with pytest.raises(IntegrityError) as said:
        load(place.warehouse(), batch(REFUSED, (1, 50)))
    assert (said.value.partition, said.value.offset) == (1, 50)


def test_what_is_deferred_with_reason(postgres_place: Place) -> None:
    """A rule that a row meets only when the ledger has its batch is looked at when it has, and refuses nothing."""
    place = postgres_place
    warehouse = place.ready()
    origin(warehouse, 0)
    origin(warehouse, 1, at=30)
    place.query(
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NOT EXISTS (SELECT 1 FROM public.topicledger_batches b WHERE b.batch_id = NEW._batch_id) "
        f"THEN RAISE EXCEPTION 'no batch'; END IF; RETURN NULL; END $$; {LATER}"
    )
    assert load(warehouse, batch(REFUSED)).accounts.loaded == 100


def test_a_rule_about_no_record(postgres_place: Place) -> None:
    """What refuses every statement is passed on as it is, and no record is blamed."""
    error = refused_by(
        postgres_place,
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'closed'; END $$; "
        + BEFORE.replace("EACH ROW", "EACH STATEMENT"),
        batch(),
    )
    assert (error.partition, error.offset) == (None, None)
    assert "P0001 RaiseException" in str(error)


def test_a_search_that_fails(postgres_place: Place) -> None:
    """Whatever happens while the record is looked for, the first refusal is what is raised."""
    error = refused_by(
        postgres_place,
        "CREATE SEQUENCE public.tries; CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF nextval('public.tries') > 1 THEN RAISE 'busy' USING ERRCODE = '40001'; END IF; RAISE 'no'; END $$; "
        + BEFORE,
        batch(),
    )
    assert (error.partition, error.offset) == (None, None)
    assert str(error).startswith("connection warehouse_default: PostgreSQL says P0001")


def test_a_search_that_takes_too_long(postgres_place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time the search ends with the offsets among which the record is."""
    monkeypatch.setattr(refused, "SEARCH_S", 0.5)
    error = refused_by(
        postgres_place,
        "CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM pg_sleep(0.3); RETURN NULL; END $$; "
        "CREATE TRIGGER waits BEFORE INSERT ON public.events FOR EACH STATEMENT EXECUTE FUNCTION public.wait(); "
        + RULES["check"][0],
        batch(REFUSED),
    )
    found = re.search(
        r"partition (\d+), offset (\d+) of events, or one up to partition (\d+), offset (\d+),", str(error)
    )
    assert found
    first, last = (int(found[1]), int(found[2])), (int(found[3]), int(found[4]))
    assert (0, 0) < first <= REFUSED <= last <= (1, 79)


def at_commit(place: Place, does: str) -> None:
    """Have PostgreSQL do something when a transaction that added position rows is committed."""
    place.query(
        "DROP TRIGGER IF EXISTS rule ON public.topicledger_positions; CREATE OR REPLACE FUNCTION public.refuse() "
        f"RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does} RETURN NULL; END $$; "
        + LATER.replace("public.events", "public.topicledger_positions")
    )


def test_answers_to_commit(postgres_place: Place) -> None:
    """What the server refuses at COMMIT is refused, as at a statement; when the session ends with it, it's unknown."""
    warehouse = postgres_place.ready()
    for state, kind in (("23505", IntegrityError), ("P0001", IntegrityError), ("40001", RetriableError)):
        at_commit(postgres_place, f"RAISE EXCEPTION '{VALUE}' USING ERRCODE = '{state}';")
        with pytest.raises(kind, match=f"PostgreSQL says {state} .* Nothing was changed") as said:
            origin(warehouse)
        assert VALUE not in shown(said.value)
    at_commit(postgres_place, "PERFORM pg_terminate_backend(pg_backend_pid());")
    with pytest.raises(RetriableError, match=r"it is unknown whether COMMIT succeeded \(57P01"):
        origin(warehouse)
    assert not warehouse.positions("events")
