"""A table without a key, in which nothing but the positions keeps a record from being loaded twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.backups import Backup
from tests.support.looking import count
from tests.support.records import Record, good, sign_ups
from tests.support.step_process import run_step
from tests.support.steps import Case, OneRun, run_steps
from topicledger.errors import IntegrityError


def send_repeats(case: Case) -> None:
    """Twenty different sign-ups, five of them twice, a dead letter and a tombstone: 27 records."""
    case.send([*sign_ups(range(20), partitions=2), *(Record(good(n)) for n in range(5)), Record(b"{"), Record(None)])


def test_kills_clears_and_a_late_attempt(case: Case, tmp_path: Path) -> None:
    """Killed before and after COMMIT, cleared, and loaded late by a zombie: each record is one row, repeats too."""
    case, crash_dir = case.changed(key=None), tmp_path / "crash"
    crash_dir.mkdir()
    send_repeats(case)
    zombie, run = OneRun(case), OneRun(case)
    zombie.consume()
    send_repeats(case)
    run.consume()
    assert not run_step(run, "load", (crash_dir, "step-19.closed"))
    assert count(case.place, case.pipeline.table) == 0
    assert not run_step(run, "load", (crash_dir, "step-19.committed"))
    assert count(case.place, case.pipeline.table) == 50
    accounts = run.load()
    assert (accounts.loaded, accounts.duplicates, accounts.conflicts, accounts.already_loaded) == (50, 0, 0, 0)
    late = zombie.load()
    assert (late.loaded, late.duplicates, late.already_loaded) == (0, 0, 27)
    assert run.reconcile() == accounts
    assert run.finish().records == 0
    assert len(case.oracle().require_every_record_once().rows) == 50


def test_a_restored_backup(case: Case) -> None:
    """After a restore of rows and ledger what is missing is loaded once, and what was staged before is refused."""
    case = case.changed(key=None)
    backup = Backup(case.place)
    send_repeats(case)
    run_steps(case, "manual__1")
    backup.take()
    try:
        send_repeats(case)
        run_steps(case, "manual__2")
        send_repeats(case)
        late = OneRun(case, "manual__3")
        late.consume()
        backup.restore()
        with pytest.raises(IntegrityError, match=r"the warehouse went back\. Nothing was loaded"):
            late.load()
        accounts = run_steps(case, "manual__4").accounts
    finally:
        backup.discard()
    assert (accounts.loaded, accounts.duplicates, accounts.already_loaded) == (50, 0, 0)
    assert len(case.oracle().require_every_record_once().rows) == 75
