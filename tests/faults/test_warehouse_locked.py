"""A DuckDB file that is open elsewhere: the load waits for a while, names the process, and loads once it is free."""

from __future__ import annotations

import subprocess
import sys
from threading import Thread

import pytest

from tests.support.records import sign_ups
from tests.support.steps import Case, OneRun
from tests.support.topics import wait_for

pytestmark = pytest.mark.both_databases

HOLD = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only={}); print('open', flush=True); sys.stdin.read()"


@pytest.mark.fault(76, "retried")
@pytest.mark.parametrize("read_only", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_file_that_is_open_elsewhere(duckdb_case: Case, caplog: pytest.LogCaptureFixture, read_only: bool) -> None:
    """Whether it reads or writes, the holder is named with advice for readers; when it is gone, the same task loads."""
    case, run = duckdb_case, OneRun(duckdb_case)
    case.send(sign_ups(range(20), partitions=2))
    run.consume()
    command = [sys.executable, "-c", HOLD.format(read_only), str(case.place.host)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline()
        loading = Thread(target=run.load)
        loading.start()
        wait_for("a first try", lambda: "trying again" in caplog.text or None)
        holder.communicate(b"")
    loading.join()
    assert f"PID {holder.pid}" in caplog.text
    assert "READ_ONLY" in caplog.text
    assert run.accounts.loaded == 20
    case.oracle().require_every_record_once()
