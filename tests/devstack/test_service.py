"""A program is ended with everything it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from devstack.errors import StackError
from devstack.service import Service, marked_processes, wait_until_ready
from devstack.state import end_everything

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    end_everything(tmp_path, ())


def start(folder: Path, script: str, grace_s: float = 20) -> Service:
    command = ["bash", "-c", script]
    return Service.start("The program", command, folder=folder, log=folder / "log", grace_s=grace_s)


def wait_for(text: str, log: Path) -> None:
    deadline = time.monotonic() + 10
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def test_stop_ends_children_of_children(folder: Path) -> None:
    """A child in a session of its own and its child end with the program."""
    service = start(folder, "setsid bash -c 'sleep 600 & echo up; wait' & wait")
    wait_for("up", folder / "log")
    assert len(marked_processes(folder)) >= 3
    service.stop()
    assert marked_processes(folder) == set()


def test_what_lost_its_parent_is_found(folder: Path) -> None:
    """A process whose parent died at once is still known by the folder it was started for."""
    parent = start(folder, "setsid sleep 600 & wait")
    deadline = time.monotonic() + 10
    while "sleep" not in {process.name() for process in marked_processes(folder)}:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(parent.pid, signal.SIGKILL)
    while parent.alive():
        time.sleep(0.02)
    assert end_everything(folder, ()) == 1
    assert marked_processes(folder) == set()


def test_another_folder_is_left_alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Ending one data folder's processes doesn't touch those of another."""
    other = tmp_path_factory.mktemp("other")
    service = start(other, "sleep 600")
    try:
        end_everything(folder, ())
        assert service.alive()
    finally:
        service.kill()


def test_a_program_that_ignores_the_request_is_killed_after_its_grace(folder: Path) -> None:
    """Its grace is all that a program gets."""
    service = start(folder, "trap '' TERM; echo up; while true; do sleep 0.1; done", grace_s=0.5)
    wait_for("up", folder / "log")
    began = time.monotonic()
    service.stop()
    assert 0.4 < time.monotonic() - began < 8
    assert not service.alive()


def test_an_early_end_is_told_with_the_log(folder: Path) -> None:
    """Waiting for a program that ended says so at once, with what it last said."""
    service = start(folder, "echo no such file; exit 3")
    with pytest.raises(StackError, match=r"(?s)ended by itself.*no such file"):
        wait_until_ready(service, lambda: False, 30)


def test_a_reused_pid_is_not_taken_for_the_program(folder: Path) -> None:
    """A service written down earlier isn't mistaken for a new process with its number."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stranger:
        started = psutil.Process(stranger.pid).create_time() - 100
        old = Service("The program", stranger.pid, started, str(folder / "log"), signal.SIGTERM)
        assert not old.alive()
        old.stop()
        assert stranger.poll() is None
        stranger.kill()
