"""What one process has opened is refused in its forks."""

from __future__ import annotations

import os

import pytest

from topicledger.errors import SettingsError
from topicledger.opened_here import OpenedHere


def test_what_was_opened_is_refused_in_a_fork() -> None:
    """The process that opened it gets it; a fork of that process gets an error that names both."""
    held = OpenedHere("the client", "it")
    child = os.fork()
    if child == 0:
        try:
            held.get()
        except SettingsError as error:
            os._exit(7 if f"process {os.getppid()} and is used in its fork {os.getpid()}" in str(error) else 8)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert held.get() == "it"


def test_the_message_says_where_to_open_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next step is to open it in the task, not at import."""
    held = OpenedHere("the client", "it")
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(SettingsError, match="open it in the task that uses it"):
        held.get()
