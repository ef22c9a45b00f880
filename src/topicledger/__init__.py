"""topicledger: a Kafka topic into a warehouse as a batch whose books close.

The public names are below; `topicledger.airflow` has those of a DAG file. Importing this package costs nothing: a
name's module is imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from topicledger.columns import Column
    from topicledger.errors import IntegrityError, RejectedRecord, RetriableError, SettingsError, TopicLedgerError
    from topicledger.event_fields import columns_of
    from topicledger.field_types import Digits, EpochMicros, EpochMillis, EpochSeconds
    from topicledger.formats import Avro, Json, JsonSchema, Protobuf
    from topicledger.pipeline import Check, Pipeline

__version__ = "0.1.0"

__all__ = [
    "Avro",
    "Check",
    "Column",
    "Digits",
    "EpochMicros",
    "EpochMillis",
    "EpochSeconds",
    "IntegrityError",
    "Json",
    "JsonSchema",
    "Pipeline",
    "Protobuf",
    "RejectedRecord",
    "RetriableError",
    "SettingsError",
    "TopicLedgerError",
    "columns_of",
]

_MODULES = {
    "Check": "pipeline",
    "Pipeline": "pipeline",
    "Column": "columns",
    "Digits": "field_types",
    "EpochMicros": "field_types",
    "EpochMillis": "field_types",
    "EpochSeconds": "field_types",
    "columns_of": "event_fields",
    "Avro": "formats",
    "Json": "formats",
    "JsonSchema": "formats",
    "Protobuf": "formats",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'errors')}"), name)
