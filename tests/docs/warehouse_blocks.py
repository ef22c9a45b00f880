"""The blocks with which the warehouses' pages begin, one for each, taken apart."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.docs.pages import fences, read, spans, tables
from topicledger.cli.connections import parse_json
from topicledger.connection import Connection

CONN_ID = "warehouse_default"

_IN_THE_UI = {
    "Connection Type": "conn_type",
    "Host": "host",
    "Port": "port",
    "Login": "login",
    "AWS Access Key ID": "login",
    "Password": "password",
    "AWS Secret Access Key": "password",
    "Database": "schema",
    "Schema": "schema",
    "Extra": "extra",
}


@dataclass(frozen=True)
class Block:
    """One warehouse's block.

    Args:
        title: Its heading.
        text: What stands below it.
    """

    title: str
    text: str

    @property
    def in_the_ui(self) -> Connection:
        """The connection that the table of fields describes."""
        fields: dict[str, Any] = {_IN_THE_UI[row[0]]: spans(row[1])[0] for row in tables(self.text)[0][1:]}
        return parse_json(CONN_ID, json.dumps(fields))

    @property
    def as_json(self) -> Connection:
        """The connection that the first JSON block is."""
        return parse_json(CONN_ID, self.code("json")[0])

    @property
    def as_variable(self) -> Connection:
        """The connection that the environment variable holds."""
        ((name, value),) = re.findall(r"^export (\w+)='(.*)'$", "".join(self.code("bash")), re.MULTILINE)
        assert name == f"AIRFLOW_CONN_{CONN_ID.upper()}"
        return parse_json(CONN_ID, value)

    @property
    def settings(self) -> Connection:
        """The same for the engine."""
        found = self.as_json
        names = Connection.__dataclass_fields__
        return Connection(**{name: getattr(found, name) for name in names})

    @property
    def appears(self) -> list[str]:
        """What it says that appears."""
        return "".join(self.code("text")).splitlines()

    def code(self, language: str) -> list[str]:
        """Its code blocks in a language."""
        return [code for found, code in fences(self.text) if found == language]


def blocks() -> dict[str, Block]:
    """Every block by its page's title: what stands before the page's first section."""
    names = re.findall(r"^\| \[.*?\]\((\w+\.md)\)", read("docs/warehouses/README.md"), re.MULTILINE)
    pages = [read(f"docs/warehouses/{name}").removeprefix("# ").partition("\n") for name in names]
    return {title: Block(title, text.partition("\n## ")[0]) for title, _, text in pages}


def index() -> list[list[str]]:
    """The table above all: warehouse, connection type, extra of the package."""
    return [
        [re.sub(r"\[(.*)\]\(.*", r"\1", row[0]), *(spans(cell)[0] for cell in row[1:3])]
        for row in tables(read("docs/warehouses/README.md"))[0][1:]
    ]
