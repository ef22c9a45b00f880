"""Fields that an event type doesn't have, at every depth: a type that refuses them, and which they are."""

from __future__ import annotations

import functools
import operator
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

import msgspec
from msgspec import inspect

Unknown = tuple[tuple[str, ...], Any]
"""Where an unknown field lies in the document, by the names and places on the way; its value."""


class UnknownFields:
    """Finds the fields that an event type doesn't have, in documents that it accepts.

    Args:
        event: The event type.
    """

    def __init__(self, event: type[msgspec.Struct]) -> None:
        self._event = inspect.type_info(event)
        self._names: dict[type, Mapping[str, inspect.Type | None]] = {}

    def find(self, document: Any) -> list[Unknown]:
        """All of them; none within one that is unknown as a whole."""
        return list(self._of(document, self._event, ()))

    def _of(self, value: Any, kind: inspect.Type | None, path: tuple[str, ...]) -> Iterator[Unknown]:
        if isinstance(value, dict):
            yield from self._of_object(value, kind, path)
        elif isinstance(value, list):
            yield from self._of_array(value, kind, path)

    def _of_object(self, value: dict[str, Any], kind: inspect.Type | None, path: tuple[str, ...]) -> Iterator[Unknown]:
        kind = _picked(kind, value)
        if isinstance(kind, inspect.DictType):
            for name, inner in value.items():
                yield from self._of(inner, kind.value_type, (*path, name))
        elif isinstance(kind, inspect.DataclassType | inspect.TypedDictType) or _is_object(kind):
            names = self._known(kind)
            for name, inner in value.items():
                if name not in names:
                    yield (*path, name), inner
                elif isinstance(inner, dict | list):
                    yield from self._of(inner, names[name], (*path, name))

    def _of_array(self, value: list[Any], kind: inspect.Type | None, path: tuple[str, ...]) -> Iterator[Unknown]:
        kind = _picked(kind, value)
        if isinstance(kind, inspect.CollectionType):
            for place, inner in enumerate(value):
                yield from self._of(inner, kind.item_type, (*path, str(place)))
        elif isinstance(kind, inspect.TupleType):
            for place, (inner, item_type) in enumerate(zip(value, kind.item_types, strict=False)):
                yield from self._of(inner, item_type, (*path, str(place)))
        elif isinstance(kind, inspect.StructType) and kind.array_like:
            tags = int(kind.tag is not None)
            for place, inner in enumerate(value[tags:]):
                if place < len(kind.fields):
                    yield from self._of(inner, kind.fields[place].type, (*path, str(place)))
                else:
                    yield (*path, str(place)), inner

    def _known(
        self, kind: inspect.StructType | inspect.DataclassType | inspect.TypedDictType
    ) -> Mapping[str, inspect.Type | None]:
        if kind.cls not in self._names:
            names: dict[str, inspect.Type | None] = {field.encode_name: field.type for field in kind.fields}
            if isinstance(kind, inspect.StructType) and kind.tag_field is not None:
                names[kind.tag_field] = None
            self._names[kind.cls] = names
        return self._names[kind.cls]


def _picked(kind: inspect.Type | None, value: dict[str, Any] | list[Any]) -> inspect.Type | None:
    """The type of a union that a value has; of several structs the one with its tag."""
    if isinstance(kind, inspect.Metadata):
        return _picked(kind.type, value)
    if not isinstance(kind, inspect.UnionType):
        return kind
    for member in kind.types:
        picked = _picked(member, value)
        if isinstance(picked, inspect.StructType):
            if picked.array_like is isinstance(value, list) and _tag(picked, value) == picked.tag:
                return picked
        elif isinstance(picked, _ARRAYS if isinstance(value, list) else _OBJECTS):
            return picked
    return None


_ARRAYS = (inspect.CollectionType, inspect.TupleType)
_OBJECTS = (inspect.DictType, inspect.DataclassType, inspect.TypedDictType)


def _is_object(kind: inspect.Type | None) -> TypeGuard[inspect.StructType]:
    return isinstance(kind, inspect.StructType) and not kind.array_like


def _tag(kind: inspect.StructType, value: dict[str, Any] | list[Any]) -> Any:
    if kind.tag is None:
        return None
    if isinstance(value, list):
        return value[0] if value else None
    return value.get(str(kind.tag_field))


def strict_type(event: type[msgspec.Struct]) -> type[msgspec.Struct] | None:
    """The event type, but that it refuses fields which it doesn't have, at every depth.

    Returns:
        A class derived from it; None where there can't be one, as for a type that contains itself.
    """
    try:
        return _strict_struct(event, ())
    except Exception:  # noqa: BLE001 - whatever deriving from a class raises: the slower way finds the same
        return None


def _strict_struct(struct: type[msgspec.Struct], within: tuple[type, ...]) -> type[msgspec.Struct]:
    if struct in within:
        raise TypeError(f"{struct.__name__} contains itself")
    hints = typing.get_type_hints(struct, include_extras=True)
    stricter = {name: _strict(hint, (*within, struct)) for name, hint in hints.items()}
    # All of them or none: keywords would come behind the others.
    again = [] if all(stricter[name] is hint for name, hint in hints.items()) else msgspec.structs.fields(struct)
    config = struct.__struct_config__
    # The tag as it is: one that is made of the class's name would be another for this class.
    strict = msgspec.defstruct(
        struct.__name__,
        [(field.name, stricter[field.name], _declared(field)) for field in again],
        bases=(struct,),
        module=struct.__module__,
        tag=config.tag,
        tag_field=config.tag_field,
        kw_only=bool(again),
        forbid_unknown_fields=True,
    )
    if strict.__struct_fields__ != struct.__struct_fields__:
        raise TypeError(f"{struct.__name__} has its fields in another order")
    return strict


def _declared(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory, name=field.encode_name)
    return msgspec.field(default=field.default, name=field.encode_name)


def _strict(hint: Any, within: tuple[type, ...]) -> Any:
    """An annotation with the strict types of the structs in it; the very same where there are none."""
    if isinstance(hint, typing.NewType):
        return _strict(hint.__supertype__, within)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _strict_struct(hint, within)
    origin, given = get_origin(hint), get_args(hint)
    if is_dataclass(origin or hint) or typing.is_typeddict(origin or hint) or _is_struct(origin):
        raise TypeError(f"{hint} can't be made strict")
    if not given or origin is Literal:
        return hint
    if origin is Annotated:
        inner = _strict(given[0], within)
        return hint if inner is given[0] else Annotated[(inner, *given[1:])]
    made = tuple(_strict(argument, within) for argument in given)
    if all(new is old for new, old in zip(made, given, strict=True)):
        return hint
    if origin in (Union, types.UnionType):
        return functools.reduce(operator.or_, made)
    return origin[made]


def _is_struct(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, msgspec.Struct)
