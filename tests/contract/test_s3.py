"""What only S3 can do to us: lost answers, refused conditions, uploads in parts, credentials. On an emulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest

from tests.contract.batches import TOPIC, Batch, load, origin
from tests.contract.loader import load_patiently, numbered
from tests.contract.places import Place
from tests.support.object_store import PASSWORD, Fault, ObjectStore
from topicledger.errors import RetriableError, SettingsError, TopicLedgerError
from topicledger.model.plan import OffsetRange
from topicledger.warehouse.contract import Warehouse

TRIES = 3
"""How often the client asks by itself."""


@pytest.fixture
def place(s3_place: Place) -> Place:
    return s3_place


@pytest.fixture
def faults(object_store: ObjectStore) -> Iterator[list[Fault]]:
    yield object_store.faults
    object_store.faults.clear()


def entry(number: int) -> str:
    return f"_topicledger/main.events/{number:020d}.json"


def prepared(place: Place) -> Warehouse:
    """A warehouse whose next load writes entry 3."""
    warehouse = place.ready()
    origin(warehouse)
    return warehouse


def keys(store: ObjectStore, place: Place, part: str) -> list[str]:
    return [key for key in store.keys(place.settings) if key.startswith(part)]


@pytest.mark.fault(82, "goes on")
@pytest.mark.parametrize("times", [1, TRIES])
def test_a_lost_answer_to_the_commit(place: Place, object_store: ObjectStore, faults: list[Fault], times: int) -> None:
    """The client saw a broken connection, or its own repeat saw 412: the load knows the entry for its own."""
    warehouse = prepared(place)
    faults.append(Fault("PUT", entry(3), times=times))
    assert load(warehouse, numbered(0, 5, "run")).accounts.loaded == 5
    assert faults[0].seen == times
    assert len(keys(object_store, place, "_topicledger/")) == 3
    assert load(warehouse, numbered(0, 5, "run")).repeated
    assert warehouse.audit().notes == ()


@pytest.mark.fault(82, "goes on")
def test_an_answer_that_stays_lost(place: Place, faults: list[Fault]) -> None:
    """When the entry can't be asked either, the load is tried again, and finds itself in the ledger."""
    warehouse = prepared(place)
    faults.append(Fault("PUT", entry(3), times=TRIES))
    faults.append(Fault("GET", entry(3), status=503, code="SlowDown", times=TRIES))
    with pytest.raises(RetriableError):
        load(warehouse, numbered(0, 5, "run"))
    assert load(warehouse, numbered(0, 5, "run")).repeated


@pytest.mark.fault(82, "goes on")
def test_another_writer_was_faster(place: Place, faults: list[Fault]) -> None:
    """412 with another's entry: the load starts again from its positions, and no offset is loaded twice."""
    warehouse = prepared(place)
    other = place.warehouse()
    faults.append(Fault("PUT", entry(3), status=None, before=lambda _: load(other, numbered(0, 3, "fast"))))
    with pytest.raises(RetriableError, match="another load wrote entry 3"):
        load(warehouse, numbered(0, 5, "slow"))
    a = load_patiently(warehouse, numbered(0, 5, "slow")).accounts
    assert (a.already_loaded, a.loaded) == (3, 2)
    assert place.query("SELECT COUNT(*), COUNT(DISTINCT _kafka_offset) FROM main.events_loaded") == [(5, 5)]
    assert "1 orphaned files" in str(warehouse.audit().notes)


@pytest.mark.fault(82, "goes on")
def test_a_conflict_that_passes(place: Place, faults: list[Fault]) -> None:
    """409 means that another conditional request was under way: it is asked again."""
    warehouse = prepared(place)
    faults.append(Fault("PUT", entry(3), status=409, code="ConditionalRequestConflict", times=2))
    assert load(warehouse, numbered(0, 5, "run")).accounts.loaded == 5


@pytest.mark.slow
@pytest.mark.parametrize(("status", "code"), [(409, "ConditionalRequestConflict"), (503, "SlowDown")])
def test_a_commit_that_is_refused(place: Place, faults: list[Fault], status: int, code: str) -> None:
    """What stays refused is a RetriableError, and nothing of the batch is to be seen."""
    warehouse = prepared(place)
    faults.append(Fault("PUT", entry(3), status=status, code=code, times=99))
    with pytest.raises(RetriableError, match=code):
        load(warehouse, numbered(0, 5, "run"))
    assert warehouse.positions(TOPIC)[0].position == 0
    assert place.query("SELECT COUNT(*) FROM main.events_loaded") == [(0,)]
    faults.clear()
    assert load(warehouse, numbered(0, 5, "run")).accounts.loaded == 5
    assert warehouse.audit().notes == ()


