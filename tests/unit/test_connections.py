"""Connections for the command: as JSON in the environment, and no secret in any message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from topicledger.cli.connections import find_connection, parse_json, require_connection
from topicledger.connection import Connection
from topicledger.errors import SettingsError

SECRET = "p@ss:/w0rd%?#é"


@pytest.fixture(autouse=True)
def _without_airflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """There is no Airflow to ask."""
    monkeypatch.setattr("topicledger.cli.connections.sys.executable", str(tmp_path / "python"))
    for name in ("AIRFLOW_CONN_WH", "AIRFLOW__SECRETS__BACKEND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))


def test_every_field_arrives() -> None:
    """Extra is an object or text, a port a number or text; the type is spelled as Airflow spells it."""
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
    assert parse_json("wh", json.dumps(given)) == expected
    given["extra"] = json.dumps(given["extra"])
    assert parse_json("wh", json.dumps(given)) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"password": "S3cret"',
        '{"password": "S3cret", "extra": "{broken S3cret"}',
        '{"password": "S3cret", "extra": ["S3cret"]}',
        '{"password": "S3cret", "port": "S3cret"}',
        '{"conn_type": "postgres", "user": "S3cret"}',
    ],
)
def test_unreadable_text_is_named_and_not_quoted(text: str) -> None:
    """The message names the connection; neither it nor its causes hold a part of the text."""
    with pytest.raises(SettingsError) as caught:
        parse_json("wh", text)
    assert "connection wh" in str(caught.value)
    assert "S3cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_field_that_airflow_refuses() -> None:
    """A JSON key that is no field of a connection is named: a run would find no connection at all."""
    with pytest.raises(SettingsError, match="connection wh has user, which Airflow refuses"):
        parse_json("wh", '{"conn_type": "postgres", "user": "etl"}')


def test_repr_shows_no_secret() -> None:
    """A log line with the fields doesn't leak password or Extra."""
    found = Connection("wh", "postgres", password=SECRET, extra={"sasl.password": SECRET})
    assert SECRET not in repr(found)


def test_missing_without_airflow() -> None:
    """None; and for a connection that has to be there an error that shows how to define it."""
    assert find_connection("wh") is None
    with pytest.raises(SettingsError) as caught:
        require_connection("wh", '{"conn_type": "duckdb"}')
    assert 'AIRFLOW_CONN_WH=\'{"conn_type": "duckdb"}\'' in str(caught.value)
