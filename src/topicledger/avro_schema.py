"""An Avro schema, parsed: every name resolved, every default as the value that it stands for. Pure.

The specification is https://avro.apache.org/docs/1.12.0/specification/.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Any
from uuid import UUID

NOTHING: Any = object()
"""The default of a field that has none."""

_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_EPOCH = dt.datetime(1970, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=dt.UTC)
_DAY_US = 86_400_000_000


class InvalidSchema(ValueError):  # noqa: N818 - what was found
    """A text is no Avro schema; its message says why."""


@dataclass(eq=False, slots=True)
class Type:
    """One type of a schema; a record may have itself inside.

    Args:
        kind: What it is in Avro's words: `record`, `union`, `long` and so on; an error is a record.
        name: Its full name, where it has one.
        aliases: Other full names of it.
        logical: Its logical type, where that is one of those that are known for its kind; else it is ignored.
        scale: Digits behind the point of a decimal.
        precision: Its digits in all.
        size: Bytes of a fixed.
        symbols: Of an enum.
        default: The symbol that an enum reads unknown ones as.
        inner: What an array or a map has in it, or the branches of a union.
        fields: Of a record.
    """

    kind: str
    name: str = ""
    aliases: frozenset[str] = frozenset()
    logical: str = ""
    scale: int = 0
    precision: int = 0
    size: int = 0
    symbols: tuple[str, ...] = ()
    default: str | None = None
    inner: tuple[Type, ...] = ()
    fields: tuple[Field, ...] = ()

    def __str__(self) -> str:
        """As a sentence names it."""
        if self.kind == "union":
            return " or ".join(map(str, self.inner))
        return " ".join(filter(None, (self.logical or self.kind, self.name)))


@dataclass(eq=False, slots=True)
class Field:
    """A field of a record.

    Args:
        name: Its name.
        aliases: Its other names.
        type: Its type.
        default: What it is where the writer's record doesn't have it, or `NOTHING`.
    """

    name: str
    aliases: tuple[str, ...]
    type: Type
    default: Any


def parse(text: str, references: Mapping[str, str] | None = None) -> Type:
    """Parse a schema.

    Args:
        text: The schema, as JSON.
        references: The texts of those that it refers to, each behind what it refers to itself.

    Raises:
        InvalidSchema: It isn't one.
    """
    parser = _Parser()
    try:
        for referred in (references or {}).values():
            parser.type(json.loads(referred), "")
        return parser.type(json.loads(text), "")
    except json.JSONDecodeError as error:
        raise InvalidSchema(f"no JSON: {error}") from error
    except KeyError as error:
        raise InvalidSchema(f"something in it has no {error}") from error
    except RecursionError as error:
        raise InvalidSchema("nested too deeply") from error
    except (TypeError, AttributeError) as error:
        raise InvalidSchema(f"not built as a schema is, {error}") from error


class _Parser:
    def __init__(self) -> None:
        self._named: dict[str, Type] = {}

    def type(self, schema: Any, namespace: str) -> Type:
        if isinstance(schema, str):
            return Type(schema) if schema in _PRIMITIVES else self._known(schema, namespace)
        if isinstance(schema, list):
            return Type("union", inner=tuple(self.type(branch, namespace) for branch in schema))
        kind = schema["type"]
        if not isinstance(kind, str):
            return self.type(kind, namespace)
        made = self._complex(schema, kind, namespace)
        logical = schema.get("logicalType")
        if (made.kind, logical) in LOGICAL:
            _make_logical(made, schema, str(logical))
        return made

    def _complex(self, schema: Mapping[str, Any], kind: str, namespace: str) -> Type:
        if kind in ("array", "map"):
            return Type(kind, inner=(self.type(schema["items" if kind == "array" else "values"], namespace),))
        if kind == "fixed":
            return self._name(Type(kind, size=int(schema["size"])), schema, namespace)
        if kind == "enum":
            made = Type(kind, symbols=tuple(schema["symbols"]), default=schema.get("default"))
            return self._name(made, schema, namespace)
        if kind in ("record", "error"):
            made = self._name(Type("record"), schema, namespace)
            namespace = made.name.rpartition(".")[0]
            made.fields = tuple(self._field(field, namespace) for field in schema["fields"])
            return made
        return Type(kind) if kind in _PRIMITIVES else self._known(kind, namespace)

    def _field(self, field: Mapping[str, Any], namespace: str) -> Field:
        kind, default = self.type(field["type"], namespace), field.get("default", NOTHING)
        if default is not NOTHING:
            try:
                default = _value(kind, default)
            except (ValueError, OverflowError) as error:
                raise InvalidSchema(
                    f"the default of the field {field['name']} is no {kind}: {default!r:.100}"
                ) from error
        return Field(field["name"], tuple(field.get("aliases", ())), kind, default)

    def _name(self, made: Type, schema: Mapping[str, Any], namespace: str) -> Type:
        made.name = _full(schema["name"], schema.get("namespace", namespace))
        own = made.name.rpartition(".")[0]
        made.aliases = frozenset(_full(alias, own) for alias in schema.get("aliases", ()))
        if made.name in self._named:
            raise InvalidSchema(f"{made.name} is defined twice")
        self._named[made.name] = made
        return made

    def _known(self, name: str, namespace: str) -> Type:
        known = self._named.get(_full(name, namespace)) or self._named.get(name)
        if known is None:
            raise InvalidSchema(f"nothing defines the type {name!r:.100}")
        return known


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _make_logical(made: Type, schema: Mapping[str, Any], logical: str) -> None:
    if logical == "decimal":
        precision, scale = schema["precision"], schema.get("scale", 0)
        if not 0 <= int(scale) <= int(precision):
            raise InvalidSchema(f"a decimal of {precision} digits, {scale} of them behind the point")
        made.precision, made.scale = int(precision), int(scale)
    elif logical == "uuid" and made.kind == "fixed" and made.size != 16:
        return
    made.logical = logical


def _value(kind: Type, default: Any) -> Any:
    """The value that a default's JSON stands for.

    Raises:
        ValueError: None of this type.
    """
    match kind.kind:
        case "union":
            return _value_of_first(kind.inner, default)
        case "array" if isinstance(default, list):
            return [_value(kind.inner[0], item) for item in default]
        case "map" if isinstance(default, dict):
            return {key: _value(kind.inner[0], item) for key, item in default.items()}
        case "record" if isinstance(default, dict):
            return {f.name: _value(f.type, default[f.name]) if f.name in default else f.default for f in kind.fields}
        case "bytes" if isinstance(default, str):
            return logical_value(kind)(default.encode("latin-1"))
        case "fixed" if isinstance(default, str) and len(default) == kind.size:
            return logical_value(kind)(default.encode("latin-1"))
        case "float" | "double" if isinstance(default, int | float) and not isinstance(default, bool):
            return float(default)
    python = {"null": type(None), "boolean": bool, "int": int, "long": int, "string": str, "enum": str}
    if type(default) is not python.get(kind.kind) or (kind.kind == "enum" and default not in kind.symbols):
        raise ValueError(default)
    return logical_value(kind)(default)


def _value_of_first(branches: tuple[Type, ...], default: Any) -> Any:
    for branch in branches:
        try:
            return _value(branch, default)
        except (ValueError, OverflowError):
            continue
    raise ValueError(default)


def logical_value(kind: Type) -> Callable[[Any], Any]:
    """What makes the value of a type's logical one of its plain one; the value itself where it has none.

    It raises ValueError or OverflowError for what the logical type can't be.
    """
    if kind.logical == "decimal":
        return lambda data: _EXACT.scaleb(Decimal(int.from_bytes(data, signed=True)), -kind.scale)
    return LOGICAL[kind.kind, kind.logical] if kind.logical else lambda value: value


def _time(microseconds: int) -> dt.time:
    if not 0 <= microseconds < _DAY_US:
        raise ValueError(f"{microseconds} microseconds are no time of a day")
    return (_EPOCH + dt.timedelta(0, 0, microseconds)).time()


LOGICAL: Mapping[tuple[str, str], Callable[[Any], Any]] = {
    ("bytes", "decimal"): bytes,
    ("fixed", "decimal"): bytes,
    ("string", "uuid"): UUID,
    ("fixed", "uuid"): lambda data: UUID(bytes=data),
    ("int", "date"): lambda days: _EPOCH.date() + dt.timedelta(days),
    ("int", "time-millis"): lambda millis: _time(millis * 1_000),
    ("long", "time-micros"): _time,
    ("long", "timestamp-millis"): lambda millis: _EPOCH_UTC + dt.timedelta(0, 0, 0, millis),
    ("long", "timestamp-micros"): lambda micros: _EPOCH_UTC + dt.timedelta(0, 0, micros),
    ("long", "local-timestamp-millis"): lambda millis: _EPOCH + dt.timedelta(0, 0, 0, millis),
    ("long", "local-timestamp-micros"): lambda micros: _EPOCH + dt.timedelta(0, 0, micros),
}
"""The logical types that are known, by the kind that they are of; a decimal's needs its scale (`logical_value`)."""
