"""Connections: the two forms of the environment, the `airflow` command, and no secret in any message."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from topicledger.cli.connections import find_connection, parse_connection, require_connection
from topicledger.connection import Connection
from topicledger.errors import SettingsError

SECRET = "p@ss:/w0rd%?#é"


@pytest.fixture(autouse=True)
def only_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing but the test's own folder is on PATH, and the interpreter has no `airflow` beside it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("topicledger.cli.connections.sys.executable", str(tmp_path / "bin" / "python"))
    for name in ("AIRFLOW_CONN_WH", "AIRFLOW_CONN_KAFKA_DEFAULT", "AIRFLOW__SECRETS__BACKEND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    return tmp_path


def fake_airflow(folder: Path, script: str) -> None:
    path = folder / "airflow"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_json_form() -> None:
    """Every field of the JSON form arrives, Extra as an object or as text."""
    given = {
        "conn_type": "postgresql",
        "host": "db",
        "login": "me",
        "password": SECRET,
        "port": "5433",
        "schema": "wh",
        "extra": {"sslmode": "require"},
    }
    expected = Connection("wh", "postgres", "db", 5433, "me", SECRET, "wh", {"sslmode": "require"})
    assert parse_connection("wh", json.dumps(given)) == expected
    given["extra"] = json.dumps(given["extra"])
    assert parse_connection("wh", json.dumps(given)) == expected


def test_uri_form() -> None:
    """Every part of the URI is percent-decoded; Extra comes from the query."""
    uri = "postgres://m%40e:p%40ss%3A%2Fw0rd%25%3F%23%C3%A9@DB.example:5433/w%2Fh?sslmode=require&keepalives=1"
    found = parse_connection("wh", uri)
    assert found == Connection(
        "wh", "postgres", "db.example", 5433, "m@e", SECRET, "w/h", {"sslmode": "require", "keepalives": "1"}
    )


def test_uri_with_extra_as_one_value() -> None:
    """`__extra__` carries what the query can't: nested values and their types."""
    uri = "kafka://?__extra__=" + quote('{"bootstrap.servers": "h:9092", "n": {"a": 1}}')
    found = parse_connection("k", uri)
    assert found.extra == {"bootstrap.servers": "h:9092", "n": {"a": 1}}
    assert (found.conn_type, found.host, found.port, found.schema) == ("kafka", None, None, None)


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("postgres://u:p@%2Fvar%2Frun%2FPg:5432/db", "/var/run/Pg"),
        ("duckdb://%2Fdata%2FWare.duckdb", "/data/Ware.duckdb"),
        ("google-cloud-platform://https://host/x", "https://host"),
    ],
)
def test_hosts_that_are_no_plain_names(uri: str, host: str) -> None:
    """A path as host keeps its case; a host may have a protocol of its own."""
    assert parse_connection("wh", uri).host == host


def test_types_are_spelled_as_airflow_spells_them() -> None:
    """A hyphen in the URI's scheme is an underscore in the type."""
    assert parse_connection("x", "google-cloud-platform://").conn_type == "google_cloud_platform"


@pytest.mark.parametrize(
    "text",
    [
        f'{{"password": "{SECRET}", nonsense',
        f"just {SECRET} words",
        "postgres://u:S3cret@host:S3cretport/db",
        "postgres://[u:S3cret@host",
        "postgres://u:S3cret://x@host/db",
        '{"conn_type": "postgres", "password": "S3cret", "port": "S3cret"}',
        '{"conn_type": "kafka", "extra": "S3cret"}',
        '{"conn_type": "kafka", "extra": ["S3cret"]}',
    ],
)
def test_unreadable_text_is_named_and_not_quoted(text: str) -> None:
    """The message names the connection; neither it nor its causes hold a part of the text."""
    with pytest.raises(SettingsError) as caught:
        parse_connection("wh", text)
    assert "connection wh" in str(caught.value)
    told = [str(caught.value)]
    if not caught.value.__suppress_context__ and caught.value.__context__ is not None:
        told.append(str(caught.value.__context__))
    assert not any("S3cret" in said or SECRET in said for said in told)


