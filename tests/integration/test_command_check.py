"""`topicledger check` on a real broker and each warehouse: what it says, one line a problem; and that it only looks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from tests.support.command import Command, connected, problems
from tests.support.looking import contents, query
from tests.support.places import duckdb_file, lake_folder
from tests.support.records import left_open, sign_ups
from tests.support.steps import Case, make_case, run_steps
from tests.support.topics import Topics
from topicledger import retries
from topicledger.connection import Connection
from topicledger.model.plan import Position

SQL = ("duckdb", "postgres")
EVERY = (*SQL, *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("folder", "s3")))
HOUR_MS = 3_600_000


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Connection:
    """DuckDB, or the kind that the test asks for."""
    found = request.getfixturevalue(f"{getattr(request, 'param', 'duckdb')}_settings")
    assert isinstance(found, Connection)
    return found


@pytest.mark.parametrize("place", EVERY, indirect=True)
def test_before_and_after_the_first_run(
    command: Command, case: Case, place: Connection, request: pytest.FixtureRequest
) -> None:
    """Missing tables are no problem and aren't created; afterwards they are as expected, and what waits is counted."""
    connected(command, case)
    case.send(sign_ups(range(7), 2))
    store = request.getfixturevalue("object_store") if place.conn_type == "aws" else None
    before = contents(place, store)
    ran = command("check")
    assert problems(ran) == []
    assert contents(place, store) == before
    assert "warehouse_default: reachable; the first run creates the tables" in ran.out
    assert f"kafka_default: topic {case.topic} with 2 partitions" in ran.out
    assert "keeps records for 7 days; at most 1 day between two runs" in ran.out
    assert "nothing is lost between ledger and topic; 7 offsets to read" in ran.out
    assert ("note     warehouse_default: whether this user may write" in ran.out) == (place.conn_type == "aws")
    absent = command("accounts")
    assert (absent.status, absent.out, len(absent.err.splitlines())) == (1, "", 1)
    assert f"has no ledger of {case.warehouse().target}; the first run creates it" in absent.err
    run_steps(case)
    case.send(sign_ups(range(7, 10), 2))
    before = contents(place, store)
    ran = command("check")
    assert problems(ran) == []
    assert contents(place, store) == before
    assert "warehouse_default: reachable, tables as expected" in ran.out
    assert "3 offsets to read" in ran.out


def test_callbacks_that_the_provider_resolves(command: Command, case: Case) -> None:
    """A callback that the connection names as text is Airflow's to resolve: looking does without it."""
    connected(command, case)
    command.connect_kafka({**case.kafka.extra, "bootstrap.servers": case.kafka.servers, "error_cb": "my.module.said"})
    assert problems(command("check")) == []


def test_an_empty_database_is_left_as_it_is(command: Command, case: Case) -> None:
    """A DuckDB file without the tables is looked at, and gets none."""
    connected(command, case)
    Path(str(case.place.host)).parent.mkdir()
    query(case.place, "SELECT 1")
    assert "the first run creates the tables" in command("check").out
    assert query(case.place, "SHOW TABLES") == []


@pytest.mark.slow
def test_orphans_are_counted_and_missing_files_named(command: Command, case: Case, tmp_path: Path) -> None:
    """Of files and a log it says how many files no entry names, and fails when one that an entry names is gone."""
    case = dataclasses.replace(case, place=lake_folder(tmp_path))
    connected(command, case)
    case.warehouse().ensure_tables()
    folder = tmp_path / "lake" / "user_signups"
    (first,) = folder.iterdir()
    (folder / "left.parquet").write_bytes(b"12345")
    ran = command("check")
    assert problems(ran) == []
    assert "1 orphaned files, 5 bytes, in no entry of the ledger" in ran.out
    first.unlink()
    (problem,) = problems(command("check"))
    assert f"user_signups/{first.name}" in problem
    assert "Restore them" in problem


@pytest.mark.parametrize("place", SQL, indirect=True)
def test_tables_that_only_a_dba_creates(command: Command, case: Case, place: Connection) -> None:
    """Where the pipeline creates no tables, missing ones are one problem; `--ddl` prints what creates them."""
    if place.conn_type == "duckdb":
        Path(str(place.host)).parent.mkdir()
        query(place, "SELECT 1")
    (command.folder / "mine.py").write_text(
        "import dataclasses\nfrom topicledger.signups import SIGNUPS\n"
        "OWN = dataclasses.replace(SIGNUPS, create_tables=False)\n"
    )
    connected(command, case, dag={"of": "mine:OWN"})
    (problem,) = problems(command("check"))
    assert "these tables are missing" in problem
    assert "`topicledger check --ddl` prints the statements" in problem
    assert "has no ledger of" in command("accounts").err
    ddl = command("check", "--ddl")
    assert (ddl.status, ddl.err) == (0, "")
    for statement in ddl.out.split(";\n"):
        if statement:
            query(place, statement)
    assert problems(command("check")) == []


