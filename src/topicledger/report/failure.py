"""How a failed try ends: what happened, with the values, and one next step, in the words of the DAG that tried it.

The engine's own messages know neither the tasks nor which try it was: what comes next is said here, by who knows.
"""

from __future__ import annotations

from collections.abc import Mapping

from topicledger.errors import Repeat, TopicLedgerError


def told(
    error: BaseException,
    *,
    task_id: str,
    tasks: Mapping[Repeat, str],
    try_number: int,
    tries: int,
    timed_out: bool = False,
) -> str:
    """Say on one line what ended a try of a task, at its end what to do next, and behind that the error's code.

    Args:
        error: What ended it.
        task_id: The task.
        tasks: Which other task does what an error may ask to repeat: those whose results this one has taken.
        try_number: This try, from 1.
        tries: How many there may be.
        timed_out: The task reached its execution timeout.
    """
    ours = error if isinstance(error, TopicLedgerError) else None
    said = " ".join(f"{type(error).__name__}: {ours.message if ours else error}".split()).rstrip(".;: ")
    code = ours.code if ours else "execution-timeout" if timed_out else "unexpected-error"
    if timed_out:
        said += (
            ". The try reached its execution timeout; nothing that it did halfway counts. Look above for what it "
            "waited for. When there is more to read than the time allows, declare a smaller max_records or give the "
            "task a longer execution_timeout"
        )
    elif ours is None:
        said += ". This is none of the errors that topicledger foresees: keep this log and report it"
    if ours is None or ours.retriable:
        if try_number < tries:
            return f"{said}. It was try {try_number} of {tries}: the task is tried again, by itself [{code}]"
        said += f". It was the last of {tries} tries"
    repeat: Repeat | None = ours.repeat if ours else "step"
    if repeat is not None:
        mended = "When that is mended, clear" if repeat == "step" else "Clear"
        said += f". {mended} {_cleared(repeat, task_id, tasks)}"
    return f"{said} [{code}]"


def _cleared(repeat: Repeat, task_id: str, tasks: Mapping[Repeat, str]) -> str:
    if repeat == "run":
        return "the whole run"
    # Behind a load that failed the clean-up has removed what was staged.
    from_where = "consume" if repeat == "step" and "consume" in tasks else repeat
    return f"{tasks.get(from_where, task_id)} (with downstream)"
