"""The one folder that a stack keeps everything in, and what a person may ask for by environment variables."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from devstack.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent

WarehouseKind = Literal["duckdb", "postgres"]
WAREHOUSES: tuple[WarehouseKind, ...] = ("duckdb", "postgres")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person asked for.

    Attributes:
        home: the data folder (TOPICLEDGER_HOME).
        warehouse: where rows go (WAREHOUSE).
        bootstrap: a broker that runs already (KAFKA_BOOTSTRAP), or empty.
        airflow_port: where Airflow's UI has to be (AIRFLOW_PORT), or None for any free port.
        dags_folder: where the DAG files are.
    """

    home: Path = ROOT / ".local"
    warehouse: WarehouseKind = "duckdb"
    bootstrap: str = ""
    airflow_port: int | None = None
    dags_folder: Path = ROOT / "dags"

    @property
    def duckdb_file(self) -> Path:
        """The database file of the DuckDB warehouse."""
        return self.home / "warehouse" / "topicledger.duckdb"

    @property
    def state_file(self) -> Path:
        """Says what stands; it is there exactly as long as something does."""
        return self.home / "stack.json"


def wishes_of(environment: Mapping[str, str]) -> Wishes:
    """Reads a person's wishes.

    Raises:
        StackError: one of them can't be.
    """
    warehouse = environment.get("WAREHOUSE") or "duckdb"
    if warehouse not in WAREHOUSES:
        raise StackError(f"WAREHOUSE={warehouse} is unknown here.", f"Use one of: {', '.join(WAREHOUSES)}.")
    port = environment.get("AIRFLOW_PORT") or ""
    if port and not (port.isdigit() and 0 < int(port) < 65536):
        raise StackError(f"AIRFLOW_PORT={port} is not a port.", "Use a number from 1 to 65535, or unset it.")
    return Wishes(
        home=Path(environment.get("TOPICLEDGER_HOME") or ROOT / ".local").expanduser().absolute(),
        warehouse=warehouse,
        bootstrap=environment.get("KAFKA_BOOTSTRAP") or "",
        airflow_port=int(port) if port else None,
    )


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Holds the data folder for one command at a time.

    Raises:
        StackError: another command holds it, or the folder can't be written.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        file = (home / "lock").open("a+")
    except OSError as error:
        raise StackError(
            f"The data folder {home} can't be written: {error.strerror}.",
            "Make it writable, or name another one in TOPICLEDGER_HOME.",
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StackError(
                f"Another command (process {file.read().strip() or 'unknown'}) is working in {home}.",
                "Wait for it, stop it by Ctrl-C, or name another data folder in TOPICLEDGER_HOME.",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
