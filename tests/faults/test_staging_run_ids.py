"""Run ids that try to be paths, patterns, shell or SQL: they name a run and do nothing else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.looking import query
from tests.support.records import sign_ups
from tests.support.steps import Case, OneRun
from topicledger.airflow.ledger import Ledger
from topicledger.staged_files.folder import is_staged_name

EVERYTHING = "../~root/.:+*?[!a]{a,b};$(touch planted)`touch planted`&&touch planted|'\"\\%s{{ 1 }}\n--é"

IDS = [
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "~",
    "manual__2026-01-02T03:04:05+00:00",
    ".hidden",
    "*",
    "[0-9]*",
    "-rf",
    "x; touch planted",
    "$(touch planted)",
    "'; DROP TABLE user_signups; --",
    "%s %(x)s {0} {{ x }}",
    "r" * 250,
    "läuft-日本-🙂-\u202e",
    "",
    " ",
    "\t\n",
]


def shell_command() -> str:
    """Give the command of the DAG's BashOperator."""
    return str(Ledger("topicledger.signups:SIGNUPS").clean_up()["bash_command"])


def clean_up(run: OneRun) -> None:
    """Run the clean-up's command as the BashOperator does."""
    environment = {"STAGING_DIR": run.case.pipeline.staging_dir, "BATCH_ID": run.batch_id}
    subprocess.run(["bash", "-c", shell_command()], env={**os.environ, **environment}, check=True)


def require_harmless(case: Case, name: str, number: int) -> None:
    """Under this id everything works, all staged names are our own, and only this run's files are removed."""
    folder = Path(case.pipeline.staging_dir)
    case.send(sign_ups([number]))
    run, other = OneRun(case, name), OneRun(case, f"{name}.")
    other.consume()
    run.consume()
    assert all(is_staged_name(path.name) for path in case.staged_files() if path.name != "decoy")
    assert run.load().loaded == 1
    run.reconcile()
    clean_up(run)
    assert {path.name.split(".")[0] for path in case.staged_files()} == {"decoy", f"kafka_staging_{other.batch_id}"}
    clean_up(other)
    assert case.staged_files() == [folder / "decoy"]
    stored = query(case.place, "SELECT batch_id, run_id FROM topicledger_batches")
    assert (run.batch_id, name) in stored


@pytest.mark.fault(72, "goes on")
def test_everything_in_one_id(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id with all of it at once goes through every step and ends as text in the ledger."""
    monkeypatch.chdir(tmp_path)
    (Path(case.pipeline.staging_dir) / "decoy").touch()
    before = sorted(tmp_path.iterdir())
    require_harmless(case, EVERYTHING, 0)
    assert [path for path in sorted(tmp_path.iterdir()) if path not in before and path.name != "warehouse"] == []
    case.oracle().require_every_record_once()


@pytest.mark.slow
@pytest.mark.fault(72, "goes on")
def test_each_id(case: Case) -> None:
    """Each of these ids is a run of its own, with files, ledger row and clean-up of its own."""
    (Path(case.pipeline.staging_dir) / "decoy").touch()
    for number, name in enumerate(IDS):
        require_harmless(case, name, number)
    assert len({OneRun(case, name).batch_id for name in IDS}) == len(IDS)
    case.oracle().require_every_record_once()