@pytest.mark.slow
@pytest.mark.fault(82, "goes on")
def test_an_upload_in_parts_that_breaks_off(place: Place, object_store: ObjectStore, faults: list[Fault]) -> None:
    """Of a file whose second part fails nothing is visible, and the parts are given up; the next load has all."""
    warehouse = prepared(place)
    batch = Batch([OffsetRange(0, 0, 24)])
    for offset in range(24):
        batch.row(0, offset, offset, name=os.urandom(500_000).hex())
    before = keys(object_store, place, "events/")
    faults.append(Fault("PUT", "partNumber=2", status=503, code="SlowDown", times=99))
    with pytest.raises(RetriableError):
        load(warehouse, batch)
    assert faults[0].seen
    assert keys(object_store, place, "events/") == before
    client, bucket = object_store.client(), place.settings.extra["bucket"]
    assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    faults.clear()
    assert load(warehouse, batch).accounts.loaded == 24
    assert place.query("SELECT COUNT(*) FROM main.events") == [(24,)]


def test_a_store_that_ignores_the_condition(place: Place, faults: list[Fault]) -> None:
    """A store that overwrites what must only be created is refused before anything rests on it."""
    faults.append(
        Fault("PUT", entry(1), status=None, times=9, before=lambda environ: environ.pop("HTTP_IF_NONE_MATCH", None))
    )
    with pytest.raises(SettingsError, match="ignores If-None-Match"):
        place.ready()


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "AccessDenied"), (403, "InvalidAccessKeyId"), (403, "SignatureDoesNotMatch"), (400, "ExpiredToken")],
)
def test_refused_credentials(place: Place, faults: list[Fault], status: int, code: str) -> None:
    """A person fixes them; the message has S3's code and no secret."""
    faults.append(Fault("GET", "", status=status, code=code, times=99))
    with pytest.raises(SettingsError, match=code) as refused:
        place.ready()
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bucket": None}, "names no bucket"),
        ({"bucket": "there-is-none"}, "NoSuchBucket"),
        ({"prefix": "with/*"}, "is not usable"),
        ({"buckte": "x"}, "which S3 connections don't take here"),
        ({"endpoint_url": "not an address"}, "Correct the connection"),
        ({"profile_name": "nobody"}, "Correct the connection"),
    ],
)
def test_a_connection_that_does_not_work(place: Place, changes: dict[str, Any], said: str) -> None:
    """Each wrong field is a SettingsError that says what is wrong."""
    with pytest.raises(SettingsError, match=said):
        place.with_extra(**changes).ready()


def test_nobody_answers(place: Place) -> None:
    """An endpoint that isn't reachable may come back."""
    with pytest.raises(RetriableError, match="try again"):
        place.with_extra(endpoint_url="http://127.0.0.1:9").ready()


def test_without_any_credentials(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """No key in the connection and none where boto3 looks is a SettingsError."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    bare = replace(place, settings=replace(place.settings, login=None, password=None))
    with pytest.raises(SettingsError, match="credentials"):
        bare.ready()


def test_a_role_is_assumed(place: Place, object_store: ObjectStore) -> None:
    """With role_arn the role's own credentials are asked for and used."""
    object_store.requests.clear()
    role = place.with_extra(
        role_arn="arn:aws:iam::123456789012:role/loader", assume_role_kwargs={"ExternalId": "whoever"}
    )
    assert load(prepared(role), numbered(0, 2, "run")).accounts.loaded == 2
    assert any(request.startswith("POST /") for request in object_store.requests)


def test_every_error_is_ours(place: Place, faults: list[Fault]) -> None:
    """Whatever is answered, no exception of the driver's gets out."""
    warehouse = prepared(place)
    for status, code in ((400, "Whatever"), (404, "NoSuchUpload"), (405, "MethodNotAllowed"), (501, "NotImplemented")):
        faults[:] = [Fault("PUT", "", status=status, code=code, times=99)]
        with pytest.raises(TopicLedgerError):
            load(warehouse, numbered(0, 2, "run"))


FORK = """
import json, sys
from tests.contract.batches import pipeline
from tests.support.forked import in_a_fork
from topicledger.warehouse.choice import open_warehouse
from topicledger.connection import Connection
warehouse = open_warehouse(Connection(**json.load(sys.stdin)), pipeline())
warehouse.positions("events")
print(in_a_fork(lambda: warehouse.positions("events")))
"""


@pytest.mark.slow
def test_a_client_stays_in_its_process(place: Place) -> None:
    """A fork doesn't use the connections that its parent has opened."""
    prepared(place)
    done = subprocess.run(
        [sys.executable, "-c", FORK],
        input=json.dumps(asdict(place.settings)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "is used in its fork" in done.stdout
