"""How a failed try's log ends: what happened, with the values, and one next step."""

from __future__ import annotations

from topicledger.errors import TopicLedgerError


def last_line(
    error: BaseException | str | None, task_id: str, *, try_number: int, tries: int, stopped: bool, timed_out: bool
) -> str:
    """Say in one line how a try of a task ended and what to do next.

    Args:
        error: What ended it, as the scheduler hands it on; one of the engine's errors is taken from its cause.
        task_id: The task.
        try_number: This try, from 1.
        tries: How many there may be.
        stopped: The scheduler was told not to try again.
        timed_out: The task reached its execution timeout.
    """
    cause = error.__cause__ if isinstance(error, BaseException) else None
    known = cause if isinstance(cause, TopicLedgerError) else error
    again = not stopped and try_number < tries
    said = " ".join(f"{type(known).__name__}: {known}".split()) if isinstance(known, BaseException) else str(known)
    if timed_out:
        said += (
            ". The try reached its execution timeout; nothing that it did halfway counts. Look above for what it "
            "waited for. When there is more to read than the time allows, set MAX_RECORDS or a longer CONSUME_TIMEOUT"
        )
    elif not isinstance(known, TopicLedgerError):
        said += (
            ". This is none of the errors that docs/operations.md explains: keep this log and report it. "
            "Clearing the task is safe: what was committed isn't loaded twice"
        )
    if again:
        return f"{task_id} failed in try {try_number} of {tries} and is tried again: {said}"
    if stopped:
        return f"{task_id} stopped and isn't tried again: {said}"
    return f"{task_id} failed in the last of its {tries} tries: {said}. When that is mended, clear it with downstream"
