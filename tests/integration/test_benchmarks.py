"""The benchmark itself works: on a small topic, without looking at any time that it measures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyarrow import parquet

from benchmarks import growth, report
from benchmarks.ground import Ground
from benchmarks.measured import measured
from benchmarks.peers import PEERS
from benchmarks.peers.work import Work, require_files
from benchmarks.run import WAREHOUSES, Results, compare, compare_peers, grow
from benchmarks.setting import Setting
from devstack.broker import AnyBroker
from devstack.postgres import Postgres
from tests.support.looking import count
from tests.support.object_store import ObjectStore

RECORDS = 2_000


@pytest.fixture
def ground(kafka_broker: AnyBroker, postgres_server: Postgres, object_store: ObjectStore, tmp_path: Path) -> Ground:
    """The session's broker, PostgreSQL and emulator of S3, with a folder of its own."""
    return Ground(tmp_path, kafka_broker.bootstrap, postgres_server, object_store.endpoint)


@pytest.mark.slow
def test_a_step_is_measured(ground: Ground, tmp_path: Path) -> None:
    """Consume and load of a small topic give seconds and memory; nothing of them is left."""
    with ground.setting(ground.topic(RECORDS), RECORDS) as setting:
        assert Setting.from_json(setting.to_json()) == setting
        figures = [measured(task, setting) for task in ("consume", "load")]
    assert all(figure.seconds > 0 and figure.together_mb >= figure.largest_mb > 0 for figure in figures)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("warehouse", ["folder", "s3"])
def test_files_are_measured(ground: Ground, object_store: ObjectStore, tmp_path: Path, warehouse: str) -> None:
    """The bare load and ours come to the same rows; in the emulator and on disk nothing is left."""
    buckets = object_store.client().list_buckets()["Buckets"]
    with ground.setting(ground.topic(RECORDS), RECORDS, warehouse) as setting:
        for task in ("consume", f"bare_load_{warehouse}", "load"):
            assert measured(task, setting).seconds > 0
        bare = Path(setting.folder) / "bare.parquet"
        assert parquet.read_metadata(bare).num_rows == count(setting.place, "user_signups") == 0.99 * RECORDS
        if warehouse == "s3":
            assert setting.s3.head_object(Bucket=setting.bucket, Key="bare.parquet")["ContentLength"] > 0
    assert object_store.client().list_buckets()["Buckets"] == buckets
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_task_that_fails_says_why(ground: Ground) -> None:
    """A task whose topic has fewer records than it is told fails with what it said."""
    with ground.setting(ground.topic(RECORDS), RECORDS + 1) as setting:
        measured("consume", setting)
        with pytest.raises(RuntimeError, match=rf"load failed:(.|\n)*of {RECORDS + 1} records"):
            measured("load", setting)


@pytest.mark.parametrize(("rows", "rejected"), [(196, 2), (199, 1), (197, 3)])
def test_one_of_the_others_that_did_less_or_judged_otherwise_is_refused(
    tmp_path: Path, rows: int, rejected: int
) -> None:
    """Files with too few records, or others rejected than the malformed ones, don't count as the work."""
    work = Work("", "", 200, tmp_path)
    work.rows.write_text("header\n" + "row\n" * 198)
    work.rejected.write_text("malformed\n" * 2)
    require_files(work, headers=(1, 0))
    work.rows.write_text("header\n" + "row\n" * rows)
    work.rejected.write_text("malformed\n" * rejected)
    with pytest.raises(ValueError, match=f"{rows} rows and {rejected} rejected of 200 records"):
        require_files(work, headers=(1, 0))


@pytest.mark.slow
def test_what_grows_is_measured(ground: Ground, tmp_path: Path) -> None:
    """A batch of each kind is measured once, into warehouses with a past, too, whose books close with it."""
    found = {case: growth.measure(ground, case, 1) for case in growth.cases([RECORDS], batches=20, rows_a_batch=600)}
    assert [case for case in found if case.batches] == [growth.Case(1_000, batches=20, rows=12_000)]
    page = growth.write(found, tmp_path / "results")
    assert len(json.loads(page.with_suffix(".json").read_text())["cases"]) == len(found) == 7
    assert "| 1,000 | 1% | 6 | 12,000 |" in page.read_text()


@pytest.mark.slow
def test_the_whole_benchmark(ground: Ground, tmp_path: Path) -> None:
    """Everything is measured once and written down, as a page and as JSON."""
    results = Results(RECORDS, 1)
    compare(ground, results)
    compare_peers(ground, results)
    grow(ground, results, [10], 1)
    page = report.write(results, tmp_path / "results")
    found = json.loads(page.with_suffix(".json").read_text())
    assert set(found["compared"]) >= {
        "kcat",
        "bare_consume",
        "eager_consume",
        "consume for duckdb",
        "load postgres",
        "produce",
    }
    assert set(found["compared"]) >= {f"{bare}load {w}" for bare in ("bare ", "") for w in WAREHOUSES}
    assert set(found["sizes"]) == {"10"}
    assert set(found["compared"]) >= {name for name, peer in PEERS.items() if peer.runs_here}
    assert found["fewer_records"] == {"dlt": RECORDS // 10}
    said = page.read_text()
    assert "## 10 records" in said
    for peer in ("Airflow's ConsumeFromTopicOperator", "Kafka Connect's file sink with JSON"):
        assert f"planned from DuckDB / {peer}" in said
