"""A schema as a registry keeps it, by its id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema, with all that it refers to.

    Args:
        schema_id: The id under which records name it.
        kind: What it describes, in the registry's words.
        text: The schema: JSON, or for Protobuf a .proto file.
        references: The texts of the schemas that it refers to, by the names by which it does; one that another one
            refers to stands before it.
    """

    schema_id: int
    kind: Literal["AVRO", "JSON", "PROTOBUF"]
    text: str
    references: Mapping[str, str] = field(default_factory=dict)


Schemas = Callable[[int], RegisteredSchema]
"""Gives the schema of an id; raises a `RejectedRecord` for one that no registry knows."""
