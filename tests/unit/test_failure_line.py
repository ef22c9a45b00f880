"""The sentence with which a failed try ends."""

from __future__ import annotations

import pickle
import re

import pytest

from tests.docs.messages import all_templates
from topicledger.errors import IntegrityError, RejectedRecord, Repeat, RetriableError, SettingsError
from topicledger.report.failure import told

TASKS: dict[str, dict[Repeat, str]] = {
    "make": {},
    "read": {"produce": "make"},
    "put": {"consume": "read"},
    "close": {"load": "put"},
}
"""Whose results each task takes."""


def said(error: BaseException, task_id: str = "read", try_number: int = 1, *, timed_out: bool = False) -> str:
    return told(error, task_id=task_id, tasks=TASKS[task_id], try_number=try_number, tries=4, timed_out=timed_out)


def test_stopped() -> None:
    """What a person must mend is said with its class, its sentence and what to clear then, and speaks of no try."""
    assert said(SettingsError("no grant", code="grant-missing")) == (
        "SettingsError: no grant. When that is mended, clear read (with downstream) [grant-missing]"
    )
    # What contradicts the books may have a next step of its own.
    lost = IntegrityError("trigger the DAG with it", code="offsets-lost")
    assert said(lost) == "IntegrityError: trigger the DAG with it [offsets-lost]"


@pytest.mark.fault(112, "retried")
def test_tried_again_and_not() -> None:
    """The last try says that it was the last, and what to clear; those before it say that another comes."""
    unanswered = RetriableError("no answer", code="far")
    assert said(unanswered, try_number=3) == (
        "RetriableError: no answer. It was try 3 of 4: the task is tried again, by itself [far]"
    )
    assert said(unanswered, try_number=4) == (
        "RetriableError: no answer. It was the last of 4 tries. When that is mended, clear read (with downstream) [far]"
    )


@pytest.mark.parametrize(
    ("repeat", "task_id", "ending"),
    [
        ("produce", "make", "Clear make (with downstream)"),
        ("produce", "read", "Clear make (with downstream)"),
        ("consume", "read", "Clear read (with downstream)"),
        ("consume", "put", "Clear read (with downstream)"),
        ("load", "close", "Clear put (with downstream)"),
        ("run", "close", "Clear the whole run"),
        ("step", "close", "When that is mended, clear close (with downstream)"),
        ("step", "put", "When that is mended, clear read (with downstream)"),
    ],
)
def test_what_is_cleared(repeat: Repeat, task_id: str, ending: str) -> None:
    """What is repeated is cleared, by the DAG's own name for it; behind a failed load no staged file is left."""
    changed = IntegrityError("it was changed", code="changed", repeat=repeat)
    assert said(changed, task_id) == f"IntegrityError: it was changed. {ending} [changed]"


def test_the_engines_own_words() -> None:
    """Without a DAG an error says from which step on the run is repeated, also in another process."""
    error = IntegrityError("it was changed", code="changed", repeat="consume", partition=3)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert str(again) == str(error) == "it was changed. Repeat the run from planning on (step 3) [changed]"
    assert (again.code, again.repeat, again.partition) == ("changed", "consume", 3)
    assert str(SettingsError("no grant", code="grant-missing")) == "no grant [grant-missing]"


def test_a_verdict_on_a_record_is_its_sentence_alone() -> None:
    """What a dead letter says has no code behind it, which is its reason; also in another process."""
    again = pickle.loads(pickle.dumps(RejectedRecord("too_deep", "nested too deeply")))  # noqa: S301 - our own bytes
    assert (str(again), again.reason, again.code) == ("nested too deeply", "too_deep", "too_deep")


def test_no_message_speaks_of_the_next_try_or_a_task() -> None:
    """Which try it was, and what the tasks are called that may be cleared, no sentence of the engine knows."""
    told_here = r"next try|task try|clear this task| \S*(consume_and_stage|generate_and_produce|load_staged)_data"
    assert [text for text in all_templates() if re.search(told_here, text)] == []


def test_it_is_one_line() -> None:
    """A message of several lines is still one line, and what ends it isn't read as part of a statement."""
    line = said(SettingsError("run these:\n  CREATE TABLE a;\n  CREATE TABLE b;", code="tables-missing"))
    assert line.startswith("SettingsError: run these: CREATE TABLE a; CREATE TABLE b. When that is mended")


def test_timed_out() -> None:
    """A timeout names what to change, and isn't taken for a defect."""
    line = said(TimeoutError("after 1800 s"), timed_out=True)
    assert "TimeoutError: after 1800 s. The try reached its execution timeout" in line
    assert "declare a smaller max_records or give the task a longer execution_timeout" in line
    assert line.endswith("It was try 1 of 4: the task is tried again, by itself [execution-timeout]")
    assert "report it" not in line


def test_unknown() -> None:
    """Whatever isn't the engine's own is called that, and tried again as the rest."""
    line = said(ZeroDivisionError("x"), try_number=4)
    assert line.startswith(
        "ZeroDivisionError: x. This is none of the errors that topicledger foresees: keep this log and "
    )
    assert line.endswith(
        "report it. It was the last of 4 tries. When that is mended, clear read (with downstream) [unexpected-error]"
    )
