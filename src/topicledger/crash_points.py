"""Named places where a test may kill the process, to prove that a kill there changes nothing.

Inactive unless the environment variable TOPICLEDGER_CRASH_DIR names a folder. A test arms a point by creating
a file with the point's name in that folder; the first process that passes the point removes the file and sends
itself SIGKILL, or the signal that the file names, such as SIGSTOP. A retry passes.

A name begins with the number of its step in docs/delivery-guarantee.md. Step 21 has none here: it is a shell
command, and its process is killed from outside.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

POINTS = (
    "step-01.before_first_record",
    "step-01.middle",  # behind each 1,000 records, and the last
    "step-02.acknowledged",
    "step-02.receipt_made",
    "step-03.topic_id_checked",
    "step-04.positions_read",
    "step-04.tables_there",  # where a partition has no position yet, as the next two; between steps 11 and 12
    "step-04.inside_transaction",
    "step-04.books_begun",
    "step-05.truncations_looked_for",
    "step-05.set_back",  # where a truncation was accepted
    "step-06.losses_accepted",
    "step-07.planned",
    "step-08.assigned",
    "step-09.chunk_read",  # where there is something to read
    "step-10.topic_asked_again",
    "step-10.jumps_read_again",
    "step-11.chunk_staged",  # where there is something to read
    "step-12.synced",
    "step-12.files_renamed",
    "step-12.staged",
    "step-12.offsets_committed",
    "step-13.copied",
    "step-13.verified",
    "step-14.locked",
    "step-15.not_there_yet",
    "step-16.fits",
    "step-17.clipped",
    "step-18.inserted",
    "step-19.written",
    "step-19.closed",
    "step-19.committed",  # where the ledger is a table
    "step-20.snapshot_read",
    "step-20.offsets_shown",
)
"""Every point, in the order in which a run passes them; without a comment: every run that loads something does."""

LOG_POINTS = ("step-19.files_written", "step-19.entry_created")
"""Two more, before and in place of `step-19.committed`, where the ledger is a log."""


def crash_point(name: str) -> None:
    """Send this process the signal that a test has armed the point `name` with; else do nothing.

    Args:
        name: One of `POINTS` or `LOG_POINTS`, written out: each stands in one place of the code.
    """
    folder = os.environ.get("TOPICLEDGER_CRASH_DIR")
    if not folder:
        return
    armed = Path(folder) / name
    try:
        wanted = armed.read_text() or "SIGKILL"
        armed.unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.Signals[wanted])
