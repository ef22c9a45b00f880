"""The command `topicledger` as its console script runs it, in this process, on connections from the environment."""

from __future__ import annotations

import dataclasses
import importlib
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.steps import Case
from topicledger.cli import app as cli
from topicledger.connection import Connection


class Ran(NamedTuple):
    """How one call ended and what it printed, but for what it waited for."""

    status: int
    out: str
    err: str


class Command:
    """Runs the command in a folder of its own, which is its AIRFLOW_HOME too; there is no Airflow to ask.

    What the last call said that it waits for is in `waited`: on a busy machine that may be anything.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.folder = folder
        self.waited: list[str] = []
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.setattr(sys, "path", list(sys.path))
        # Airflow, once it was imported here, has the root logger write to a stream that may be closed by now.
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
        monkeypatch.setenv("AIRFLOW_HOME", str(folder / "airflow"))
        monkeypatch.delenv("AIRFLOW__CORE__DAGS_FOLDER", raising=False)
        monkeypatch.chdir(folder)

    def connect(self, conn_id: str, fields: Mapping[str, Any]) -> None:
        """Define a connection."""
        self._monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    def connect_kafka(self, extra: Mapping[str, Any]) -> None:
        """Define `kafka_default`."""
        self.connect("kafka_default", {"conn_type": "kafka", "extra": dict(extra)})

    def connect_warehouse(self, place: Connection) -> None:
        """Define `warehouse_default`."""
        fields = {name: value for name, value in dataclasses.asdict(place).items() if value and name != "conn_id"}
        self.connect("warehouse_default", fields)

    def put_dag_file(
        self,
        declared: Mapping[str, object],
        path: str = "airflow/dags/some_dag.py",
        *,
        of: str = "topicledger.signups:SIGNUPS",
        schedule: str = "@daily",
        produces: bool = True,
        **conn_ids: str,
    ) -> Path:
        """Write a DAG file for that pipeline, declared otherwise as said; it has no import of Airflow."""
        module, _, name = of.partition(":")
        given = ", ".join([f"schedule={schedule!r}", *(f"{key}={value!r}" for key, value in conn_ids.items())])
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            f"import dataclasses\nimport {module}\nfrom topicledger.airflow import Ledger\n"
            f"PIPELINE = dataclasses.replace({module}.{name}, **{dict(declared)!r})\n"
            f"LEDGER = Ledger(PIPELINE, {given})\n"
            + ("@LEDGER.task\ndef generate_and_produce_data(run):\n    pass\n" if produces else "")
        )
        return file

    def forget(self, module: str) -> None:
        """Import a module anew when it is next asked for."""
        self._monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()

    def __call__(self, *arguments: str) -> Ran:
        """Run it to its end."""
        self._capsys.readouterr()
        status = 0
        with self._monkeypatch.context() as patched:
            patched.setattr(sys, "argv", ["topicledger", *arguments])
            # No Airflow can be asked from here.
            patched.setattr(sys, "executable", str(self.folder / "python"))
            try:
                cli.main()
            except SystemExit as ended:
                status = int(ended.code or 0)
        captured = self._capsys.readouterr()
        said = captured.err.splitlines(keepends=True)
        self.waited = [line for line in said if line.startswith("waiting  ")]
        return Ran(status, captured.out, "".join(line for line in said if line not in self.waited))


def connected(command: Command, case: Case, *, dag: Mapping[str, Any] | None = None, **declared: object) -> Path:
    """Define both connections of a case, and put a DAG file for it where Airflow looks."""
    command.connect_kafka(case.kafka.extra)
    command.connect_warehouse(case.place)
    own = {"name": case.pipeline.name, "topic": case.topic, **declared}
    return command.put_dag_file(own, **(dag or {}))


def problems(ran: Ran) -> list[str]:
    """The problems that a check told of; nothing else may be on stderr, and the exit status must fit."""
    lines = ran.err.splitlines()
    assert all(line.startswith("problem  ") for line in lines), ran.err
    assert ran.status == (1 if lines else 0)
    assert ("Nothing would stop a run." in ran.out) is not bool(lines)
    return [line.removeprefix("problem  ") for line in lines]
