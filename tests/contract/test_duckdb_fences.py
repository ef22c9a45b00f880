"""A DuckDB connection of ours reaches its own file and nothing else, and says when that file takes no more."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tests.contract.batches import apply, load, origin
from tests.contract.loader import numbered
from tests.contract.places import Place
from topicledger.errors import RetriableError, TopicLedgerError
from topicledger.warehouse.duckdb.warehouse import DuckdbSession


@pytest.fixture
def session(duckdb_file_place: Place) -> DuckdbSession:
    duckdb_file_place.ready()
    settings = duckdb_file_place.settings
    opened = DuckdbSession(settings, Path(str(settings.host)), create=False)
    opened.begin()
    opened.commit()
    return opened


@pytest.mark.fault(81, "stopped")
def test_statements_reach_no_file(session: DuckdbSession, tmp_path: Path) -> None:
    """Reading, writing and attaching other files is refused."""
    other = tmp_path / "other"
    other.write_text("n\n1\n")
    for statement in (
        f"SELECT * FROM read_csv('{other}')",
        f"COPY (SELECT 1) TO '{other}.csv'",
        f"ATTACH '{other}.duckdb' AS other",
        "INSTALL httpfs",
        f"LOAD '{other}'",
    ):
        with pytest.raises(TopicLedgerError, match="disabled"):
            session.query(statement)
    session.close()
    assert sorted(tmp_path.glob("other*")) == [other]


@pytest.mark.fault(81, "stopped")
def test_statements_change_no_setting(session: DuckdbSession) -> None:
    """The settings that fence the connection in can't be changed by a statement."""
    for statement in (
        "SET memory_limit = '2GB'",
        "SET autoload_known_extensions = true",
        "SET autoinstall_known_extensions = true",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
    ):
        with pytest.raises(TopicLedgerError, match="configuration has been locked"):
            session.execute(statement)
    session.close()


def test_a_commit_that_the_disk_refuses(duckdb_file_place: Place) -> None:
    """A COMMIT that can't be written raises, and its batch is loaded when there is room again."""
    warehouse = duckdb_file_place.ready()
    origin(warehouse)
    batch = numbered(0, 5_000, "run")
    batch.target = warehouse.target
    _, most = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(RetriableError, match="COMMIT was refused"), warehouse.loading() as transaction:  # noqa: PT012 - the block is what rolls back
        apply(transaction, batch)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, most))
        try:
            transaction.commit()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load(warehouse, batch).accounts.loaded == 5_000
