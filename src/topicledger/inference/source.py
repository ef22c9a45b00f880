"""The DAG file that a sample leads to: its classes, its pipeline, its DAG, laid out as a formatter would."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from topicledger.inference.keys import propose_key
from topicledger.inference.names import IMPORTED, class_name, identifiers, is_nameable, quoted, singular, words
from topicledger.inference.sample import Sample
from topicledger.inference.types import Field, Typing
from topicledger.pipeline import table_of

_WIDTH = 120
_SELDOM, _MANY = 10, 5
_FEW_RECORDS = 100
_MODULES = {
    "dt": "import datetime as dt",
    "Decimal": "from decimal import Decimal",
    "UUID": "from uuid import UUID",
}
_OF_TYPING = ("Annotated", "Any", "Literal")
_OF_TOPICLEDGER = ("Avro", "Digits", "EpochMicros", "EpochMillis", "EpochSeconds", "Json", "JsonSchema", "Pipeline")


def dag_file(sample: Sample, topic: str, table: str | None, conn_ids: Mapping[str, str]) -> str:
    """Write the whole DAG file that loads a sample's topic.

    Args:
        sample: What was seen.
        topic: The topic.
        table: The rows table, where it isn't the one that the topic's name makes.
        conn_ids: Ids of connections, as arguments of `ledger_dag`, that aren't its defaults.
    """
    event = class_name(singular(topic))
    typing = Typing(taken={event, *IMPORTED}, exact=sample.format.startswith("Avro"), nullable=sample.nullable)
    names, seldom = _told_apart(sample)
    fields = typing.fields(sample.root, names, event)
    classes = [*typing.classes, (event, fields)]
    key = propose_key(sample, topic, {*names} - {*sample.nullable})
    columns = dict(zip(names, identifiers(names, typing.taken)[0], strict=True))
    constant = "_".join(words(topic)).upper()
    constant = constant if constant.isidentifier() else f"TOPIC_{constant}"
    keep = [*(["unknown"] if seldom else []), *(["key"] if _key_is_elsewhere(sample) else [])]
    pipeline = {"topic": quoted(topic), "event": event}
    pipeline |= {"key": _tuple([columns[name] for name in key.fields])} if key.fields else {}
    pipeline |= {"table": quoted(table)} if table else {}
    pipeline |= {"format": sample.format} if sample.format else {}
    pipeline |= {"keep": f"({', '.join(map(quoted, keep))},)"} if keep else {}
    body = [line for name, its in classes for line in ("", "", *_class(name, its, typing.taken, nested=name != event))]
    lines = [
        *_docstring(sample, topic, table or table_of(topic)),
        *_imports([*body, sample.format]),
        *body,
        "",
        "",
        *(f"# {remark}" for remark in _remarks(sample, seldom)),
        f"# {'key: ' if key.fields else 'no key: '}{key.reason}",
        *_call(f"{constant} = Pipeline", [], pipeline),
        *_call("ledger_dag", [constant], {"schedule": '"@hourly"', **{k: quoted(v) for k, v in conn_ids.items()}}),
    ]
    return "\n".join(lines) + "\n"


def _told_apart(sample: Sample) -> tuple[list[str], int]:
    """The names of the event's fields, and how many others are too seldom, and too many, for a column each."""
    root = sample.root
    names = [name for name in root.fields if is_nameable(name)]
    common = [name for name in names if root.fields[name].total * _SELDOM >= sample.objects]
    if len(names) - len(common) >= _MANY or root.others is not None:
        names = common
    return names, len(root.fields) - len(names)


def _key_is_elsewhere(sample: Sample) -> bool:
    """Whether the record's key says what its value doesn't."""
    return sample.keyed > 0 and not sample.key_fields


def _docstring(sample: Sample, topic: str, table: str) -> list[str]:
    said = f'"""The topic `{topic}` into the table `{table}`, as {sample.records:,} of its newest records are."""'
    return [said, ""] if len(said) <= _WIDTH else [f'"""The topic `{topic}`', f'into the table `{table}`."""', ""]


