"""A Protobuf schema that lies beside the DAG file: its message's class, and the event type that follows from it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from topicledger.errors import SettingsError
from topicledger.field_types import Digits

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
"""Messages that stand for a value which may be unset."""


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether a field has any number of values."""
    return _is(field, "repeated", FieldDescriptor.LABEL_REPEATED)


def _is_required(field: FieldDescriptor) -> bool:
    """Whether a message without it isn't one, which only the old syntax has."""
    return _is(field, "required", FieldDescriptor.LABEL_REQUIRED)


def _is(field: Any, what: str, label: int) -> bool:
    # The library was asked for labels up to its version 6, and not from 7 on.
    return bool(getattr(field, f"is_{what}") if hasattr(field, f"is_{what}") else field.label == label)


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map, which Protobuf keeps as repeated entries."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def entry_fields(field: FieldDescriptor) -> Mapping[str, FieldDescriptor]:
    """The fields of a map's entry, `key` and `value`."""
    assert field.message_type is not None  # noqa: S101 - it is a map
    return field.message_type.fields_by_name


def message_of(message: str | type[Message], descriptors: bytes | None) -> type[Message]:
    """A message's class.

    Args:
        message: It, or its full name in a descriptor set.
        descriptors: The descriptor set, as `protoc --include_imports --descriptor_set_out` writes it.

    Raises:
        SettingsError: It isn't a descriptor set with all its imports, or doesn't have the message.
    """
    if isinstance(message, type):
        return message
    pool = DescriptorPool()
    try:
        files = FileDescriptorSet.FromString(descriptors or b"").file
        for file in files:
            pool.AddSerializedFile(file.SerializeToString())
    except (DecodeError, TypeError) as error:  # not one, or without what it imports
        raise SettingsError(
            f"the Protobuf schema is no descriptor set with all its imports, {error!s:.200}: make it with "
            "protoc --include_imports --descriptor_set_out=order.binpb order.proto",
            code="protobuf-schema-invalid",
        ) from error
    try:
        return GetMessageClass(pool.FindMessageTypeByName(message))
    except KeyError as error:
        there = [f"{file.package}.{one.name}".lstrip(".") for file in files for one in file.message_type]
        raise SettingsError(
            f"the Protobuf schema has no message {message}: name one of {', '.join(reversed(there)):.500}",
            code="protobuf-message-missing",
        ) from error


def event_of_protobuf(message: str | type[Message], descriptors: bytes | None) -> type[msgspec.Struct]:
    """Make the event type of a message: a field for each of its own, messages in it as types of their own.

    What may be unset is `None` by default. A message inside of itself is `Any`: a json column takes it. The class
    pickles as the call that makes it.

    Args:
        message: As for `message_of`.
        descriptors: Likewise.

    Raises:
        SettingsError: As `message_of`.
    """
    described = cast("Descriptor", message_of(message, descriptors).DESCRIPTOR)
    event: type[msgspec.Struct] = _struct(described, (), {"made_by": (event_of_protobuf, (message, descriptors))})
    return event


def _struct(message: Descriptor, within: tuple[str, ...], namespace: dict[str, Any] | None = None) -> Any:
    if message.full_name in within:
        return Any
    within = (*within, message.full_name)
    fields: list[Any] = []
    for field in message.fields:
        kind = _field_type(field, within)
        optional = field.has_presence and not _is_required(field)
        fields.append((field.name, kind | None, None) if optional else (field.name, kind))
    return msgspec.defstruct(message.name, fields, kw_only=True, frozen=True, module=__name__, namespace=namespace)


def _field_type(field: FieldDescriptor, within: tuple[str, ...]) -> Any:
    if is_map(field):
        return dict[str, _one(entry_fields(field)["value"], within)]  # type: ignore[misc] # a type that is made here
    one = _one(field, within)
    return list[one] if is_repeated(field) else one  # type: ignore[valid-type]


def _one(field: FieldDescriptor, within: tuple[str, ...]) -> Any:
    if field.enum_type is not None:
        return Literal[tuple(value.name for value in field.enum_type.values_by_number.values())]
    if (message := field.message_type) is not None:
        if message.full_name in WRAPPERS:
            return _one(message.fields_by_name["value"], within)
        known = _WELL_KNOWN.get(message.full_name)
        return _struct(message, within) if known is None else known
    return _SCALARS[field.cpp_type] if field.type != FieldDescriptor.TYPE_BYTES else bytes


_WELL_KNOWN = {
    "google.protobuf.Timestamp": dt.datetime,
    "google.protobuf.Duration": Annotated[Decimal, Digits(21, 9)],
    "google.protobuf.Struct": dict[str, Any],
    "google.protobuf.Value": Any,
    "google.protobuf.ListValue": list[Any],
}

_SCALARS = {
    FieldDescriptor.CPPTYPE_INT32: int,
    FieldDescriptor.CPPTYPE_INT64: int,
    FieldDescriptor.CPPTYPE_UINT32: int,
    FieldDescriptor.CPPTYPE_UINT64: int,
    FieldDescriptor.CPPTYPE_DOUBLE: float,
    FieldDescriptor.CPPTYPE_FLOAT: float,
    FieldDescriptor.CPPTYPE_BOOL: bool,
    FieldDescriptor.CPPTYPE_STRING: str,
}
