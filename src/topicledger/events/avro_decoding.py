"""Avro: a value's datum, resolved to the reader's schema, then to an event as the event type describes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from topicledger.avro_schema import InvalidSchema, parse
from topicledger.errors import RejectedRecord
from topicledger.events.avro_encoding import Malformed
from topicledger.events.avro_reading import Unresolved, reading
from topicledger.events.framing import FRAME, not_framed, registered, schema_id
from topicledger.events.rejections import rejection, storable
from topicledger.formats import Avro
from topicledger.model.schemas import Schemas

E = TypeVar("E", bound=msgspec.Struct)


class AvroDecoding:
    """Implements `topicledger.events.decoding.Decoding`.

    Args:
        avro: The declared format.
        registry: Gives the writers' schemas; None where there are no frames, or nothing is decoded.
    """

    def __init__(self, avro: Avro, registry: Schemas | None) -> None:
        self._reader = None if avro.text is None else parse(avro.text)
        self._registry = registry
        self._by_frame: dict[bytes, Callable[[bytes, int], Any]] = {}
        # A value that one event type refuses is looked at once more: its datum needn't be read again.
        self._refused: tuple[bytes | None, Any] = (None, None)
        self._datum = self._framed
        if self._reader is not None and not avro.framed:
            read = reading(self._reader)
            self._datum = lambda value: read(value, 0)

    def decoder(self, event: type[E]) -> Callable[[bytes], E]:
        """What makes an event of a value, by the very rules that hold for JSON."""
        read, convert = self._datum, msgspec.convert

        def decode(value: bytes) -> E:
            refused, datum = self._refused
            if refused is not value:
                datum = read(value)
            try:
                return convert(datum, event)
            except msgspec.ValidationError:
                self._refused = value, datum
                raise

        return decode

    def document(self, value: bytes) -> Any:
        """The datum, resolved to the reader's schema where there is one."""
        refused, datum = self._refused
        return datum if refused is value else self._datum(value)

    def rejection(self, value: bytes, error: Exception, *, by_event: bool) -> RejectedRecord:
        """Say why a value isn't an event."""
        if isinstance(error, RejectedRecord):
            return error
        if isinstance(error, Malformed):
            return RejectedRecord("invalid_avro", f"the datum isn't as its schema says: {_located(error)}")
        if isinstance(error, Unresolved):
            return RejectedRecord(
                "unresolved_schema", f"the datum can't be read by the reader's schema: {_located(error)}"
            )
        if isinstance(error, UnicodeDecodeError) and not by_event:
            return RejectedRecord("invalid_utf8", f"a text in the datum is not UTF-8: {error.reason}{_place(error)}")
        if isinstance(error, RecursionError) and not by_event:
            return RejectedRecord("too_deep", "the datum is nested too deeply to be decoded")
        return rejection(value, error, by_event=by_event)

    def _framed(self, value: bytes) -> Any:
        read = self._by_frame.get(value[:FRAME])
        if read is None:
            read = self._by_frame[value[:FRAME]] = self._opened(value)
        return read(value, FRAME)

    def _opened(self, value: bytes) -> Callable[[bytes, int], Any]:
        """What reads the values that have this one's frame."""
        number = schema_id(value)
        if number is None:
            raise not_framed(value)
        schema = registered(self._registry, number, "AVRO")
        try:
            return reading(parse(schema.text, schema.references), self._reader)
        except InvalidSchema as error:
            return _refusing(f"schema {number} of the registry isn't valid Avro, {error}")
        except Unresolved as error:
            return _refusing(f"schema {number} of the registry can't become the reader's: {_located(error)}")


def _refusing(sentence: str) -> Callable[[bytes, int], Any]:
    def refuse(_value: bytes, _start: int) -> Any:
        raise RejectedRecord("unresolved_schema", storable(sentence))

    return refuse


def _located(error: Exception) -> str:
    return storable(f"{error}{_place(error)}")


def _place(error: Exception) -> str:
    """Where in the event it is, as a decoder of JSON says it."""
    names = getattr(error, "__notes__", ())
    return f" - at `$.{'.'.join(reversed(names))}`" if names else ""
