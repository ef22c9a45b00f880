"""A task on another worker, whose disk isn't the one that the files were staged on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.looking import count
from tests.support.records import sign_ups
from tests.support.step_process import started_step
from tests.support.steps import Case, OneRun

pytestmark = pytest.mark.slow

OTHER_DISK = 'mount -t tmpfs -o mode=0700 tmpfs "$0" && exec "$@"'
"""Puts an empty disk at the staging folder's path, as another worker has it there."""


@pytest.mark.fault(21, "stopped")
def test_loaded_on_another_worker(case: Case) -> None:
    """A load on a worker with a disk of its own stops, naming the setting; where the files are it loads."""
    case.send(sign_ups(range(10), partitions=2))
    run = OneRun(case)
    run.consume()
    as_root = ["--map-root-user"] if os.geteuid() else []
    elsewhere = ["unshare", *as_root, "--mount", "sh", "-c", OTHER_DISK, case.pipeline.staging_dir]
    with started_step(run, "load", within=elsewhere) as load:
        assert load.finish() == 1, "no namespace could be made here: " + load.errors()
        said = load.errors()
    assert "IntegrityError" in said, said
    assert "this worker doesn't share the staging folder (staging_dir) with the one that staged it" in said
    assert "Repeat the run from planning on" in said
    assert count(case.place, case.pipeline.table) == 0
    assert all(Path(path).exists() for path in case.staged_files())
    assert run.load().loaded == 10
    run.reconcile()
    run.clean_up()
    case.oracle().require_every_record_once()
