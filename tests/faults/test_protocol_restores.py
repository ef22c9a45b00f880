"""The warehouse goes back to an older state: what was staged before doesn't load, and what it lacks is loaded again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.backups import Backup
from tests.support.looking import count
from tests.support.records import Record, sign_ups
from tests.support.steps import Case, OneRun, run_steps
from topicledger.errors import IntegrityError

EVERY_KEY = True


@pytest.fixture
def backup(case: Case) -> Iterator[Backup]:
    """A backup of the case's warehouse, not taken yet."""
    backup = Backup(case.place)
    yield backup
    backup.discard()


@pytest.mark.fault(90, "stopped")
def test_restored_between_plan_and_load(case: Case, backup: Backup) -> None:
    """A batch staged before the restore is refused; the next run loads all that is missing, and nothing twice."""
    case.send(sign_ups(range(10), partitions=2))
    run_steps(case, "manual__1")
    backup.take()
    case.send([*sign_ups(range(10, 20), partitions=2), Record(b"{"), Record(None), *sign_ups(range(3))])
    lost = run_steps(case, "manual__2")
    case.send(sign_ups(range(20, 26), partitions=2))
    late = OneRun(case, "manual__3")
    late.consume()
    backup.restore()
    with pytest.raises(IntegrityError, match=r"the warehouse went back\. Nothing was loaded"):
        late.load()
    assert count(case.place, case.pipeline.table) == 10
    with pytest.raises(IntegrityError, match="the warehouse was restored"):
        lost.reconcile()
    accounts = run_steps(case, "manual__4").accounts
    assert (accounts.loaded, accounts.duplicates) == case.counted(16, 3)
    assert (accounts.dead_letters, accounts.tombstones) == (1, 1)
    assert late.finish().records == 0
    case.oracle().require_every_record_once()


@pytest.mark.slow
@pytest.mark.fault(90, "stopped")
def test_restored_to_before_the_first_run(case: Case, backup: Backup) -> None:
    """A warehouse that goes back to before its first run refuses the staged batch, and the next run begins anew."""
    case.send(sign_ups(range(10), partitions=2))
    backup.take()
    run_steps(case, "manual__1")
    case.send(sign_ups(range(10, 16), partitions=2))
    late = OneRun(case, "manual__2")
    late.consume()
    backup.restore()
    with pytest.raises(IntegrityError, match="no position for partitions"):
        late.load()
    assert late.finish().loaded == 16
    case.oracle().require_every_record_once()
