"""The clean-up's own shell command: killed, repeated, and with nothing left to do."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from topicledger.airflow.ledger import Ledger

BATCH, OTHER = "0123456789abcdef", "fedcba9876543210"
SUFFIXES = ("csv", "dead_letters.csv", "tombstones.csv", "jumps.csv", "manifest.json", "receipt.json", "csv.part")

KILLS_ITS_SHELL = """#!/bin/bash
{rm} -f -- "$3"
kill -KILL 0
"""
"""An `rm` that removes the first of its files, and then kills the shell that called it, and itself."""


def shell_command() -> str:
    """Give the command of the DAG's BashOperator."""
    return str(Ledger("topicledger.signups:SIGNUPS").clean_up()["bash_command"])


def clean_up(folder: Path, path: str = os.defpath) -> int:
    """Run it as the operator does, in a process group of its own; return the exit status."""
    environment = {"STAGING_DIR": str(folder), "BATCH_ID": BATCH, "PATH": path}
    return subprocess.run(
        ["bash", "-c", shell_command()], env=environment, check=False, start_new_session=True
    ).returncode


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two attempts' files of the run, one of another run, and something else."""
    folder = tmp_path / "staging"
    folder.mkdir()
    for nonce in ("0" * 16, "1" * 16):
        for suffix in SUFFIXES:
            (folder / f"kafka_staging_{BATCH}.{nonce}.{suffix}").touch()
    (folder / f"kafka_staging_{OTHER}.{'0' * 16}.csv").touch()
    (folder / "notes.txt").touch()
    return folder


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if BATCH in path.name)


@pytest.mark.fault(9, "goes on")
def test_killed_in_the_middle_of_cleaning_up(folder: Path, tmp_path: Path) -> None:
    """Killed with some files removed, the clean-up fails; its next try removes the rest, and nothing else."""
    tools = tmp_path / "tools"
    tools.mkdir()
    killing = tools / "rm"
    killing.write_text(KILLS_ITS_SHELL.format(rm=_real("rm")))
    killing.chmod(0o700)
    before = left(folder)
    assert clean_up(folder, f"{tools}{os.pathsep}{os.defpath}") == -signal.SIGKILL
    assert left(folder) == before[1:]
    assert clean_up(folder) == 0
    assert left(folder) == []
    assert len(list(folder.iterdir())) == 2


@pytest.mark.fault(9, "goes on")
def test_cleaned_up_twice(folder: Path) -> None:
    """A second clean-up finds nothing and succeeds, and so does one whose folder is gone."""
    assert [clean_up(folder), clean_up(folder)] == [0, 0]
    assert left(folder) == []
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert clean_up(folder) == 0


def _real(program: str) -> str:
    found = subprocess.run(["bash", "-c", f"command -v {program}"], capture_output=True, text=True, check=True)
    return found.stdout.strip()
