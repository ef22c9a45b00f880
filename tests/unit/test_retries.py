"""Trying again: only what may pass, and only for a bounded time."""

from __future__ import annotations

import time

import pytest

from topicledger import retries
from topicledger.errors import IntegrityError, RetriableError, SettingsError, TopicLedgerError
from topicledger.retries import with_retries

LIMIT_S = 10.0


def test_what_passes_is_tried_again() -> None:
    """A call that fails with what may pass is repeated, and its result is given when it succeeds."""
    failures = [RetriableError("busy", code="it-is-busy"), RetriableError("busy", code="it-is-busy")]

    def call() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert with_retries("asking", call) == "done"


@pytest.mark.parametrize("kind", [SettingsError, IntegrityError])
def test_what_does_not_pass_is_tried_once(kind: type[TopicLedgerError]) -> None:
    """What a person has to mend is raised at once."""
    calls = []

    def call() -> None:
        calls.append(1)
        raise kind("wrong", code="it-is-wrong")

    with pytest.raises(kind, match="wrong"):
        with_retries("asking", call)
    assert len(calls) == 1


def test_a_call_may_be_owed_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that takes longer than there is time for is repeated as often as was asked for, and no oftener."""
    monkeypatch.setattr(retries, "RETRY_S", 0.0)
    calls = []

    def call() -> None:
        calls.append(1)
        raise RetriableError(f"busy {len(calls)}", code="it-is-busy")

    with pytest.raises(RetriableError, match="busy 2"):
        with_retries("asking", call, at_least=2)


def test_trying_again_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the time is up the last error is raised as it is."""
    monkeypatch.setattr(retries, "RETRY_S", 0.1)
    deadline = time.monotonic() + LIMIT_S
    calls = []

    def call() -> None:
        assert time.monotonic() < deadline, "it still tries"
        calls.append(1)
        raise RetriableError(f"busy {len(calls)}", code="it-is-busy")

    with pytest.raises(RetriableError, match="busy") as last:
        with_retries("asking", call)
    assert last.value.message == f"busy {len(calls)}"
    assert len(calls) > 1
