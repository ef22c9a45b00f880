"""What Airflow's settings on this machine say, for the command, which can't wait the seconds of Airflow's import.

It looks where Airflow looks, in its order, and expands `~` and variables as it does: tests/dag/test_look_ups.py holds
the answers to Airflow's own.
"""

from __future__ import annotations

import configparser
import os
from pathlib import Path

from topicledger.errors import SettingsError


def airflow_home() -> Path:
    """Where Airflow keeps its files; it need not be there."""
    return Path(_expanded(os.environ.get("AIRFLOW_HOME", "~/airflow")))


def dags_folder() -> Path:
    """Where Airflow looks for DAG files, unless it is told of other bundles.

    Raises:
        SettingsError: Airflow's configuration file can't be read.
    """
    folder = setting("core", "dags_folder")
    return airflow_home() / "dags" if folder is None else Path(folder)


def setting(section: str, key: str) -> str | None:
    """One of Airflow's settings, from the environment, else from its file; None where neither has it.

    Raises:
        SettingsError: Airflow's configuration file can't be read.
    """
    variable = f"AIRFLOW__{section}__{key}".upper()
    if variable in os.environ:
        return _expanded(os.environ[variable])
    path = _expanded(os.environ.get("AIRFLOW_CONFIG", str(airflow_home() / "airflow.cfg")))
    file = configparser.ConfigParser()
    try:
        file.read(path, encoding="utf-8")
        found = file.get(section, key, fallback=None)
    except (configparser.Error, UnicodeDecodeError) as error:
        raise SettingsError(
            f"Airflow's configuration {path} can't be read, by Airflow neither: {error}",
            code="airflow-config-unreadable",
        ) from error
    return None if found is None else _expanded(found)


def _expanded(text: str) -> str:
    """Expand `~` and variables until nothing changes any more."""
    once = os.path.expanduser(os.path.expandvars(text))  # noqa: PTH111 - as Airflow: an unknown `~name` stays
    return once if once == text else _expanded(once)
