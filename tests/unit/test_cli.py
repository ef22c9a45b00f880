"""The command: what it prints, what it ends with, and that it only looks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from tests.support.command import Command, Ran
from topicledger import __version__
from topicledger.connection import Connection
from topicledger.model.plan import Position
from topicledger.signups import SIGNUPS
from topicledger.warehouse.choice import open_warehouse
from topicledger.warehouse.contract import Warehouse

SHIPPED = "topicledger.signups:SIGNUPS"
TOPIC_ID = "mPqZ3xQkT5SxAbCdEfGhIj"

Run = Callable[..., Ran]


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Command:
    """The command, its connections pointing into this test's own folder."""
    command.connect("warehouse_default", {"conn_type": "duckdb", "host": str(tmp_path / "w.duckdb")})
    command.connect_kafka({"bootstrap.servers": "localhost:1"})
    return command


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """The shipped pipeline's tables in the DuckDB file that `run` points at."""
    settings = Connection("warehouse_default", "duckdb", host=str(tmp_path / "w.duckdb"))
    made = open_warehouse(settings, SIGNUPS)
    made.ensure_tables()
    return made


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
    assert "What moves data is a DAG run" in " ".join(out.split())
    assert err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("init",),
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
    """Every file written is named, a vendored engine as one; then install, connections, check, unpause.

    Elsewhere than in Airflow's dags folder `check` has to be told of the DAG file.
    """
    monkeypatch.setattr("topicledger.cli.scaffold._dag_file", lambda name: name.encode())
    dags = tmp_path / "dags"
    dags.mkdir()
    status, out, _ = run("init", str(dags), "--vendor")
    assert status == 0
    assert f"wrote   {dags}/user_etl_dag.py" in out
    assert f"wrote   {dags}/topicledger (" in out
    assert "reader.py" not in out
    for step in ("pip install", "airflow connections add kafka_default", "topicledger check", "dags unpause"):
        assert step in out
    assert f"topicledger check {dags}/user_etl_dag.py\n" in out
    monkeypatch.setenv("AIRFLOW__CORE__DAGS_FOLDER", str(dags))
    again = run("init", str(dags))[1]
    assert f"kept    {dags}/kafka_utils.py" in again
    assert "topicledger check\n" in again
    (dags / "kafka_utils.py").write_text("mine")
    assert run("init", str(dags))[0] == 1
    assert run("init", str(dags), "--force")[0] == 0


def test_check_names_a_missing_kafka_connection(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing connection is a problem that shows how to define it."""
    monkeypatch.delenv("AIRFLOW_CONN_KAFKA_DEFAULT")
    status, _, err = run("check", SHIPPED)
    assert status == 1
    assert "kafka_default is not defined" in err
    assert "AIRFLOW_CONN_KAFKA_DEFAULT=" in err


@pytest.mark.parametrize(
    "extra",
    [
        {"oauth_cb": "my.module.token"},
        {"sasl.mechanism": "OAUTHBEARER", "security.protocol": "SASL_SSL"},
        {"sasl.mechanisms": "oauthbearer"},
    ],
)
def test_a_token_that_only_airflow_makes(run: Command, extra: dict[str, str]) -> None:
    """Where the provider makes the token the check says that it can't ask, and not that a key is wrong."""
    run.connect_kafka({"bootstrap.servers": "b-1.demo.c2.kafka.us-east-1.amazonaws.com:9098", **extra})
    status, _, err = run("check", SHIPPED)
    assert (status, len(err.splitlines())) == (1, 1)
    assert "this command can't ask the broker. Trigger a run" in err
    assert "remove it" not in err


DECLARED = """
import msgspec
from topicledger.columns import Column
from topicledger.pipeline import Check, Pipeline


class Payment(msgspec.Struct):
    id: str
    amount: {field}


def clean(columns):
    {clean}


PAYMENTS = Pipeline(
    name="payments", topic="payments", event={event}, key="id", table="payments", clean=clean, checks=({checks}),
    columns=(Column("id", "uuid"), Column("amount", "{column}")),
)
"""
"""A declaration with holes."""

WORKS = {"field": "int", "clean": "return columns", "event": "Payment", "checks": "", "column": "int64"}


@pytest.mark.fault(130, "stopped")
@pytest.mark.parametrize(
    ("holes", "says"),
    [
        ({"column": "decimal(39,2)"}, "has the type 'decimal(39,2)': use one of uuid, int64, float64, text"),
        ({"event": "dict"}, "its event is <class 'dict'>"),
        ({"field": "'Money'"}, "the event type Payment can't be decoded: NameError: name 'Money' is not defined"),
        ({"field": "complex"}, "the event type Payment is a complex, which msgspec can't"),
        ({"field": "int | None"}, "the field amount may be null, its column may not"),
        ({"field": "str"}, "gives string for the column amount, which is int64: one record that doesn't fit"),
        ({"field": "list[int]"}, "gives string for the column amount, which is int64"),
        ({"column": 'int64"), Column("other", "text'}, "doesn't give the columns other"),
        ({"clean": "columns['amount'].cast('double')"}, "gives a NoneType: it must return a mapping"),
        ({"clean": "return {**columns, 'amount': columns['amount'][0]}"}, "failed with IndexError"),
        ({"checks": "Check('id', '(?=x)', 'is wrong'),"}, "the pattern '(?=x)' for id isn't valid RE2"),
        ({"checks": "Check('id', 'x')"}, "failed with TypeError: Check.__init__() missing 1 required positional"),
        ({"checks": "Check('name', 'x', 'is wrong'),"}, "checks 'name', which is no text field of Payment"),
        ({"clean": "x = ("}, "failed with SyntaxError: '(' was never closed (declared.py, line 13)"),
        ({"clean": "pass\n\nraise SystemExit(3)"}, "failed with SystemExit: 3 at {folder}/declared.py:15. Correct"),
        ({"clean": "pass\n\nimport nowhere"}, "it imports nowhere, which isn't installed here"),
    ],
)
def test_check_tells_what_a_declaration_cant_do(
    run: Command, monkeypatch: pytest.MonkeyPatch, holes: dict[str, str], says: str
) -> None:
    """Whatever a person declares that can't work is one line of `check`, never a traceback, and the exit status 1."""
    monkeypatch.delenv("AIRFLOW_CONN_KAFKA_DEFAULT")  # so that no broker is waited for
    (run.folder / "declared.py").write_text(DECLARED.format_map({**WORKS, **holes}))
    run.forget("declared")
    status, _, err = run("check", "declared:PAYMENTS")
    (said,) = (line for line in err.splitlines() if "kafka_default" not in line)
    assert status == 1
    assert says.replace("{folder}", str(run.folder)) in said


GOES_ON = """
import msgspec
from topicledger import Pipeline
from topicledger.airflow import ledger_dag


class Payment(msgspec.Struct):
    id: str


dag = ledger_dag(Pipeline(topic="payments", event=Payment, key="id"), schedule="@daily")
{more}
"""


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("", ""),
        ("dag.doc_md = 'ours'\nassert dag.get_task('load_staged_data').doc_md", ""),
        ("with dag:\n    pass", ""),
        ("dag.docs_md.append('ours')", "AttributeError: 'DAG' object has no attribute 'docs_md'"),
    ],
    ids=["not at all", "attributes", "with", "a mistake"],
)
def test_a_file_that_goes_on_with_its_dag(run: Command, more: str, says: str) -> None:
    """What a DAG file does with the DAG that `ledger_dag` gives, it may do, as in Airflow; its own mistake is named."""
    (run.folder / "ours.py").write_text(GOES_ON.format(more=more))
    status, out, err = run("check", "--ddl", "ours.py")
    assert (status, says in err) == (int(bool(says)), True)
    assert ('CREATE TABLE "main"."payments"' in out) is not bool(says)


