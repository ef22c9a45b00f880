"""An Airflow as a user has it: an environment of its own, the wheel in it, and nothing of this checkout on its path."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devstack.home import ROOT
from devstack.ports import LOCALHOST, free_port
from devstack.service import Service, stop_services

LIMIT_S = 240.0
"""How long one command, or one wait, may take; long enough that reaching it means that something hangs."""

_OURS = ("AIRFLOW", "PYTHON", "VIRTUAL_ENV", "TOPICLEDGER", "COVERAGE")

# As they were when the tests began: a visit runs beside tests that change both for a moment.
_PYTHON = sys.executable
_ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}


@dataclass(frozen=True)
class UsersAirflow:
    """One installed Airflow with a home of its own.

    Args:
        version: Airflow's version.
        folder: Everything it has is in here.
        metadata_url: Its metadata database; empty for SQLite.
        components: What has to run besides the scheduler.
    """

    version: str
    folder: Path
    metadata_url: str = ""
    components: Sequence[str] = ()

    @property
    def home(self) -> Path:
        """AIRFLOW_HOME."""
        return self.folder / "airflow"

    @property
    def dags(self) -> Path:
        """Its dags folder."""
        return self.home / "dags"

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return self.folder / "venv" / "bin" / "python"

    def make(self, packages: Sequence[str]) -> None:
        """Make the environment, with this Airflow and further packages, and the empty home."""
        self.folder.mkdir()
        wanted = _PYTHON if self.version.startswith("3.") else ">=3.11,<3.13"
        run_uv(self.folder, "venv", "--python", wanted, str(self.folder / "venv"))
        self.install([f"apache-airflow=={self.version}", *packages])
        self.dags.mkdir(parents=True)

    def install(self, packages: Sequence[str]) -> None:
        """Install further packages without changing Airflow's version."""
        wanted = [*packages, f"apache-airflow=={self.version}"]
        run_uv(self.folder, "pip", "install", "--python", str(self.python), *wanted)

    def command(self, name: str, *arguments: str, may_fail: bool = False) -> str:
        """Run a command of the environment as its user would, and return what it printed."""
        program = str(self.python.with_name(name))
        return run([program, *arguments], self.environment(), cwd=self.folder, may_fail=may_fail)

    def airflow_json(self, *arguments: str, may_fail: bool = False) -> list[dict[str, Any]]:
        """Run an `airflow` command with `-o json` and return the list that it printed."""
        output = self.command("airflow", *arguments, "-o", "json", may_fail=may_fail)
        # Airflow may print warnings before its JSON.
        begin = output.find("[{")
        found: list[dict[str, Any]] = json.loads(output[begin:]) if begin >= 0 else []
        return found

    @contextmanager
    def running(self) -> Iterator[list[Service]]:
        """Run the scheduler and what this version needs beside it."""
        services: list[Service] = []
        try:
            services.extend(self._start(name) for name in ("scheduler", *self.components))
            yield services
        finally:
            stop_services(services)

    def logs(self) -> str:
        """The ends of all logs, for a failure's message."""
        newest = sorted(self.home.rglob("*.log"), key=lambda path: path.stat().st_mtime)[-8:]
        return "\n".join(f"--- {path}\n{path.read_text(errors='replace')[-2_000:]}" for path in newest)

    def environment(self) -> dict[str, str]:
        """The environment of all its processes: what a user exports, by Airflow's own names."""
        settings = {
            "USERS_FOLDER": str(self.folder),
            "AIRFLOW_HOME": f"$USERS_FOLDER/{self.home.name}",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        if self.metadata_url:
            settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = self.metadata_url
        return {**_environment(), **settings, **self._addresses()}

    def _addresses(self) -> Mapping[str, str]:
        if "api-server" not in self.components:
            return {}
        file = self.folder / "port"
        if not file.exists():
            file.write_text(str(free_port()))
        url = f"http://{LOCALHOST}:{file.read_text()}"
        return {
            "AIRFLOW__API__HOST": LOCALHOST,
            "AIRFLOW__API__PORT": file.read_text(),
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        }

    def _start(self, name: str) -> Service:
        # Each component serves its logs on a port of all interfaces unless told not to.
        quiet = ["--skip-serve-logs"] if name == "scheduler" else []
        return Service.start(
            f"Airflow {self.version}'s {name}",
            [str(self.python.with_name("airflow")), name, *quiet],
            folder=self.folder,
            log=self.home / f"{name}.log",
            env=self.environment(),
            grace_s=3,
        )


def wait_until(what: str, services: Sequence[Service], look: Callable[[], object]) -> None:
    """Look until there is something, and fail when a service ends or that takes longer than anything should."""
    deadline = time.monotonic() + LIMIT_S
    while not look():
        for service in services:
            service.expect_alive()
        assert time.monotonic() < deadline, f"{what}: not within {LIMIT_S:.0f} s"
        time.sleep(0.2)


def build_wheel(folder: Path) -> Path:
    """Build the wheel from the checkout, with the build backend of this environment."""
    options = ["--wheel", "--no-build-isolation", "--python", _PYTHON, "--out-dir", str(folder)]
    run_uv(folder, "build", *options, str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return wheel


def run_uv(folder: Path, *arguments: str) -> None:
    """Run the uv of the environment that the tests run in; its temporary files, locks too, stay in the folder."""
    path = f"{Path(_PYTHON).parent}{os.pathsep}{_ENVIRONMENT.get('PATH', os.defpath)}"
    program = shutil.which("uv", path=path)
    assert program, "uv is missing: `make setup` installs it"
    run([program, "-q", *arguments], {**_environment(), "TMPDIR": str(folder)})


def run(command: Sequence[str], environment: Mapping[str, str], *, cwd: Path = ROOT, may_fail: bool = False) -> str:
    """Run a command; return what it printed, or fail with that."""
    done = subprocess.run(
        command,
        env=dict(environment),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    output = done.stdout if may_fail or done.returncode == 0 else done.stdout + done.stderr
    assert may_fail or done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{output}"
    return output


def _environment() -> dict[str, str]:
    """This process's environment without what would lead back to this checkout or to another Airflow."""
    hosts = ",".join(part for part in (_ENVIRONMENT.get("NO_PROXY"), f"{LOCALHOST},localhost") if part)
    return {**_ENVIRONMENT, "UV_PYTHON_DOWNLOADS": "never", "NO_PROXY": hosts, "no_proxy": hosts}