def _remarks(sample: Sample, seldom: int) -> Iterator[str]:
    if sample.objects < _FEW_RECORDS:
        yield f"From {sample.objects:,} records only: run `topicledger infer` again when there are more."
    if sample.unreadable:
        yield f"{sample.unreadable:,} of {sample.records:,} records aren't objects: they become dead letters."
    if sample.tombstones:
        yield f"{sample.tombstones:,} of {sample.records:,} records are tombstones: counted, not loaded."
    if seldom:
        yield f"{seldom:,} fields that hardly a record has are kept together, in the column _unknown_fields."
    if _key_is_elsewhere(sample):
        yield "The record's key isn't in the value: it is kept, in the column _kafka_key."


def _imports(body: Sequence[str]) -> list[str]:
    """What the classes name, their texts and comments aside."""
    code = re.sub(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|#.*', "", "\n".join(body))
    used = {*re.findall(r"\w+", code), "Pipeline"}
    standard = [line for name, line in _MODULES.items() if name in used]
    typing = [name for name in _OF_TYPING if name in used]
    if typing:
        standard.insert(len(standard) - ("UUID" in used), f"from typing import {', '.join(typing)}")
    own = ", ".join(name for name in _OF_TOPICLEDGER if name in used)
    return [
        *([*standard, ""] if standard else []),
        "import msgspec",
        f"from topicledger import {own}",
        "from topicledger.airflow import ledger_dag",
    ]


def _class(name: str, fields: Sequence[Field], hidden: Iterable[str], *, nested: bool) -> Iterator[str]:
    names = [field.name for field in fields]
    own, rule = identifiers(names, [*hidden])
    optional = [field.absent for field in fields]
    options = ["kw_only=True"] if sorted(optional) != optional else []
    # What an object is without, it is without in the column of JSON, too.
    options += ["omit_defaults=True"] if nested and any(optional) else []
    options += [f"rename={quoted(rule)}"] if rule else []
    yield f"class {name}({', '.join(['msgspec.Struct', *options])}):"
    if not fields:
        yield "    pass"
    for field, identifier in zip(fields, own, strict=True):
        name = "" if rule or identifier == field.name else field.name
        yield from _field(field, identifier, name, told_apart=nested and field.nullable and field.absent)


def _field(field: Field, identifier: str, name: str, *, told_apart: bool) -> Iterator[str]:
    """A field's lines.

    Args:
        field: The field.
        identifier: Its name in Python.
        name: That in the documents, where it has to be said.
        told_apart: Whether null is something else than absence, which only a column of JSON can say.
    """
    nullable = field.nullable or field.absent
    annotation = f"{field.annotation} | None" if nullable else field.annotation
    annotation, absent = (f"{annotation} | msgspec.UnsetType", "msgspec.UNSET") if told_apart else (annotation, "None")
    declared = f"    {identifier}: {annotation}"
    if name:
        default = {"default": absent} if field.absent else {}
        lines = list(_call(f"{declared} = msgspec.field", [], {**default, "name": quoted(name)}, indent="    "))
    else:
        lines = [f"{declared} = {absent}" if field.absent else declared]
    if field.notes:
        note = f"  # {'; '.join(field.notes)}"
        if len(lines) == 1 and len(lines[0] + note) <= _WIDTH:
            lines[0] += note
        else:
            lines.insert(0, f"    {note.strip()}")
    yield from lines


def _tuple(names: Sequence[str]) -> str:
    return quoted(names[0]) if len(names) == 1 else f"({', '.join(map(quoted, names))})"


def _call(called: str, first: Sequence[str], arguments: Mapping[str, str], indent: str = "") -> Iterator[str]:
    """A call, with an argument a line where it is too long for one."""
    given = [*first, *(f"{name}={value}" for name, value in arguments.items())]
    line = f"{called}({', '.join(given)})"
    if len(line) <= _WIDTH:
        yield line
        return
    yield f"{called}("
    inside = f"{indent}    {', '.join(given)}"
    yield from [inside] if len(inside) <= _WIDTH else [f"{indent}    {argument}," for argument in given]
    yield f"{indent})"
