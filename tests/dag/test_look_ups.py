"""What is Airflow's is what Airflow says: where things are, what a connection says, which executors there are."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from tests.dag.processes import DAGS, ENGINE, SITE_PACKAGES, ask
from topicledger.cli.airflow_settings import airflow_home, dags_folder
from topicledger.cli.connections import find_connection
from topicledger.errors import SettingsError

CONNECTIONS = [
    "postgres://m%40e:p%40ss%2F@DB.Example:5433/w%2Fh?sslmode=require&keepalives=1",
    '{"conn_type": "postgresql", "host": "h", "port": "5433", "extra": {"a": 1, "b": "2"}}',
    '{"conn_type": "kafka", "extra": "{\\"a\\": {\\"b\\": \\"7\\"}}", "description": "of text"}',
    '{"conn_type": "postgres", "user": "etl"}',
    '{"conn_type": "postgres", "port": "x"}',
]
LOCAL = "airflow.executors.local_executor.LocalExecutor"
EXECUTORS = {
    "LocalExecutor": True,
    LOCAL: True,
    f"mine:{LOCAL}": True,
    "mine:LocalExecutor": True,
    "CeleryExecutor": False,
    "LocalExecutor,KubernetesExecutor": False,
    f"some.other.Executor,{LOCAL}": False,
    "some.other.LocalExecutor": False,
    "LocalExecutor;team=CeleryExecutor": False,
    "LocalExecutor;team=LocalExecutor": True,
}


def _environments(folder: Path) -> list[dict[str, str]]:
    """Places that are said in the environment, in a file, by default; with a home, a variable, one within another."""
    (folder / "of_file").mkdir()
    (folder / "of_file" / "airflow.cfg").write_text("[core]\ndags_folder = $INNER/100%%/dags\n")
    (folder / "other.cfg").write_text("[core]\ndags_folder = ~/of/another/file\n")
    base = {"HOME": str(folder), "INNER": "~/inner", "OUTER": "$INNER/outer"}
    return [
        {**base, "AIRFLOW_HOME": "$HOME/airflow"},
        {**base, "AIRFLOW_HOME": "~/airflow"},
        {**base, "AIRFLOW_HOME": "${OUTER}/airflow"},
        {**base, "AIRFLOW_HOME": str(folder / "of_file")},
        {**base, "AIRFLOW_HOME": str(folder / "of_file"), "AIRFLOW_CONFIG": "$HOME/other.cfg"},
        {**base, "AIRFLOW_HOME": str(folder / "of_file"), "AIRFLOW__CORE__DAGS_FOLDER": "$OUTER/dags"},
    ]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Airflow's own answers, with the environments that they are for."""
    folder = tmp_path_factory.mktemp("asked")
    given = {"connections": CONNECTIONS, "executors": list(EXECUTORS), "environments": _environments(folder)}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("KEPT_IN", str(folder))
        answers, _ = ask("look_up.py", [], Path("$KEPT_IN/home"), [DAGS, ENGINE, SITE_PACKAGES], given=given)
    return {**answers, "environments": given["environments"], "home": folder / "home"}


@pytest.mark.fault(122, "goes on")
def test_a_home_with_a_variable(asked: dict[str, Any]) -> None:
    """With AIRFLOW_HOME='$KEPT_IN/home' the default warehouse is in the folder that Airflow takes it for."""
    assert (asked["home"] / "warehouse" / "topicledger.duckdb").is_file()


@pytest.mark.fault(122, "goes on")
def test_where_airflow_keeps_its_things(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command finds Airflow's home and its dags folder where Airflow has them."""
    for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
        monkeypatch.delenv(name)
    for environment, places in zip(asked["environments"], asked["places"], strict=True):
        with monkeypatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            assert [str(airflow_home()), str(dags_folder())] == places


def test_a_configuration_that_airflow_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused by its path, not passed over for the default."""
    monkeypatch.delenv("AIRFLOW__CORE__DAGS_FOLDER", raising=False)
    monkeypatch.setenv("AIRFLOW_CONFIG", str(tmp_path / "airflow.cfg"))
    (tmp_path / "airflow.cfg").write_text("no section\n")
    with pytest.raises(SettingsError, match=r"Airflow's configuration \S+/airflow\.cfg can't be read"):
        dags_folder()


@pytest.mark.parametrize("text", CONNECTIONS)
def test_a_connection_of_the_environment(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    """The command reads it as a task gets it, and refuses what a task doesn't get."""
    monkeypatch.setenv("AIRFLOW_CONN_ASKED", text)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    of_airflow = asked["connections"][CONNECTIONS.index(text)]
    if of_airflow is None:
        with pytest.raises(SettingsError):
            find_connection("asked")
        return
    found = find_connection("asked")
    assert found is not None
    ours = dataclasses.asdict(found)
    assert {name: ours[name] or None for name in of_airflow} | {"extra": ours["extra"]} == of_airflow


@pytest.mark.parametrize(("setting", "local"), EXECUTORS.items())
def test_executors_on_this_machine(asked: dict[str, Any], setting: str, local: bool) -> None:
    """DuckDB is the default only where all executors that Airflow takes the setting for share this disk."""
    found = asked["executors"][list(EXECUTORS).index(setting)]
    assert (set(found["classes"]) == {LOCAL}) is local
    assert found["elsewhere"] == ("" if local else f"the executor is {setting}")
