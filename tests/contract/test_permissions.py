"""What this user may not write on the machine's own disks stops a load for a person, by the path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.contract.batches import origin
from tests.contract.places import Place, duckdb_place, folder_place

pytestmark = pytest.mark.slow

LOAD = """
import json, sys
from tests.contract.loader import numbered
from tests.contract.batches import load
from tests.contract.places import Place
from topicledger.errors import TopicLedgerError
from topicledger.connection import Connection
try:
    warehouse = Place(Connection(**json.loads(sys.argv[1]))).ready()
    load(warehouse, numbered(0, 3, "run"))
except TopicLedgerError as error:
    print(type(error).__name__, error)
"""


def mortal(place: Place) -> str:
    """What a load says in a process that file modes hold for, as they don't for root."""
    without = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*without, sys.executable, "-c", LOAD, json.dumps(asdict(place.settings))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def closed(path: Path, place: Place) -> str:
    """What a load says while nothing may be written there."""
    mode = path.stat().st_mode
    path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        return mortal(place)
    finally:
        path.chmod(mode)


@pytest.mark.parametrize("there", [False, True])
def test_a_file_that_may_not_be_written(tmp_path: Path, there: bool) -> None:
    """DuckDB's file, or the folder that it would be created in."""
    place = duckdb_place(tmp_path)
    if there:
        origin(place.ready())
    said = closed(Path(str(place.settings.host)) if there else tmp_path, place)
    assert said.startswith("SettingsError connection warehouse_default: DuckDB file")
    assert "Permission denied" in said


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_that_may_not_be_written(tmp_path: Path, there: bool) -> None:
    """The folder of files and log, or the one that it would be created in."""
    place = folder_place(tmp_path)
    if there:
        origin(place.ready())
    said = closed(tmp_path / "lake" / "_topicledger" / "main.events" if there else tmp_path, place)
    assert said.startswith("SettingsError connection warehouse_default: ")
    assert "Permission denied. Grant this user access" in said
