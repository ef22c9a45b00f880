"""The blocks on warehouses: each connection is one and the same in all its forms, and the engine takes it."""

from __future__ import annotations

import tomllib

import pytest

from tests.docs.pages import ROOT, read
from tests.docs.warehouse_blocks import Block, blocks, index
from topicledger.signups import SIGNUPS
from topicledger.warehouse.choice import _EXTRAS, open_warehouse

BLOCKS = blocks()


def test_there_is_one_block_for_each_warehouse() -> None:
    """The table names every type that the engine knows, with the extra that brings its driver; each has a block."""
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    assert {kind: extra for _, kind, extra in index()} == _EXTRAS
    assert {extra for *_, extra in index()} == set(extras) - {"cli", "protobuf", "registry"}
    assert [name for name, *_ in index()] == list(BLOCKS)
    assert len(BLOCKS) == len(list((ROOT / "docs" / "warehouses").glob("[!R]*.md")))
    assert [block.as_json.conn_type for block in BLOCKS.values()] == [kind for _, kind, _ in index()]


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_all_forms_are_one_connection(block: Block) -> None:
    """The fields of the UI, the JSON and the variable are read as the same connection, which the engine takes."""
    assert block.in_the_ui == block.as_json == block.as_variable
    assert block.in_the_ui.extra == block.as_json.extra == block.as_variable.extra
    assert open_warehouse(block.settings, SIGNUPS).target


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_each_block_is_whole(block: Block) -> None:
    """Each has grants, and what appears."""
    assert "Grants" in block.text
    assert "What appears" in block.text
    assert len(block.appears) >= 3