@pytest.mark.slow
@pytest.mark.parametrize("place", SQL, indirect=True)
@pytest.mark.parametrize("gone", ["user_signups", "user_signups_dead_letters", "topicledger_schema"])
def test_a_table_that_is_gone(command: Command, case: Case, gone: str) -> None:
    """A table that is gone while the ledger is there is a problem, though a run would create it: empty."""
    connected(command, case)
    case.send(sign_ups(range(5)))
    run_steps(case)
    query(case.place, f"DROP TABLE {gone}")
    ran = command("check")
    (problem,) = problems(ran)
    assert f"the ledger has positions of {case.warehouse().target}, and a table of it is gone" in problem
    assert "the first run creates" not in ran.out
    assert "0 offsets to read" in ran.out


@pytest.mark.slow
@pytest.mark.parametrize("place", SQL, indirect=True)
def test_a_drifted_column(command: Command, case: Case) -> None:
    """A column that isn't as declared is named; the ledger can still be looked at."""
    connected(command, case)
    run_steps(case)
    query(case.place, "ALTER TABLE user_signups DROP COLUMN plan")
    (problem,) = problems(command("check"))
    assert "column plan (" in problem
    assert "migrate the table or the declaration" in problem
    assert command("accounts").status == 0


@pytest.mark.slow
def test_each_side_has_its_own_line(command: Command, case: Case) -> None:
    """A broken warehouse doesn't hide a missing topic, and nothing is then said of losses; no line has a secret."""
    secret = "hunter2-very-secret"
    connected(command, case, topic="no_such_topic")
    command.connect("warehouse_default", {"conn_type": "oracle", "password": secret})
    ran = command("check")
    warehouse, topic = problems(ran)
    assert "is of type 'oracle': use" in warehouse
    assert "topic no_such_topic does not exist" in topic
    assert "--create --topic no_such_topic" in topic
    assert "is lost" not in ran.out
    assert secret not in ran.out + ran.err


