"""The command: what it prints, what it ends with, and that it only looks."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from topicledger import __version__, cli
from topicledger.errors import RetriableError, SettingsError
from topicledger.model.plan import Position
from topicledger.model.planning import TopicState, Watermarks
from topicledger.signups import SIGNUPS
from topicledger.warehouse.connect import open_warehouse
from topicledger.warehouse.contract import Warehouse, WarehouseSettings

TOPIC_ID = "mPqZ3xQkT5SxAbCdEfGhIj"
SECRET = "hunter2"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs the command as the console script does; connections point into this test's own folder."""
    warehouse = {"conn_type": "duckdb", "host": str(tmp_path / "w.duckdb")}
    kafka = {"conn_type": "kafka", "extra": {"bootstrap.servers": "localhost:1", "sasl.password": SECRET}}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT", json.dumps(warehouse))
    monkeypatch.setenv("AIRFLOW_CONN_KAFKA_DEFAULT", json.dumps(kafka))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("topicledger.connections.sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["topicledger", *arguments])
        try:
            cli.main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return invoke


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """The shipped pipeline's tables in the DuckDB file that `run` points at."""
    settings = WarehouseSettings("warehouse_default", "duckdb", host=str(tmp_path / "w.duckdb"))
    made = open_warehouse(settings, SIGNUPS)
    made.ensure_tables()
    return made


def topic_is(monkeypatch: pytest.MonkeyPatch, *marks: Watermarks, topic_id: str = TOPIC_ID) -> None:
    state = TopicState("user_signups", topic_id, marks)
    monkeypatch.setattr(cli, "_topic_state", lambda _conn_id, _declared: state)


def position(partition: int, at: int) -> Position:
    return Position("user_signups", TOPIC_ID, partition, origin=at, position=at)


def test_version(run: Run) -> None:
    """`--version` says it and ends well."""
    assert run("--version") == (0, f"topicledger {__version__}\n", "")


def test_without_arguments_it_helps(run: Run) -> None:
    """The help names the four commands and what the command doesn't do."""
    status, out, err = run("--help")
    assert status == 0
    for name in ("init", "check", "plan", "accounts"):
        assert name in out
    assert "it only looks" in out
    assert err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("init",),
        ("check", "--pipeline", "nope:X"),
        ("check", "--pipeline", "json"),
        ("check", "--pipeline", "json:loads"),
        ("accounts", "--limit", "0"),
    ],
)
def test_wrong_usage_ends_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    """Usage errors are told apart from problems by their exit status, without a traceback."""
    status, _, err = run(*arguments)
    assert status == 2
    assert "Traceback" not in err


def test_init_refuses_in_one_line(run: Run, tmp_path: Path) -> None:
    """An error of ours is one line on stderr and exit status 1."""
    status, out, err = run("init", str(tmp_path / "absent"))
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert "is not a folder" in err


