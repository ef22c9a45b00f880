"""The last line of a failed try's log."""

from __future__ import annotations

import re

import pytest

from tests.docs.messages import all_templates
from topicledger.errors import IntegrityError, RetriableError, SettingsError
from topicledger.report.failure import last_line


def said(
    error: BaseException | str | None, try_number: int = 1, *, stopped: bool = False, timed_out: bool = False
) -> str:
    return last_line(error, "load", try_number=try_number, tries=4, stopped=stopped, timed_out=timed_out)


def wrapped(cause: Exception) -> Exception:
    """As the DAG file hands it to the scheduler."""
    try:
        raise RuntimeError(f"{type(cause).__name__}: {cause}") from cause
    except RuntimeError as error:
        return error


def test_stopped() -> None:
    """What a person must mend is said with its own class and sentence, not the scheduler's, and what to clear then."""
    assert said(wrapped(SettingsError("no grant")), stopped=True) == (
        "load stopped and isn't tried again: SettingsError: no grant. When that is mended, clear load (with downstream)"
    )
    # What contradicts the books has a next step of its own: it may be another task, or a new run.
    line = "load stopped and isn't tried again: IntegrityError: trigger the DAG with it"
    assert said(wrapped(IntegrityError("trigger the DAG with it")), stopped=True) == line


@pytest.mark.fault(112, "retried")
def test_tried_again_and_not() -> None:
    """The last try says that it was the last, and what to clear; those before it say that another comes."""
    assert (
        said(RetriableError("no answer"), 3)
        == "load failed in try 3 of 4 and is tried again, by itself: RetriableError: no answer"
    )
    assert said(RetriableError("no answer"), 4) == (
        "load failed in the last of its 4 tries: RetriableError: no answer. "
        "When that is mended, clear load (with downstream)"
    )


@pytest.mark.parametrize("message", ["no answer", "migrate the table, then clear this task"])
def test_what_is_cleared(message: str) -> None:
    """Behind a failed load no staged file is left: the task that stages is cleared, whoever says so; once."""
    line = last_line(SettingsError(message), "load_staged_data", try_number=1, tries=4, stopped=True, timed_out=False)
    assert line.endswith("clear consume_and_stage_data (with downstream)")
    assert line.count("clear ") == 1


def test_no_message_speaks_of_the_next_try() -> None:
    """Which try it was only the last line knows: no message of the engine promises another one."""
    speaking = [text for text in all_templates() if re.search(r"next try|task try", text)]
    assert speaking == []


def test_it_is_one_line() -> None:
    """A message of several lines is still one line of the log."""
    assert "\n" not in said(SettingsError("run these:\n  CREATE TABLE a;\n  CREATE TABLE b"), stopped=True)


def test_timed_out() -> None:
    """A timeout names what to change, and isn't taken for a defect."""
    line = said(TimeoutError("after 1800 s"), timed_out=True)
    assert "TimeoutError: after 1800 s. The try reached its execution timeout" in line
    assert "set MAX_RECORDS or a longer CONSUME_TIMEOUT" in line
    assert "report it" not in line


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), "killed", None])
def test_unknown(error: BaseException | str | None) -> None:
    """Whatever isn't the engine's own is called that, in every form in which the scheduler may hand it on."""
    assert "This is none of the errors that docs/operations.md explains" in said(error)