def test_no_warehouse_answers(command: Command, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warehouse that can't be reached is a problem of its own; what the topic says by itself is still told."""
    monkeypatch.setattr(retries, "RETRY_S", 0.2)
    connected(command, case)
    command.connect("warehouse_default", {"conn_type": "postgres", "host": "/nowhere", "schema": "s"})
    ran = command("check")
    (problem,) = problems(ran)
    assert "can't connect to PostgreSQL at /nowhere" in problem
    assert "with 2 partitions" in ran.out
    assert "offsets to read" not in ran.out


@pytest.mark.slow
def test_no_broker_answers(command: Command, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that can't be reached is one line, with what the client last heard; that it is waited for is another."""
    monkeypatch.setattr(retries, "RETRY_S", 6.0)
    connected(command, case)
    command.connect_kafka({"bootstrap.servers": "127.0.0.1:1"})
    (problem,) = problems(command("check"))
    assert "Connection refused" in problem
    assert "It may pass: see that the brokers run and can be reached" in problem
    (waiting,) = [line for line in command.waited if "Connection refused" in line]
    assert waiting.endswith("; trying again, for up to 6 s in all\n")


def test_a_ledger_behind_the_low_watermark(command: Command, case: Case) -> None:
    """Offsets that were deleted before they were loaded are named with the entry that accepts them, by `plan` too."""
    connected(command, case)
    case.send(sign_ups(range(4)))
    run_steps(case)
    case.send(sign_ups(range(4, 10)))
    case.topics.delete_records(case.topic, 0, 7)
    (problem,) = problems(command("check"))
    assert "partition 0: offsets [4, 7), 3 in all, were deleted before they were loaded" in problem
    assert '{"accept": ["gap:0:4:7"]}' in problem
    planned = command("plan")
    assert (planned.status, len(planned.err.splitlines())) == (1, 1)
    assert "gap:0:4:7" in planned.err


def test_a_ledger_beyond_the_topic(command: Command, case: Case) -> None:
    """A log that ends before the ledger's position is named as truncated."""
    connected(command, case)
    case.send(sign_ups(range(9)))
    warehouse = case.warehouse()
    warehouse.ensure_tables()
    warehouse.add_positions([Position(case.topic, case.topics.topic_id(case.topic), 0, origin=0, position=12)])
    (problem,) = problems(command("check"))
    assert "truncated:0:9:12" in problem


@pytest.mark.slow
def test_a_recreated_topic(command: Command, case: Case) -> None:
    """Another topic id than the ledger's is a problem before any run meets it."""
    connected(command, case)
    run_steps(case)
    topic_id = case.topics.recreate(case.topic, 2)
    (problem,) = problems(command("check"))
    assert "was recreated" in problem
    assert f"topic_id:{topic_id}" in problem


@pytest.mark.parametrize(
    ("config", "schedule", "said"),
    [
        ({"retention.ms": str(6 * HOUR_MS)}, "@daily", "problem  topic {} keeps records for 6 h (retention.ms), and "),
        ({"retention.ms": str(48 * HOUR_MS)}, "0 6 * * 1-5", "up to 3 days lie between two runs"),
        ({"retention.ms": str(6 * HOUR_MS)}, "@once", "note     topic {} keeps records for 6 h; how often runs come"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                (
                    {"retention.ms": str(24 * HOUR_MS)},
                    "@daily",
                    "problem  topic {} keeps records for 1 day (retention.ms), ",
                ),
                (
                    {"retention.ms": str(25 * HOUR_MS)},
                    "@daily",
                    "ok       topic {} keeps records for 1 day 1 h; at most 1 day",
                ),
                (
                    {"retention.ms": str(6 * HOUR_MS)},
                    "@hourly",
                    "ok       topic {} keeps records for 6 h; at most 1 h between",
                ),
                ({"retention.ms": "-1"}, "@daily", "ok       topic {} keeps records without a limit of time"),
                (
                    {"cleanup.policy": "compact", "retention.ms": "1"},
                    "@daily",
                    "ok       topic {} keeps records without a lim",
                ),
                (
                    {"retention.bytes": "1000000"},
                    "@daily",
                    "note     topic {} keeps no more than 1,000,000 bytes of a part",
                ),
            )
        ),
    ],
)
def test_retention_against_the_schedule(
    command: Command, topics: Topics, tmp_path: Path, config: dict[str, str], schedule: str, said: str
) -> None:
    """A topic has to keep its records for longer than the longest time between two runs of the DAG file's schedule."""
    case = make_case(topics, duckdb_file(tmp_path), tmp_path, config=config)
    connected(command, case, dag={"schedule": schedule})
    ran = command("check")
    assert said.format(case.topic) in ran.out + ran.err
    found = problems(ran)
    assert len(found) == (" lie between " in ran.err)
    assert all("Raise retention.ms" in problem and "or run more often" in problem for problem in found)


@pytest.mark.slow
def test_too_few_replicas(command: Command, topics: Topics, tmp_path: Path) -> None:
    """A topic that takes no records is a problem to a run that produces, and none to one that doesn't."""
    case = make_case(topics, duckdb_file(tmp_path), tmp_path, config={"min.insync.replicas": "2"})
    connected(command, case)
    (problem,) = problems(command("check"))
    assert "partition 0 has 1 of 2 replicas in sync that it needs" in problem
    connected(command, case, dag={"produces": False})
    assert problems(command("check")) == []


@pytest.mark.slow
def test_an_open_transaction(command: Command, case: Case) -> None:
    """What lies behind an open transaction is said: a run would wait for it."""
    connected(command, case)
    with left_open(case.topics.bootstrap, case.topic, sign_ups(range(3))):
        ran = command("check")
        assert problems(ran) == []
        assert "note     partition 0: 3 offsets lie behind an open transaction" in ran.out


def test_what_is_looked_at(command: Command, case: Case) -> None:
    """A DAG by its id, a file by its path, a pipeline by its import path, or all that the dags folder declares."""
    file = connected(command, case, table="landing.signups", max_records=5)
    case.send(sign_ups(range(9)))
    looked = f"topic {case.topic} into landing.signups, as in {file}"
    for given in ((), (case.pipeline.name,), (str(file),)):
        assert "would read 5 offsets" in command("plan", *given).out
    for given in ((case.pipeline.name,), (str(file),)):
        assert looked in command("check", *given).out
    other = command.put_dag_file({"topic": case.topic, "name": "other_dag", "table": "o"}, "other.py", kafka="other")
    command.connect("other", {"conn_type": "kafka", "extra": dict(case.kafka.extra)})
    for what in (str(other), "other:PIPELINE", "other:LEDGER"):
        ran = command("check", what)
        assert f"topic {case.topic} into o, as in {what}" in ran.out
        assert "other: topic" in ran.out
        command.forget("other")
    other.rename(file.parent / "other.py")
    both = command("check")
    assert both.out.count(f"topic {case.topic} into ") == 2
    for name in ("plan", "accounts"):
        assert f"several pipelines: name one of {case.pipeline.name}, other_dag" in command(name).err
    assert "not nobody: name a DAG's id" in command("check", "nobody").err
    assert json.loads(command("check", "other_dag", "--json").out).popitem()[1]["findings"][0]["kind"] == "ok"


def test_a_pipeline_beside_its_dag_file(command: Command, case: Case) -> None:
    """The declaration that a DAG file names is found in the file's own folder, as in Airflow."""
    file = connected(command, case, dag={"of": "beside_it:OWN"})
    (file.parent / "beside_it.py").write_text("from topicledger.signups import SIGNUPS as OWN\n")
    assert problems(command("check")) == []
