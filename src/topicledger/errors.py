"""Every error that leaves the engine, grouped by what the caller does next.

    TopicLedgerError         the root; `retriable` is False
      SettingsError          stop: a person fixes the configuration (missing connection, bad credentials, denied ACL)
      RetriableError         try again: broker or warehouse unavailable, delivery timed out, idle before the end
      IntegrityError         stop and look: offsets lost, topic recreated, staged file changed, books don't close,
                             more malformed records than the error budget allows
      RejectedRecord         this one record becomes a dead letter; never leaves the consume step

A message says what happened, with the values, and what to mend; what to repeat then is a value, since by what it is
repeated only the caller knows. It never holds a secret. Each kind of failure has a code, under which docs/operations.md
explains it: wherever the error is shown, it ends with that.
"""

from __future__ import annotations

import copyreg
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

Repeat = Literal["produce", "consume", "load", "run", "step"]
"""From where on a run is repeated; `step` is the one that failed."""

AGAIN: Mapping[Repeat | None, str] = {
    "produce": "Repeat the run from producing on (step 1): the same records again, the surplus is counted",
    "consume": "Repeat the run from planning on (step 3)",
    "load": "Repeat the run from loading on (step 13)",
    "run": "Repeat the whole run",
}
"""The same in words; of the step that failed nothing need be said."""


class TopicLedgerError(Exception):
    """The root of the tree. It pickles, so that it survives a process boundary with its coordinates.

    Args:
        message: What happened, with the values, and what to mend, without a full stop.
        code: What kind of failure it is, such as `topic-recreated`: an anchor of docs/operations.md, never used anew.
        repeat: What is repeated then; None where that isn't the next step.
        topic: The topic, where it applies.
        partition: The partition, where it applies.
        offset: The offset, where it applies.
        batch_id: The batch, where it applies.
    """

    retriable: ClassVar[bool] = False
    code: str
    repeat: Repeat | None = None
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    batch_id: str | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str,
        repeat: Repeat | None = None,
        topic: str | None = None,
        partition: int | None = None,
        offset: int | None = None,
        batch_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.repeat = repeat or type(self).repeat
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.batch_id = batch_id

    @property
    def message(self) -> str:
        """What happened and what to mend, without what is repeated and without the code."""
        return str(self.args[0])

    def __str__(self) -> str:
        said = f"{self.message}. {AGAIN[self.repeat]}" if self.repeat in AGAIN else self.message
        return f"{said} [{self.code}]"

    def __reduce__(self) -> tuple[Any, ...]:
        # Past __init__: what it was given is in __dict__.
        return (copyreg.__newobj__, (type(self), *self.args), self.__dict__)  # type: ignore[attr-defined]


class SettingsError(TopicLedgerError):
    """A person has to change the configuration; trying again would fail the same way."""

    repeat = "step"


class RetriableError(TopicLedgerError):
    """The same call may succeed later; nothing was lost and nothing was applied halfway."""

    retriable: ClassVar[bool] = True
    repeat = "step"


class IntegrityError(TopicLedgerError):
    """What is there contradicts the books; going on could lose or double a record."""


class RejectedRecord(TopicLedgerError):  # noqa: N818 - a verdict on a record, not a failure
    """One record can't become a row. `reason` is its short code in the dead-letter table.

    Args:
        reason: A short code, such as `invalid_json`.
        message: The sentence that goes into the dead letter's `error` column.
    """

    def __init__(self, reason: str, message: str) -> None:
        # Made for each dead letter: that it has no coordinates is the class's to know, not set each time.
        Exception.__init__(self, message)
        self.reason = self.code = reason

    def __str__(self) -> str:
        return self.message