def test_repr_shows_no_secret() -> None:
    """A log line with the fields doesn't leak password or Extra."""
    found = Connection("wh", "postgres", password=SECRET, extra={"sasl.password": SECRET})
    assert SECRET not in repr(found)


def test_environment_wins_over_the_command(monkeypatch: pytest.MonkeyPatch, only_path: Path) -> None:
    """The environment is looked at first, and then nothing is run."""
    fake_airflow(only_path, "exit 3")
    monkeypatch.setenv("AIRFLOW_CONN_WH", "duckdb://%2Fx.duckdb")
    found = find_connection("wh")
    assert found is not None
    assert found.host == "/x.duckdb"


def test_a_secrets_backend_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch, only_path: Path) -> None:
    """Where Airflow has one, its command is asked first; what that doesn't know is the environment's."""
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", "some.Backend")
    monkeypatch.setenv("AIRFLOW_CONN_WH", "duckdb://%2Fx.duckdb")
    fake_airflow(only_path, """echo '[{"conn_id": "wh", "conn_type": "kafka"}]'""")
    assert find_connection("wh") == Connection("wh", "kafka")
    fake_airflow(only_path, "echo 'Connection not found.' >&2; exit 1")
    assert find_connection("wh") == Connection("wh", "duckdb", "/x.duckdb")


def test_a_field_that_airflow_refuses() -> None:
    """A JSON key that is no field of a connection is named: a run would find no connection at all."""
    with pytest.raises(SettingsError, match="connection wh has user, which Airflow refuses"):
        parse_connection("wh", '{"conn_type": "postgres", "user": "etl"}')


def test_missing_without_airflow() -> None:
    """None; and for a connection that has to be there an error that shows how to define it."""
    assert find_connection("wh") is None
    with pytest.raises(SettingsError) as caught:
        require_connection("wh", '{"conn_type": "duckdb"}')
    assert 'AIRFLOW_CONN_WH=\'{"conn_type": "duckdb"}\'' in str(caught.value)


def test_the_airflow_command_is_asked(only_path: Path) -> None:
    """Its JSON is found behind warnings; values of the Extra keep their types."""
    printed = [
        {
            "conn_id": "wh",
            "conn_type": "kafka",
            "host": "",
            "login": None,
            "password": SECRET,
            "port": "9092",
            "schema": "",
            "extra_dejson": {"bootstrap.servers": "h", "n": "1"},
            "get_uri": "kafka://:x@:9092/?__extra__=" + quote_plus('{"bootstrap.servers": "h", "n": 1}'),
        }
    ]
    fake_airflow(only_path, f"echo '[warning] old'; /bin/cat <<'END'\n{json.dumps(printed)}\nEND")
    assert find_connection("wh") == Connection(
        "wh", "kafka", None, 9092, None, SECRET, None, {"bootstrap.servers": "h", "n": 1}
    )


def test_our_own_airflow_comes_before_another_one_on_the_path(only_path: Path) -> None:
    """The command beside the interpreter is asked; one on the path may belong to another Airflow."""
    fake_airflow(only_path, "echo 'Connection not found.' >&2; exit 1")
    (only_path / "bin").mkdir()
    fake_airflow(only_path / "bin", """echo '[{"conn_id": "wh", "conn_type": "kafka"}]'""")
    assert find_connection("wh") == Connection("wh", "kafka")


def test_the_airflow_command_doesnt_know_it(only_path: Path) -> None:
    """An unknown connection is None, like one that nobody defined."""
    fake_airflow(only_path, "echo 'Connection not found.' >&2; exit 1")
    assert find_connection("wh") is None


@pytest.mark.parametrize(
    "script", ["nosuchprogram", f"echo '{SECRET}' >&2; exit 2", f"echo '{SECRET}'", "echo '[{broken'"]
)
def test_a_failing_airflow_command_is_not_quoted(script: str, only_path: Path) -> None:
    """What it printed may hold anything, so the message only says how to look."""
    fake_airflow(only_path, script)
    with pytest.raises(SettingsError, match="run it by hand") as caught:
        find_connection("wh")
    assert SECRET not in str(caught.value)
