"""How a failed try's log ends: what happened, with the values, and one next step.

The engine's own messages don't know which try it was: what comes next is said here, by who knows.
"""

from __future__ import annotations

from collections.abc import Mapping

from topicledger.errors import IntegrityError, TopicLedgerError

_CLEARED: Mapping[str, str] = {"load_staged_data": "consume_and_stage_data"}
"""Which task is cleared for another one: behind a failed load the clean-up has removed what was staged."""

_CLEAR_THIS = "clear this task"
"""How the engine, which doesn't know which one that is, says it."""


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
    if not stopped and try_number < tries:
        return f"{task_id} failed in try {try_number} of {tries} and is tried again, by itself: {said}"
    clear = f"clear {_CLEARED.get(task_id, task_id)} (with downstream)"
    if _CLEAR_THIS in said:
        said = said.replace(_CLEAR_THIS, clear)
    elif not isinstance(known, IntegrityError):  # which names what is cleared or triggered: that needn't be this task
        said = f"{said}. When that is mended, {clear}"
    if stopped:
        return f"{task_id} stopped and isn't tried again: {said}"
    return f"{task_id} failed in the last of its {tries} tries: {said}"
