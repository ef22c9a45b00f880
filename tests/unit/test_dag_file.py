"""What the command reads in a DAG file without running it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from topicledger.cli.dag_file import read_dag_file
from topicledger.errors import SettingsError


def written(folder: Path, text: str) -> Path:
    path = folder / "some_dag.py"
    path.write_text(text)
    return path


def test_what_is_no_literal(tmp_path: Path) -> None:
    """A constant that is computed is named; nothing of the file is run."""
    text = "import os\nTOPIC = os.environ['T']\nTABLE: str = 'a.b'\nraise SystemExit\n"
    read = read_dag_file(written(tmp_path, text))
    assert (read.constants, read.unread, read.schedule, read.events) == ({"TABLE": "a.b"}, ("TOPIC",), None, None)


@pytest.mark.parametrize(
    ("code", "schedule"),
    [
        ("DAG('d', schedule='@hourly')", "@hourly"),
        ("EVERY = '0 6 * * *'\nwith DAG('d', schedule=EVERY) as dag:\n    pass", "0 6 * * *"),
        ("sdk.DAG('d', schedule=dt.timedelta(hours=6, minutes=30))", dt.timedelta(hours=6.5)),
        ("DAG('d', schedule=timedelta(days=N))", None),
        ("DAG('d', schedule=[Asset('a')])", None),
        ("DAG('d', schedule=None)", None),
        ("DAG('d')", None),
    ],
)
def test_the_schedule(tmp_path: Path, code: str, schedule: str | dt.timedelta | None) -> None:
    """A text or an interval of literals, there or in a constant; anything else isn't known."""
    assert read_dag_file(written(tmp_path, code)).schedule == schedule


@pytest.mark.parametrize(
    ("params", "events"),
    [("{'events': Param(0, type='integer')}", 0), ("{'events': 5}", 5), ("{'events': Param(N)}", None), ("P", None)],
)
def test_the_default_of_events(tmp_path: Path, params: str, events: int | None) -> None:
    """The param's default, however it is declared; None when it isn't a literal."""
    assert read_dag_file(written(tmp_path, f"DAG('d', params={params})")).events == events


@pytest.mark.parametrize("text", ["TOPIC = (", "\x00"])
def test_a_file_that_is_no_python(tmp_path: Path, text: str) -> None:
    """It is refused by its path, and so is one that isn't there."""
    with pytest.raises(SettingsError, match=r"some_dag\.py can't be read"):
        read_dag_file(written(tmp_path, text))
    with pytest.raises(SettingsError, match=r"absent\.py can't be read"):
        read_dag_file(tmp_path / "absent.py")
