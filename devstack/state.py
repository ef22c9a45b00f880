"""What stands, written down, so that another command finds it and can end it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devstack import airflow_settings
from devstack.airflow_api import AirflowApi
from devstack.service import Service, kill_all, marked_processes, stop_services

if TYPE_CHECKING:
    from devstack.home import WarehouseKind


@dataclass(frozen=True, slots=True)
class Standing:
    """A started stack.

    Attributes:
        home: its data folder.
        bootstrap: the broker's address.
        airflow_url: the address of Airflow's UI.
        warehouse: where rows go.
        postgres_dsn: the PostgreSQL warehouse, as psycopg takes it, or empty.
        services: the programs that we started.
    """

    home: Path
    bootstrap: str
    airflow_url: str
    warehouse: WarehouseKind
    postgres_dsn: str
    services: tuple[Service, ...]

    @property
    def airflow_home(self) -> Path:
        """AIRFLOW_HOME of the stack's Airflow."""
        return self.home / "airflow"

    def login(self) -> tuple[str, str]:
        """Returns account and password of Airflow's administrator."""
        return airflow_settings.ADMIN, airflow_settings.password(self.airflow_home)

    def api(self) -> AirflowApi:
        """Returns a client of the stack's Airflow."""
        return AirflowApi(self.airflow_url, self.login)

    def fallen(self) -> list[Service]:
        """Returns the programs that should run and don't."""
        return [service for service in self.services if not service.alive()]

    def write(self, file: Path) -> None:
        """Writes the state, whole or not at all."""
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps({**asdict(self), "home": str(self.home)}, indent=2))
        fresh.replace(file)


def read_state(file: Path) -> Standing | None:
    """Returns what was written, None when nothing stands. Programs in it may have ended since."""
    if not file.exists():
        return None
    content = json.loads(file.read_text())
    services = tuple(Service(**service) for service in content.pop("services"))
    return Standing(**{**content, "home": Path(content["home"])}, services=services)


def end_everything(home: Path, services: tuple[Service, ...]) -> int:
    """Ends the services, then whatever else was started for this data folder; returns when none is left.

    Returns:
        How many processes had to be ended beyond those that went with their service.
    """
    stop_services(services)
    left = marked_processes(home)
    kill_all(left)
    return len(left)
