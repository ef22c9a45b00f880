"""In which format a topic's records are: what a pipeline declares of them. Pure; imports nothing large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from topicledger.errors import SettingsError

Envelope = Literal["connect", "debezium"]


@dataclass(frozen=True, slots=True)
class Json:
    """A value is JSON in UTF-8, as the event type describes it.

    Args:
        envelope: What is around it and taken off. `connect`: the `schema` and `payload` of Kafka Connect's converter,
            of which the payload is left. `debezium`: a change event, of which the row after the change is left, or the
            one that was deleted; what else it says are fields of the names `__op`, `__ts_ms`, `__source_lsn` and the
            like, as Debezium's own `ExtractNewRecordState` has them, where the event type asks for them.

    Raises:
        SettingsError: There is no such envelope.
    """

    asks_registry: ClassVar[bool] = False
    """Whether a schema registry is asked for schemas."""

    is_text: ClassVar[bool] = True
    """Whether a value that is an event is UTF-8, with no number but finite ones."""

    envelope: Envelope | None = None

    def __post_init__(self) -> None:
        if self.envelope not in (None, *get_args(Envelope)):
            raise SettingsError(
                f"envelope is {self.envelope!r:.100}: use 'connect', 'debezium', or None for none",
                code="envelope-invalid",
            )


Format = Json
"""Every format there is."""
