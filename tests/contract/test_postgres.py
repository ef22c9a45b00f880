"""What only PostgreSQL can do to us."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from devstack.postgres import running_postgres
from tests.contract.batches import Batch, apply, load, origin, pipeline
from tests.contract.loader import numbered
from tests.contract.places import Place
from tests.support.topics import wait_for
from topicledger.connection import Connection
from topicledger.errors import IntegrityError, RetriableError, SettingsError
from topicledger.model.plan import OffsetRange
from topicledger.warehouse.choice import open_warehouse

SECRET = "hunter2-very-secret"


@pytest.fixture
def place(postgres_place: Place) -> Place:
    return postgres_place


@pytest.fixture
def reader(place: Place) -> Iterator[Place]:
    """The same database as a user who may do nothing but connect."""
    name = f"reader_{uuid.uuid4().hex[:8]}"
    place.query(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
    yield replace(place, settings=replace(place.settings, login=name, password=SECRET))
    place.query(f"DROP OWNED BY {name}")
    place.query(f"DROP ROLE {name}")


@pytest.mark.fault(86, "goes on")
def test_a_database_that_defaults_to_repeatable_read(place: Place) -> None:
    """Two loads that wait for one lock read the ledger behind it: the same plan is a repeat, a longer one goes on."""
    place.query(f"ALTER DATABASE {place.settings.schema} SET default_transaction_isolation = 'repeatable read'")
    warehouse = place.ready()
    origin(warehouse)
    batch = numbered(0, 10, "run")
    batch.target = warehouse.target
    with ThreadPoolExecutor(2) as pool, warehouse.loading() as transaction:
        apply(transaction, batch)
        same = pool.submit(load, place.warehouse(), numbered(0, 10, "run"))
        longer = pool.submit(load, place.warehouse(), numbered(0, 15, "longer"))
        wait_for("two loads to wait for the lock", lambda: True if _waiting(place) == 2 else None)
        transaction.commit()
    assert same.result().repeated
    accounts = longer.result().accounts
    assert (accounts.already_loaded, accounts.loaded, accounts.duplicates) == (10, 5, 0)


def _waiting(place: Place) -> int:
    """How many sessions of the product wait for a lock in this database."""
    [(waiting,)] = place.query(
        "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
        "AND application_name = 'topicledger' AND datname = current_database()"
    )
    return int(waiting)


def test_a_search_path_that_hides_everything(place: Place) -> None:
    """Nothing is found by the search path: neither a planted table nor an empty path changes anything."""
    place.query("CREATE SCHEMA planted")
    place.query(f"ALTER DATABASE {place.settings.schema} SET search_path = planted")
    warehouse = place.ready()
    origin(warehouse)
    assert load(warehouse, numbered(0, 3, "run")).accounts.loaded == 3
    assert place.query("SELECT COUNT(*) FROM public.events") == [(3,)]


@pytest.mark.fault(74, "retried")
def test_a_statement_timeout(place: Place) -> None:
    """The server's own time limit is a reason to try again."""
    warehouse = place.ready()
    origin(warehouse)
    slow = place.with_extra(options="-c statement_timeout=300").warehouse()
    with warehouse.loading() as transaction:
        transaction.lock_positions()
        with pytest.raises(RetriableError, match="57014"):
            load(slow, numbered(0, 3, "run"))
    assert load(slow, numbered(0, 3, "run")).accounts.loaded == 3


@pytest.mark.fault(74, "retried")
def test_a_connection_that_the_server_ends(place: Place) -> None:
    """A session that is terminated in the middle leaves nothing, and the error says to try again."""
    warehouse = place.ready()
    origin(warehouse)
    batch = numbered(0, 3, "run")
    batch.target = warehouse.target
    with pytest.raises(RetriableError), warehouse.loading() as transaction:  # noqa: PT012 - the block is what rolls back
        apply(transaction, batch)
        place.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'topicledger' AND datname = current_database()"
        )
        transaction.commit()
    assert load(warehouse, batch).accounts.loaded == 3


