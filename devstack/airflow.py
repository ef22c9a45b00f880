"""A real Airflow 3 on this machine: scheduler with LocalExecutor, API server, DAG processor."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import sys
import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from devstack import airflow_settings
from devstack.airflow_api import AirflowApi
from devstack.airflow_settings import AirflowSettings, write_settings
from devstack.errors import StackError
from devstack.ports import remembered_ports
from devstack.service import Service, stop_services, wait_until_ready

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_START_LIMIT_S = 120

# Airflow makes millions of objects at its start and keeps them all: a garbage collector that looks at them less
# often takes a third off the time until the API server answers.
_COMMAND_LINE = "import gc; gc.set_threshold(100_000, 50, 100); from airflow.__main__ import main; main()"

# The scheduler waits for the end of running tasks when it is asked to end; nobody else does.
_GRACE_S = 2
_COMPONENTS = {
    "scheduler": ["scheduler", "--skip-serve-logs"],
    "api-server": ["api-server"],
    "dag-processor": ["dag-processor"],
}


class Airflow:
    """An Airflow of our own. Its runs, connections and logs survive `stop`; `start` brings them back.

    Args:
        folder: AIRFLOW_HOME; everything it keeps is in here.
        dags_folders: where the DAG files are.
        env: added to the environment of all its processes, tasks included.
        overrides: settings that win over ours, `section.key` to value.
        port: where the API server listens; None takes a free one, and the same again next time.
        metadata_url: the metadata database; empty for SQLite in `folder`.
    """

    def __init__(
        self,
        folder: Path,
        dags_folders: Sequence[Path],
        *,
        env: Mapping[str, str] | None = None,
        overrides: Mapping[str, str] | None = None,
        port: int | None = None,
        metadata_url: str = "",
    ) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        port = port or remembered_ports(["api"], self.folder / "ports.json")["api"]
        self.settings = AirflowSettings(
            self.folder, [f.absolute() for f in dags_folders], port, metadata_url, overrides or {}
        )
        self.env = _environment(self.folder, env or {})
        self.services: list[Service] = []
        self.api = AirflowApi(self.url, self.login)
        self._started_at = 0.0

    @property
    def url(self) -> str:
        """The address of UI and API."""
        return self.settings.url

    def login(self) -> tuple[str, str]:
        """Returns account and password of the administrator."""
        return airflow_settings.ADMIN, airflow_settings.password(self.folder)

    def start(self) -> None:
        """Returns when the API answers. The metadata database is made or upgraded first when it has to be.

        Raises:
            StackError: a part doesn't come up; the message has the end of its log.
        """
        write_settings(self.settings)
        self._migrate()
        self.api = AirflowApi(self.url, self.login)
        self._started_at = time.time()
        api_server = self.start_component("api-server")
        self.start_component("scheduler")
        if not self._parsed_before():
            self.start_component("dag-processor")
        wait_until_ready(api_server, self.api.answers, _START_LIMIT_S)
        if self._parsed_before():
            # It has nothing to do that anyone waits for: so it doesn't slow the others down.
            self.start_component("dag-processor")

    def start_component(self, name: str) -> Service:
        """Starts `scheduler`, `api-server` or `dag-processor`, which doesn't run now."""
        service = Service.start(
            f"Airflow's {name}",
            [*_airflow(), *_COMPONENTS[name]],
            folder=self.folder,
            log=self.folder / f"{name}.log",
            env=self.env,
            grace_s=_GRACE_S,
        )
        self.services = [*(old for old in self.services if old.name != service.name), service]
        return service

    def wait_for_dag(self, dag_id: str, limit_s: float = 60) -> None:
        """Returns when the DAG is known as its files are now: parsed since this start, or before and unchanged.

        Raises:
            StackError: the file doesn't import, or no file defines that DAG.
        """
        if self._parsed_before() and self.api.dag(dag_id):
            return
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            dag = self.api.dag(dag_id)
            parsed = dag and dag["last_parsed_time"]
            if parsed and datetime.fromisoformat(parsed).timestamp() >= self._started_at:
                self._parsed.write_text(self._dags_digest())
                return
            if errors := self.api.import_errors():
                trace = "\n".join(f"{name}:\n{error}" for name, error in errors.items())
                raise StackError(f"Airflow can't import the DAG files:\n{trace}", "Correct what the last line says.")
            for service in self.services:
                service.expect_alive()
            time.sleep(0.3)
        folders = ", ".join(str(folder) for folder in self.settings.dags_folders)
        raise StackError(
            f"No DAG {dag_id} in {folders} after {limit_s:.0f} s.", f"Read {self.folder}/dag-processor.log."
        )

    def stop(self) -> None:
        """Ends all of it, tasks that still run included."""
        self.api.close()
        stop_services(self.services)

    def cli(self, *arguments: str, limit_s: float = 120) -> str:
        """Runs one `airflow` command against this Airflow and returns what it printed.

        Raises:
            StackError: the command failed; the message has its output.
        """
        log = self.folder / f"cli-{arguments[0]}.log"
        log.unlink(missing_ok=True)
        command = Service.start(
            f"`airflow {' '.join(arguments)}`",
            [*_airflow(), *arguments],
            folder=self.folder,
            log=log,
            env=self.env,
        )
        if command.wait(limit_s):
            raise StackError(f"{command.name} failed:\n{command.log_tail(40)}", f"Read {log}.")
        return log.read_text(errors="replace")

    @property
    def _parsed(self) -> Path:
        return self.folder / "parsed"

    def _parsed_before(self) -> bool:
        return self._parsed.exists() and self._parsed.read_text() == self._dags_digest()

    def _dags_digest(self) -> str:
        digest = hashlib.sha256(self.settings.database.encode())
        for folder in self.settings.dags_folders:
            for path in sorted(folder.rglob("*.py")):
                digest.update(f"{path}\0".encode() + path.read_bytes())
        return digest.hexdigest()

    def _migrate(self) -> None:
        version = importlib.metadata.version("apache-airflow-core")
        stamp = self.folder / "migrated"
        wanted = f"{version} {self.settings.database}"
        lost = not self.settings.metadata_url and not (self.folder / "airflow.db").exists()
        if not lost and stamp.exists() and stamp.read_text() == wanted:
            return
        self.cli("db", "migrate", limit_s=300)
        stamp.write_text(wanted)


def _airflow() -> list[str]:
    return [sys.executable, "-P", "-c", _COMMAND_LINE]


def _environment(home: Path, env: Mapping[str, str]) -> dict[str, str]:
    # A person's own Airflow may have left its variables here; they would win over our airflow.cfg.
    own = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    without_proxy = ",".join(part for part in (os.environ.get("NO_PROXY"), "127.0.0.1,localhost") if part)
    return {
        **own,
        "AIRFLOW_HOME": str(home),
        "NO_PROXY": without_proxy,
        "no_proxy": without_proxy,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        **env,
    }


@contextmanager
def running_airflow(
    folder: Path,
    dags_folder: Path,
    env: Mapping[str, str] | None = None,
    *,
    overrides: Mapping[str, str] | None = None,
    metadata_url: str = "",
) -> Iterator[Airflow]:
    """Gives an Airflow that answers, and leaves no process behind, whatever happens in between."""
    airflow = Airflow(folder, [dags_folder], env=env, overrides=overrides, metadata_url=metadata_url)
    try:
        airflow.start()
        yield airflow
    finally:
        airflow.stop()
