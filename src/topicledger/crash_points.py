"""Named places where a test may kill the process, to prove that a kill there changes nothing.

Inactive unless the environment variable TOPICLEDGER_CRASH_DIR names a folder. A test arms a point by creating
a file with the point's name in that folder; the first process that passes the point removes the file and sends
itself SIGKILL, so that the retry passes.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path


def crash_point(name: str) -> None:
    """Kill this process with SIGKILL when a test has armed the point `name`; else do nothing."""
    folder = os.environ.get("TOPICLEDGER_CRASH_DIR")
    if not folder:
        return
    try:
        (Path(folder) / name).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
