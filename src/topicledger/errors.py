"""Every error that leaves the engine, grouped by what the caller does next.

    TopicLedgerError         the root; `retriable` is False
      SettingsError          stop: a person fixes the configuration (missing connection, bad credentials, denied ACL)
      RetriableError         try again: broker or warehouse unavailable, delivery timed out, idle before the end
      IntegrityError         stop and look: offsets lost, topic recreated, staged file changed, books don't close,
                             more malformed records than the error budget allows
      RejectedRecord         this one record becomes a dead letter; never leaves the consume step

A message says what happened, with the values, and what to do next. It never holds a secret.
"""

from __future__ import annotations

from typing import Any, ClassVar


class TopicLedgerError(Exception):
    """The root of the tree. It pickles, so that it survives a process boundary with its coordinates.

    Args:
        message: What happened, with the values, and the next step.
        topic: The topic, where it applies.
        partition: The partition, where it applies.
        offset: The offset, where it applies.
        batch_id: The batch, where it applies.
    """

    retriable: ClassVar[bool] = False
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    batch_id: str | None = None

    def __init__(
        self,
        message: str,
        *,
        topic: str | None = None,
        partition: int | None = None,
        offset: int | None = None,
        batch_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.batch_id = batch_id

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), self.args, self.__dict__)


class SettingsError(TopicLedgerError):
    """A person has to change the configuration; trying again would fail the same way."""


class RetriableError(TopicLedgerError):
    """The same call may succeed later; nothing was lost and nothing was applied halfway."""

    retriable: ClassVar[bool] = True


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
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.reason, *self.args), self.__dict__)
