"""What a person asks for is done, or refused with the next step."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.airflow_settings import AirflowSettings, password, write_settings
from devstack.errors import StackError
from devstack.home import ROOT, locked, wishes_of
from devstack.java import java_program
from devstack.ports import LOCALHOST, free_port, remembered_ports, wanted_port


def devstack(command: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line as make does."""
    return subprocess.run(
        [sys.executable, "-m", "devstack", command],
        cwd=ROOT,
        env={**os.environ, "TOPICLEDGER_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_a_port_in_use_is_one_message_without_a_trace(tmp_path: Path) -> None:
    """A port that is taken ends the command with what is wrong and what to do, and leaves nothing."""
    with socket.create_server((LOCALHOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        done = devstack("up", tmp_path / "home", AIRFLOW_PORT=port)
    assert done.returncode == 1
    assert f"Port {port} on 127.0.0.1 is in use" in done.stderr
    assert "Next:" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "home" / "stack.json").exists()


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    """A data folder that can't be made ends the command with its name and the setting that moves it."""
    (tmp_path / "file").write_text("")
    done = devstack("run", tmp_path / "file" / "home")
    assert done.returncode == 1
    assert "TOPICLEDGER_HOME" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_status_and_down_with_nothing_there(tmp_path: Path) -> None:
    """Both say that nothing stands, and that is no failure."""
    for command in ("status", "down"):
        done = devstack(command, tmp_path)
        assert (done.returncode, done.stdout.strip()) == (0, "Nothing stands.")


@pytest.mark.parametrize(
    "wrong", [{"WAREHOUSE": "oracle"}, {"AIRFLOW_PORT": "http"}, {"AIRFLOW_PORT": "70000"}], ids=str
)
def test_a_wish_that_cannot_be(wrong: dict[str, str]) -> None:
    """A value that can't be is refused with its name."""
    with pytest.raises(StackError, match=next(iter(wrong))):
        wishes_of(wrong)


def test_two_commands_at_once(tmp_path: Path) -> None:
    """The second command on one data folder is told which process holds it."""
    with locked(tmp_path), pytest.raises(StackError, match=str(os.getpid())), locked(tmp_path):
        pass


def test_an_old_java_home_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JAVA_HOME is respected, so one that is too old is refused and not passed over."""
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_392\"' >&2\n")
    program.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StackError, match="Java 8"):
        java_program()


def test_ports_stay_while_they_are_free(tmp_path: Path) -> None:
    """The same names get the same ports again, but never one that something else took meanwhile."""
    file = tmp_path / "ports.json"
    first = remembered_ports(["a", "b"], file)
    assert len(set(first.values())) == 2
    assert remembered_ports(["a", "b"], file) == first
    with socket.create_server((LOCALHOST, first["a"])):
        second = remembered_ports(["a", "b"], file)
    assert second["a"] != first["a"]
    assert second["b"] == first["b"]


def test_a_wanted_port_is_given_when_it_is_free() -> None:
    """A port that a person names is used as it is."""
    port = free_port()
    assert wanted_port(port, "AIRFLOW_PORT") == port


def test_airflows_secrets_are_private_and_last(tmp_path: Path) -> None:
    """Settings and password are readable by this user alone; secrets stay when the settings are written anew."""
    settings = AirflowSettings(tmp_path, [Path("/dags")], 1234, "", {"core.default_task_retry_delay": "1"})
    write_settings(settings)
    before, secret = (tmp_path / "airflow.cfg").read_text(), password(tmp_path)
    write_settings(settings)
    assert (tmp_path / "airflow.cfg").read_text() == before
    assert password(tmp_path) == secret
    assert "default_task_retry_delay = 1\n" in before
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
