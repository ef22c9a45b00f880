"""Files of a try that ended before their manifest: nobody loads them, nobody is in their way, and they are removed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.support.records import Record, sign_ups
from tests.support.step_process import run_step
from tests.support.steps import Case, OneRun
from topicledger.errors import IntegrityError
from topicledger.staged_files.opened_batch import ManifestHandle


@pytest.mark.slow
@pytest.mark.fault(6, "retried")
@pytest.mark.parametrize("point", ["step-12.synced", "step-12.files_renamed"])
def test_files_without_a_manifest(case: Case, tmp_path: Path, point: str) -> None:
    """A batch exists by its manifest alone, which comes last: without it not even the whole files are loaded."""
    case.send([*sign_ups(range(300), partitions=2), Record(b"{"), Record(None)])
    crash = tmp_path / "crash"
    crash.mkdir()
    run = OneRun(case)
    assert not run_step(run, "consume", (crash, point))
    orphans = case.staged_files()
    assert orphans
    assert not any(path.name.endswith("manifest.json") for path in orphans)
    run.consume()
    assert {path.name.split(".")[1] for path in orphans}.isdisjoint(
        path.name.split(".")[1] for path in case.staged_files() if path not in orphans
    )
    require_not_loaded(run, orphans[0])
    assert run.load().loaded == 300
    run.reconcile()
    run.clean_up()
    assert case.staged_files() == []
    case.oracle().require_every_record_once()


def require_not_loaded(run: OneRun, orphan: Path) -> None:
    """Even with a handle made for them, the files without a manifest are no batch."""
    assert run.staged is not None
    stem = str(orphan.with_name(".".join(orphan.name.split(".")[:2])))
    handle = ManifestHandle(f"{stem}.manifest.json", "0" * 64, run.batch_id, run.staged.handle.plan_id)
    staged = dataclasses.replace(run.staged, rows_path=f"{stem}.csv", handle=handle)
    with pytest.raises(IntegrityError, match="is gone and the ledger doesn't have its plan"):
        dataclasses.replace(run, staged=staged).load()
