"""Protobuf: a value's bytes to a message, by the protobuf library, and that to an event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
from google.protobuf.message import DecodeError

from topicledger.errors import RejectedRecord
from topicledger.events.framing import FRAME, not_framed, registered, schema_id
from topicledger.events.protobuf_names import Indexes, message_names, read_indexes
from topicledger.events.protobuf_values import Unfit, values_of
from topicledger.events.protobuf_wire import flaw
from topicledger.events.rejections import rejection
from topicledger.formats import Protobuf
from topicledger.model.schemas import Schemas

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

E = TypeVar("E", bound=msgspec.Struct)


class ProtobufDecoding:
    """Implements `topicledger.events.decoding.Decoding`.

    Args:
        protobuf: The declared format.
        registry: Gives the writers' schemas; None where there are no frames, or nothing is decoded.
    """

    def __init__(self, protobuf: Protobuf, registry: Schemas | None) -> None:
        message = protobuf.message_type()
        self._type = cast("Descriptor", message.DESCRIPTOR)
        self._parse = message.FromString
        self._values = values_of(self._type)
        self._frames = _Frames(self._type.full_name, registry) if protobuf.framed else None

    def decoder(self, event: type[E]) -> Callable[[bytes], E]:
        """What makes an event of a value."""
        document, convert = self.document, msgspec.convert
        return lambda value: convert(document(value), event)

    def document(self, value: bytes) -> dict[str, Any]:
        """The message's values."""
        try:
            return self._values(self._parse(value if self._frames is None else self._frames.unframed(value)))
        except Unfit as unfit:
            raise msgspec.ValidationError(str(unfit)) from None

    def rejection(self, value: bytes, error: Exception, *, by_event: bool) -> RejectedRecord:
        """Say why a value isn't an event."""
        if by_event or not isinstance(error, DecodeError | UnicodeDecodeError):
            return rejection(value, error, by_event=by_event)
        start = 0 if self._frames is None else self._frames.start(value)
        return flaw(value, start, self._type) or RejectedRecord(
            "invalid_protobuf", f"the value is no message {self._type.full_name}: {error}"
        )


class _Frames:
    """What lies before a message: Confluent's frame and the indexes that say which message of the schema it is."""

    def __init__(self, name: str, registry: Schemas | None) -> None:
        self._name = name
        self._registry = registry
        self._names: dict[int, Mapping[Indexes, str]] = {}
        # All that lies before a message of the name, for each schema; and how long the last one was: few are another.
        self._heads: set[bytes] = set()
        self._size = FRAME

    def unframed(self, value: bytes) -> bytes:
        """The message alone.

        Raises:
            RejectedRecord: The value isn't framed, or is another message.
        """
        size = self._size
        if value[:size] not in self._heads:
            size = self._size = self.start(value)
            self._heads.add(value[:size])
        return value[size:]

    def start(self, value: bytes) -> int:
        """Where the message begins.

        Raises:
            RejectedRecord: As `unframed`.
        """
        number = schema_id(value)
        if number is None:
            raise not_framed(value)
        try:
            indexes, start = read_indexes(value, FRAME)
        except ValueError:
            raise RejectedRecord(
                "not_framed", "behind the schema's id the value has no message indexes, as framed Protobuf has"
            ) from None
        name = self._names_in(number).get(indexes)
        if name != self._name:
            place = ".".join(map(str, indexes))
            found = f"the message {name}" if name else f"its message {place}, which it doesn't have"
            raise RejectedRecord(
                "another_message", f"the value is, by schema {number}, {found}; {self._name} was expected"
            )
        return start

    def _names_in(self, number: int) -> Mapping[Indexes, str]:
        if number not in self._names:
            self._names[number] = message_names(registered(self._registry, number, "PROTOBUF").text)
        return self._names[number]
