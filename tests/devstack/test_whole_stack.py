"""The whole stack, as `make` calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from devstack.home import ROOT
from devstack.service import marked_processes
from devstack.state import end_everything

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.airflow, pytest.mark.timeout(600)]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    end_everything(tmp_path, ())


def start(command: str, home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "devstack", command],
        cwd=ROOT,
        env={**os.environ, "TOPICLEDGER_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(command: str, home: Path) -> tuple[int, str]:
    with start(command, home) as process:
        output, _ = process.communicate(timeout=300)
    return process.returncode, output


def wait_for_process(home: Path, sign: str) -> None:
    """Returns when a process of the stack has this in its command line."""
    deadline = time.monotonic() + 240
    while not any(sign in " ".join(process.cmdline()) for process in marked_processes(home)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_run_twice_then_stand_then_stop(home: Path) -> None:
    """A run closes its books and leaves nothing; the next one goes on from there; a stack stands until `down`."""
    for _ in range(2):
        code, output = finish("run", home)
        assert code == 0, output
        assert "its books closed" in output
        assert marked_processes(home) == set()

    assert finish("up", home)[0] == 0
    state = json.loads((home / "stack.json").read_text())
    assert len(state["services"]) == 4
    code, output = finish("run", home)
    assert code == 0, output
    assert "left standing" in output
    code, output = finish("status", home)
    assert code == 0
    assert "has ended" not in output

    assert finish("down", home)[0] == 0
    assert marked_processes(home) == set()


@pytest.mark.parametrize("sign", ["kafka.Kafka", "api-server", "airflow worker"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(home: Path, number: signal.Signals, sign: str) -> None:
    """Ctrl-C or SIGTERM, however far the start has come, ends every process and says so without a trace."""
    with start("run", home) as process:
        wait_for_process(home, sign)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Interrupted" in output
    assert "Traceback" not in output
    assert marked_processes(home) == set()


def test_down_ends_what_a_killed_command_left(home: Path) -> None:
    """After a SIGKILL of the command `status` sees what is left, `down` ends it, and the next run is good."""
    with start("run", home) as process:
        wait_for_process(home, "airflow worker")
        process.kill()
    code, output = finish("status", home)
    assert (code, bool(output)) == (0, True) or "Left over" in output
    assert finish("down", home)[0] == 0
    assert marked_processes(home) == set()
    code, output = finish("run", home)
    assert code == 0, output
