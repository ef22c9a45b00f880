"""How the bytes of one format become events: the contract, and the choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from topicledger.errors import RejectedRecord
from topicledger.events.avro_decoding import AvroDecoding
from topicledger.events.envelopes import unwrapping
from topicledger.events.json_decoding import FramedJsonDecoding, JsonDecoding
from topicledger.formats import Avro, JsonSchema, Protobuf
from topicledger.model.schemas import Schemas
from topicledger.pipeline import Pipeline

if TYPE_CHECKING:
    import msgspec

E = TypeVar("E", bound="msgspec.Struct")


class Decoding(Protocol):
    """Decodes the values of one format. Whatever the bytes are, it raises; it never gives half an event."""

    def decoder(self, event: type[E]) -> Callable[[bytes], E]:
        """What makes an event of a value.

        It raises whatever `rejection` understands, or a `RejectedRecord` itself. A `RetriableError` or a
        `SettingsError` is no verdict on the value, and ends the step.
        """

    def document(self, value: bytes) -> Any:
        """A valid value as plain Python values, keys as they are sent: to find the fields that no event type has."""

    def rejection(self, value: bytes, error: Exception, *, by_event: bool) -> RejectedRecord:
        """Say why a value isn't an event.

        Args:
            value: The record's value.
            error: What the decoder raised.
            by_event: Whether it comes from the event type's own code, such as `__post_init__`.
        """


def open_decoding(pipeline: Pipeline, registry: Schemas | None) -> Decoding:
    """The decoding of a pipeline's format.

    Args:
        pipeline: The declaration.
        registry: The schema registry's schemas, for a format that asks one.
    """
    declared = pipeline.format
    if isinstance(declared, Avro):
        return AvroDecoding(declared, registry)
    if isinstance(declared, Protobuf):
        from topicledger.events.protobuf_decoding import ProtobufDecoding  # its library may be missing

        return ProtobufDecoding(declared, registry)
    unwrap = unwrapping(declared.envelope, pipeline.event) if declared.envelope else None
    return FramedJsonDecoding(unwrap) if isinstance(declared, JsonSchema) else JsonDecoding(unwrap)