def test_init_says_what_it_wrote_and_what_comes_next(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file written is named, a vendored engine as one; then install, connections, check, unpause."""
    monkeypatch.setattr("topicledger.scaffold._dag_file", lambda name: name.encode())
    dags = tmp_path / "dags"
    dags.mkdir()
    status, out, _ = run("init", str(dags), "--vendor")
    assert status == 0
    assert f"wrote   {dags}/user_etl_dag.py" in out
    assert f"wrote   {dags}/topicledger (" in out
    assert "reader.py" not in out
    for step in ("pip install", "airflow connections add kafka_default", "topicledger check", "dags unpause"):
        assert step in out
    assert f"kept    {dags}/kafka_utils.py" in run("init", str(dags))[1]
    (dags / "kafka_utils.py").write_text("mine")
    assert run("init", str(dags))[0] == 1
    assert run("init", str(dags), "--force")[0] == 0


def test_check_before_the_first_run(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing tables are no problem when the first run creates them, and checking doesn't create them."""
    topic_is(monkeypatch, Watermarks(0, 5, 25, 25))
    status, out, err = run("check")
    assert (status, err) == (0, "")
    assert "the first run creates the tables" in out
    assert "topic user_signups with 1 partitions" in out
    assert "20 offsets to read" in out
    assert list(tmp_path.iterdir()) == []


def test_check_with_an_empty_database(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database without the tables is checked and left as it is."""
    duckdb.connect(str(tmp_path / "w.duckdb")).close()
    topic_is(monkeypatch, Watermarks(0, 0, 0, 0))
    status, out, _ = run("check")
    assert status == 0
    assert "the first run creates the tables" in out
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        assert connection.execute("SHOW TABLES").fetchall() == []


def test_check_counts_orphans_and_misses_files(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files and a log it says how many files no entry names, and fails when one that an entry names is gone."""
    topic_is(monkeypatch, Watermarks(0, 0, 0, 0))
    lake = tmp_path / "lake"
    connection = {"conn_type": "fs", "extra": {"path": str(lake)}}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT", json.dumps(connection))
    assert "the first run creates the tables" in run("check")[1]
    open_warehouse(WarehouseSettings("w", "fs", extra={"path": str(lake)}), SIGNUPS).ensure_tables()
    (first,) = (lake / "user_signups").iterdir()
    (lake / "user_signups" / "left.parquet").write_bytes(b"12345")
    status, out, _ = run("check")
    assert status == 0
    assert "1 orphaned files, 5 bytes, in no entry of the ledger" in out
    first.unlink()
    status, _, err = run("check")
    assert status == 1
    assert f"user_signups/{first.name}" in err


def test_check_with_tables_that_only_a_dba_creates(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the pipeline creates no tables, missing ones are a problem; `--ddl` prints what creates them."""
    duckdb.connect(str(tmp_path / "w.duckdb")).close()
    (tmp_path / "mine.py").write_text(
        "import dataclasses\nfrom topicledger.signups import SIGNUPS\n"
        "OWN = dataclasses.replace(SIGNUPS, create_tables=False)\n"
    )
    topic_is(monkeypatch, Watermarks(0, 0, 0, 0))
    status, _, err = run("check", "--pipeline", "mine:OWN")
    assert (status, len(err.splitlines())) == (1, 1)
    assert "missing" in err
    assert "topicledger check --ddl" in err
    status, out, _ = run("check", "--pipeline", "mine:OWN", "--ddl")
    assert status == 0
    assert "CREATE TABLE" in out


def test_check_tells_every_problem_on_a_line_of_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken warehouse doesn't hide a broken broker; no line holds a secret."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT", '{"conn_type": "oracle", "password": "hunter2"}')

    def unreachable(_conn_id: str, _declared: object) -> TopicState:
        raise RetriableError("describing topic: nobody answers. It may pass")

    monkeypatch.setattr(cli, "_topic_state", unreachable)
    status, _, err = run("check")
    assert status == 1
    assert [line.split()[0] for line in err.splitlines()] == ["problem", "problem"]
    assert "oracle" in err
    assert "nobody answers" in err
    assert SECRET not in err


def test_check_finds_a_ledger_behind_the_low_watermark(
    run: Run, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offsets that retention took before they were loaded are named with the entry that would accept them."""
    warehouse.add_positions([position(0, 10)])
    topic_is(monkeypatch, Watermarks(0, 30, 50, 50))
    status, out, err = run("check")
    assert status == 1
    assert "tables as expected" in out
    assert "gap:0:10:30" in err


def test_check_finds_a_recreated_topic(run: Run, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another topic id than the ledger's is a problem before any run meets it."""
    warehouse.add_positions([position(0, 10)])
    topic_is(monkeypatch, Watermarks(0, 0, 50, 50), topic_id="zzzzzzzzzzzzzzzzzzzzzz")
    status, _, err = run("check")
    assert status == 1
    assert "was recreated" in err


def test_check_names_a_missing_kafka_connection(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing connection is a problem that shows how to define it."""
    monkeypatch.delenv("AIRFLOW_CONN_KAFKA_DEFAULT")
    status, _, err = run("check")
    assert status == 1
    assert "kafka_default is not defined" in err
    assert "AIRFLOW_CONN_KAFKA_DEFAULT=" in err


def test_without_a_warehouse_connection_it_looks_where_a_run_would(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default DuckDB file under AIRFLOW_HOME, said; a connection asked for by name has to exist."""
    monkeypatch.delenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    status, _, err = run("accounts")
    assert status == 1
    assert "home/warehouse/topicledger.duckdb" in err
    status, _, err = run("accounts", "--warehouse-conn-id", "other")
    assert (status, "connection other is not defined" in err) == (1, True)


def test_plan_shows_position_end_and_lag(run: Run, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a partition: what would be read, what an open transaction hides, which partition is new."""
    warehouse.add_positions([position(0, 1000)])
    topic_is(monkeypatch, Watermarks(0, 0, 3500, 3600), Watermarks(1, 0, 7, 7))
    status, out, err = run("plan")
    assert (status, err) == (0, "")
    assert "The next run would read 2,507 offsets of user_signups." in out
    lines = [line.split() for line in out.splitlines()]
    assert [
        "0",
        "1,000",
        "3,500",
        "2,500",
        "2,500",
        "100",
        "more",
        "behind",
        "an",
        "open",
        "transaction",
    ] in lines
    assert ["1", "0", "7", "7", "7", "not", "in", "the", "ledger", "yet"] in lines


def test_plan_says_what_a_cap_leaves(
    run: Run, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a cap the end lies before the topic's, and the rest is said."""
    (tmp_path / "capped.py").write_text(
        "import dataclasses\nfrom topicledger.signups import SIGNUPS\n"
        "CAPPED = dataclasses.replace(SIGNUPS, max_records=40)\n"
    )
    warehouse.add_positions([position(0, 0)])
    topic_is(monkeypatch, Watermarks(0, 0, 100, 100))
    out = run("plan", "--pipeline", "capped:CAPPED")[1]
    assert "would read 40 offsets of user_signups; the cap leaves 60 for later runs" in out
    assert ["0", "0", "40", "40", "100"] in [line.split() for line in out.splitlines()]


def test_plan_stops_where_a_run_would(run: Run, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss is one line and exit status 1, here as in the DAG."""
    warehouse.add_positions([position(0, 100)])
    topic_is(monkeypatch, Watermarks(0, 0, 90, 90))
    status, _, err = run("plan")
    assert (status, len(err.splitlines())) == (1, 1)
    assert "truncated:0:90:100" in err


def test_accounts_of_an_empty_ledger(run: Run, warehouse: Warehouse) -> None:
    """A ledger without batches is a sentence, as JSON an empty list."""
    warehouse.add_positions([position(0, 5)])
    status, out, _ = run("accounts")
    assert status == 0
    assert "The ledger has no batch of this target." in out
    document = json.loads(run("accounts", "--json")[1])
    assert (document["target"], document["batches"], document["books_close"]) == (
        "main.user_signups",
        [],
        True,
    )
    assert document["partitions"][0]["position"] == 5


def test_accounts_ends_with_1_when_books_are_broken(run: Run, warehouse: Warehouse, tmp_path: Path) -> None:
    """A position that no batch explains is shown as BROKEN, and scripts see it by the exit status."""
    warehouse.add_positions([position(0, 5)])
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("UPDATE topicledger_positions SET position = 9")
    status, out, _ = run("accounts")
    assert status == 1
    assert out.splitlines()[-1].split() == [TOPIC_ID, "0", "5", "9", "0", "BROKEN"]
    assert json.loads(run("accounts", "--json")[1])["books_close"] is False


def test_an_error_of_several_lines_becomes_one() -> None:
    """Statements for a database administrator don't flood stderr."""
    assert cli._one_line(SettingsError("missing:\nCREATE TABLE x")).startswith("missing: (`topicledger check --ddl`")
    assert cli._one_line(SettingsError("plain")) == "plain"
