"""In which format a topic's records are: what a pipeline declares of them. Pure; imports nothing large."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from topicledger.errors import SettingsError

if TYPE_CHECKING:
    import msgspec

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
        _require_envelope(self.envelope)


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """A value is Confluent's framing, then JSON as its serializer for JSON Schema writes it.

    The event type judges, and no registry is asked: the schema would only say of a record what the type says anyway.

    Args:
        envelope: As for `Json`.

    Raises:
        SettingsError: There is no such envelope.
    """

    asks_registry: ClassVar[bool] = False
    is_text: ClassVar[bool] = False

    envelope: Envelope | None = None

    def __post_init__(self) -> None:
        _require_envelope(self.envelope)


@dataclass(frozen=True, slots=True)
class Avro:
    """A value is Confluent's framing, then an Avro datum; the registry has the schema that it was written with.

    Args:
        schema: The reader's schema: the absolute path of a file, to which each datum is resolved; also what the event
            type follows from where the pipeline declares none. None: a datum is as it was written.
        framed: Whether there is a frame; without one `schema` is the writer's, and no registry is asked.

    Raises:
        SettingsError: The file can't be read, or holds no record's schema.
    """

    is_text: ClassVar[bool] = False

    schema: Path | None = None
    framed: bool = True
    text: str | None = field(init=False, default=None, repr=False)
    """The file's text, read once: what the declaration says doesn't change while it is used."""

    def __post_init__(self) -> None:
        if self.schema is not None:
            object.__setattr__(self, "text", schema_text(self.schema, "order.avsc"))
            self.event_type()
        elif not self.framed:
            raise SettingsError(
                "format is Avro(framed=False) without a schema, and nothing else says how to read its records: name "
                'the file, schema=Path(__file__).with_name("order.avsc")',
                code="avro-schema-missing",
            )

    @property
    def asks_registry(self) -> bool:
        """Whether a schema registry is asked for schemas."""
        return self.framed

    def event_type(self) -> type[msgspec.Struct] | None:
        """The event type that follows from the schema; None where there is none."""
        from topicledger.avro_event import event_of_avro

        return None if self.text is None else event_of_avro(self.text)


@dataclass(frozen=True, slots=True)
class Protobuf:
    """A value is Confluent's framing, then a Protobuf message; the registry says which message of its schema.

    Args:
        message: Its full name, such as `shop.Order`, in `schema`; or its generated class, such as `orders_pb2.Order`.
        schema: The absolute path of a descriptor set, which `protoc --include_imports --descriptor_set_out` writes.
        framed: Whether there is a frame; without one no registry is asked.

    Raises:
        SettingsError: The file can't be read, or doesn't have the message; or the package's extra isn't installed.
    """

    is_text: ClassVar[bool] = False

    message: str | type[Any]
    schema: Path | None = None
    framed: bool = True
    descriptors: bytes | None = field(init=False, default=None, repr=False)
    """The file's bytes, read once: what the declaration says doesn't change while it is used."""

    def __post_init__(self) -> None:
        message: object = self.message
        generated = isinstance(message, type) and hasattr(message, "DESCRIPTOR")
        if generated if self.schema is not None else not generated:
            raise SettingsError(
                f"format is Protobuf({message!r:.100}, schema={self.schema!r:.200}): name a message and the file that "
                'has it, Protobuf("shop.Order", schema=Path(__file__).with_name("order.binpb")), or a generated class',
                code="protobuf-declared-wrong",
            )
        if self.schema is not None:
            object.__setattr__(self, "descriptors", schema_bytes(self.schema, "order.binpb"))
            self.message_type()

    @property
    def asks_registry(self) -> bool:
        """Whether a schema registry is asked for schemas."""
        return self.framed

    def message_type(self) -> type[Any]:
        """The message's class."""
        found: type[Any] = self._read().message_of(self.message, self.descriptors)
        return found

    def event_type(self) -> type[msgspec.Struct]:
        """The event type that follows from the schema."""
        event: type[msgspec.Struct] = self._read().event_of_protobuf(self.message, self.descriptors)
        return event

    def _read(self) -> Any:
        try:
            from topicledger import protobuf_schema
        except ImportError as error:
            raise SettingsError(
                f"the protobuf library, which format=Protobuf(...) takes, can't be imported ({error}): "
                "pip install 'topicledger[protobuf]'",
                code="protobuf-missing",
            ) from error
        return protobuf_schema


def _require_envelope(envelope: object) -> None:
    if envelope not in (None, *get_args(Envelope)):
        raise SettingsError(
            f"envelope is {envelope!r:.100}: use 'connect', 'debezium', or None for none", code="envelope-invalid"
        )


def schema_text(path: Path, example: str) -> str:
    """Read a schema's file, a text.

    Raises:
        SettingsError: It can't be, or it isn't named by an absolute path.
    """
    try:
        return schema_bytes(path, example).decode()
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"the schema file {path} can't be read, {error}: put it there in UTF-8", code="schema-file-unreadable"
        ) from error


def schema_bytes(path: Path, example: str) -> bytes:
    """Read a schema's file.

    Raises:
        SettingsError: It can't be, or it isn't named by an absolute path.
    """
    given: object = path
    if not isinstance(given, Path) or not given.is_absolute():
        raise SettingsError(
            f"schema is {path!r:.200}, and from which folder a DAG file is run nobody knows: name the file beside it, "
            f'schema=Path(__file__).with_name("{example}")',
            code="schema-path-relative",
        )
    try:
        return _packed(path) if any(parent.is_file() for parent in path.parents) else path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"the schema file {path} can't be read, {error}: put it there, readable", code="schema-file-unreadable"
        ) from error


def _packed(path: Path) -> bytes:
    """A file in a zip, which Airflow takes DAG files from, too."""
    from zipfile import BadZipFile, ZipFile

    archive = next(parent for parent in path.parents if parent.is_file())
    try:
        with ZipFile(archive) as packed:
            return packed.read(path.relative_to(archive).as_posix())
    except (BadZipFile, KeyError) as error:
        raise OSError(f"it isn't in {archive}") from error


Format = Json | JsonSchema | Avro | Protobuf
"""Every format there is."""