@pytest.mark.fault(74, "retried")
def test_a_server_that_is_down(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It may come back: try again. The message names the host."""
    with running_postgres(tmp_path_factory.mktemp("pg")) as server:
        down = Place(
            Connection("w", "postgres", host=server.host, login=server.user, password=SECRET, schema="postgres")
        )
        warehouse = down.ready()
        origin(warehouse)
    with pytest.raises(RetriableError, match=str(server.host)) as refused:
        warehouse.positions("events")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": "no_such_database"}, "no_such_database"),
        ({"login": "no_such_role"}, "no_such_role"),
        ({"extra": {"sslmode": "sometimes"}}, "sslmode"),
    ],
)
def test_what_a_person_must_correct(place: Place, change: dict[str, object], named: str) -> None:
    """A wrong database, user or TLS setting is a SettingsError that names it."""
    settings = replace(place.settings, password=SECRET, **change)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=named) as refused:
        replace(place, settings=settings).warehouse().ensure_tables()
    assert SECRET not in f"{refused.value!r} {settings!r}"


def test_an_unknown_extra(place: Place) -> None:
    """A key that isn't on the list is refused by name, before anything is connected to."""
    with pytest.raises(SettingsError, match="sslmod,"):
        place.with_extra(sslmod="require").warehouse()


def test_a_missing_grant(place: Place, reader: Place) -> None:
    """The object that the user may not touch is named, and so is the user."""
    with pytest.raises(SettingsError, match=r"permission denied for schema public.*Grant it to user reader"):
        reader.warehouse().ensure_tables()
    warehouse = place.ready()
    origin(warehouse)
    with pytest.raises(SettingsError, match="permission denied for table"):
        reader.warehouse().ensure_tables()
    name = reader.settings.login
    place.query(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    place.query(f"GRANT UPDATE ON public.topicledger_positions TO {name}")
    reader.warehouse().ensure_tables()
    with pytest.raises(SettingsError, match="permission denied for table events") as refused:
        load(reader.warehouse(), numbered(0, 3, "run"))
    assert SECRET not in str(refused.value)


def test_a_key_without_its_constraint(place: Place) -> None:
    """Without UNIQUE on the key nothing is loaded, and the statement that adds it is given."""
    warehouse = place.ready()
    place.query("ALTER TABLE public.events DROP CONSTRAINT events_event_id_key")
    with pytest.raises(IntegrityError, match="ADD UNIQUE"):
        warehouse.ensure_tables()
    place.query('CREATE UNIQUE INDEX ON public.events ("event_id", amount)')
    with pytest.raises(IntegrityError, match="ADD UNIQUE"):
        warehouse.ensure_tables()


def test_another_unique_constraint(place: Place) -> None:
    """A row that violates a constraint of somebody else's isn't swallowed as a duplicate."""
    warehouse = place.ready()
    origin(warehouse)
    place.query("ALTER TABLE public.events ADD UNIQUE (name)")
    batch = Batch([OffsetRange(0, 0, 2)]).row(0, 0, 1, name="same").row(0, 1, 2, name="same")
    with pytest.raises(IntegrityError, match="23505"):
        load(warehouse, batch)
    assert place.query("SELECT COUNT(*) FROM public.events") == [(0,)]


def test_a_key_that_another_session_writes_meanwhile(place: Place) -> None:
    """A key that is committed by another program while a load waits for it ends that try; the next one counts it."""
    warehouse = place.ready()
    origin(warehouse)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(place.dsn()) as other:
        other.execute(
            b"INSERT INTO public.events (event_id, amount, name, flag, _batch_id, _kafka_topic_id, _kafka_partition, "
            b"_kafka_offset) VALUES ('00000000-0000-0000-0000-000000000001', 5, 'n', true, 'by hand', '', 0, 0)"
        )
        loading = pool.submit(load, place.warehouse(), numbered(0, 3, "run"))
        wait_for("the load to wait for the key", lambda: True if _waiting(place) == 1 else None)
        other.commit()
        with pytest.raises(RetriableError, match="another session wrote that event_id during the load"):
            loading.result()
    accounts = load(warehouse, numbered(0, 3, "run")).accounts
    assert (accounts.loaded, accounts.duplicates, accounts.conflicts) == (2, 1, 1)


def test_a_row_that_no_table_has_is_no_duplicate(place: Place) -> None:
    """A row that the table's own trigger drops is in no account, so the books don't close."""
    warehouse = place.ready()
    origin(warehouse)
    place.query(
        "CREATE FUNCTION public.dropped() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF NEW.amount = 5 THEN RETURN NULL; END IF; RETURN NEW; END'"
    )
    place.query("CREATE TRIGGER d BEFORE INSERT ON public.events FOR EACH ROW EXECUTE FUNCTION public.dropped()")
    with pytest.raises(IntegrityError, match=r"I3: records 2 = already_loaded 0 \+ loaded 1 \+ duplicates 0"):
        load(warehouse, Batch([OffsetRange(0, 0, 2)]).row(0, 0, 1).row(0, 1, 2, amount=5))


@pytest.mark.slow
@pytest.mark.parametrize("key", ["event_id", ("flag", "event_id")])
def test_duplicates_of_a_batch_that_the_statistics_do_not_know(place: Place, key: str | tuple[str, ...]) -> None:
    """A batch into a table whose statistics are of earlier ones isn't compared with it row by row."""
    place.query(f"ALTER DATABASE {place.settings.schema} SET statement_timeout = '30s'")
    # With far more rows a hash costs more than the one row that is expected, and the planner leaves it by itself.
    place.query(f"ALTER DATABASE {place.settings.schema} SET enable_hashjoin = off")
    warehouse = place.ready(key=key)
    origin(warehouse)
    load(warehouse, numbered(0, 60_000, "first"))
    place.query("ANALYZE public.events")
    batch = numbered(60_000, 120_000, "second").row(0, 120_000, 0)
    batch.planned = [OffsetRange(0, 60_000, 120_001)]
    assert load(warehouse, batch).accounts.duplicates == 1


def test_real_types(place: Place) -> None:
    """Columns have the types that a person would have chosen."""
    place.ready()
    types = dict(
        place.query("SELECT column_name, data_type FROM information_schema.columns WHERE table_name LIKE 'events%'")
    )
    assert types["event_id"] == "uuid"
    assert types["at"] == "timestamp with time zone"
    assert types["value"] == "bytea"
    assert types["headers"] == "jsonb"


def test_no_session_is_left(place: Place) -> None:
    """After every call, failed ones too, no connection is open."""
    warehouse = place.ready()
    origin(warehouse)
    load(warehouse, numbered(0, 3, "run"))
    warehouse.history(1)
    with pytest.raises(RuntimeError, match="on the way"), warehouse.loading() as transaction:  # noqa: PT012 - the block is what rolls back
        transaction.lock_positions()
        raise RuntimeError("on the way")
    left = place.query(
        "SELECT COUNT(*) FROM pg_stat_activity WHERE application_name = 'topicledger' AND datname = current_database()"
    )
    assert left == [(0,)]


@pytest.mark.parametrize("password", [SECRET + "-wrong", None])
def test_a_wrong_password(tmp_path_factory: pytest.TempPathFactory, password: str | None) -> None:
    """A password that is wrong or missing is a SettingsError which names the user and doesn't show it."""
    with running_postgres(tmp_path_factory.mktemp("pg")) as server:
        with psycopg.connect(server.dsn(), autocommit=True) as session:
            session.execute(f"CREATE ROLE writer LOGIN PASSWORD '{SECRET}'".encode())
        rules = server.data / "pg_hba.conf"
        rules.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        with psycopg.connect(server.dsn(), autocommit=True) as session:
            session.execute("SELECT pg_reload_conf()")
        settings = Connection("w", "postgres", host=server.host, login="writer", password=password, schema="postgres")
        with pytest.raises(SettingsError, match="writer") as refused:
            open_warehouse(settings, pipeline()).positions("events")
    assert SECRET not in str(refused.value)
