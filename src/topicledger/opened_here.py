"""What a process has opened doesn't survive a fork: its sockets are shared from then on, its threads are gone."""

from __future__ import annotations

import os
from typing import Generic, TypeVar

from topicledger.errors import SettingsError

_Opened = TypeVar("_Opened")


class OpenedHere(Generic[_Opened]):
    """Keeps a client or a connection to the process that opened it: a fork that uses it would hang.

    Args:
        what: What it is, for the message.
        opened: The client or connection.
    """

    def __init__(self, what: str, opened: _Opened) -> None:
        self._what = what
        self._opened = opened
        self._pid = os.getpid()

    def get(self) -> _Opened:
        """Give it to the process that opened it.

        Raises:
            SettingsError: This is another process.
        """
        if os.getpid() != self._pid:
            raise SettingsError(
                f"{self._what} was opened in process {self._pid} and is used in its fork {os.getpid()}, where it would "
                "hang: open it in the task that uses it, never while a file is imported",
                code="opened-before-fork",
            )
        return self._opened