@pytest.mark.fault(130, "stopped")
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nope:X", "pipeline 'nope:X': there is no module nope here: put it beside the DAG file"),
        ("json.nope:X", "there is no module json.nope here"),
        ("json:", "use module:NAME"),
        ("../json:loads", "use module:NAME"),
        ("nobody.py", "the DAG file {folder}/nobody.py: running it failed with FileNotFoundError"),
        ("nobody", "declares no DAG of a pipeline, not nobody: name a DAG's id"),
        ("topicledger.signups:SIGNUP", "signups.py has no SIGNUP; the pipelines in it: SIGNUPS. Correct the name"),
        ("json:loads", "pipeline 'json:loads': that is a function, no Pipeline"),
    ],
)
def test_a_path_that_names_no_pipeline(run: Command, path: str, says: str) -> None:
    """A wrong path is one line that says what is there instead, from each way to look."""
    for arguments in (("check",), ("check", "--ddl"), ("plan",), ("accounts",)):
        status, out, err = run(*arguments, path)
        assert (status, out, len(err.splitlines())) == (1, "", 1)
        assert says.replace("{folder}", str(run.folder)) in err


def test_without_a_warehouse_connection_it_looks_where_a_run_would(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default DuckDB file under AIRFLOW_HOME, said; a connection asked for by name has to exist."""
    monkeypatch.delenv("AIRFLOW_CONN_WAREHOUSE_DEFAULT")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    status, _, err = run("accounts", SHIPPED)
    assert status == 1
    assert "home/warehouse/topicledger.duckdb" in err
    file = run.put_dag_file({}, warehouse="other")
    status, _, err = run("accounts", str(file))
    assert (status, "connection other is not defined" in err) == (1, True)


def test_accounts_of_an_empty_ledger(run: Run, warehouse: Warehouse) -> None:
    """A ledger without batches is a sentence, as JSON an empty list."""
    warehouse.add_positions([position(0, 5)])
    status, out, _ = run("accounts", SHIPPED)
    assert status == 0
    assert "The ledger has no batch of this target." in out
    document = json.loads(run("accounts", SHIPPED, "--json")[1])
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
    status, out, _ = run("accounts", SHIPPED)
    assert status == 1
    assert out.splitlines()[-1].split() == [TOPIC_ID, "0", "5", "9", "0", "BROKEN"]
    assert json.loads(run("accounts", SHIPPED, "--json")[1])["books_close"] is False
