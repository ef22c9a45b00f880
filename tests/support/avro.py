"""Avro's bytes as fastavro and Confluent's own serializers make them; a registry's schemas from memory."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fastavro

from topicledger.model.schemas import RegisteredSchema, Schemas


def record(*fields: Mapping[str, Any], name: str = "Order", **more: Any) -> dict[str, Any]:
    """The schema of a record."""
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    """A field of one."""
    return {"name": name, "type": kind, **more}


def logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    """A logical type."""
    return {"type": kind, "logicalType": name, **more}


def written(schema: Any, datum: Any) -> bytes:
    """A datum, without a frame."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), datum)
    return out.getvalue()


def framed(schema: Any, datum: Any, schema_id: int = 1) -> bytes:
    """A datum behind Confluent's framing."""
    return b"\0" + schema_id.to_bytes(4) + written(schema, datum)


def known(*schemas: Any, kind: Any = "AVRO") -> Schemas:
    """What a registry with these schemas gives; their ids count from 1."""
    return {
        number: RegisteredSchema(number, kind, json.dumps(schema)) for number, schema in enumerate(schemas, start=1)
    }.__getitem__


def schema_file(folder: Path, schema: Any) -> Path:
    """A schema's file."""
    path = folder / "order.avsc"
    path.write_text(json.dumps(schema))
    return path
