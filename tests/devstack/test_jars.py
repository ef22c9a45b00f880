"""Only the very jars that the lock names are used."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from devstack import jars
from devstack.errors import StackError
from devstack.jar_lock import BROKER, CONNECT, KAFKA_VERSION, JarLock, LockedJar, read_lock, write_lock

if TYPE_CHECKING:
    from pathlib import Path

GOOD = b"the bytes that were locked"
JAR = LockedJar("org.example:some-jar:1.0", hashlib.sha256(GOOD).hexdigest())


def serve(monkeypatch: pytest.MonkeyPatch, content: bytes) -> list[str]:
    """Answers every download with these bytes; returns the list of what was asked for."""
    asked: list[str] = []

    def download(jar: LockedJar, scratch: Path) -> Path:
        asked.append(jar.coordinate)
        path = scratch / jar.file_name
        path.write_bytes(content)
        return path

    monkeypatch.setattr(jars, "_download", download)
    return asked


def test_a_tampered_download_is_refused_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download with other bytes than the locked ones is refused, names both digests, and leaves no file."""
    serve(monkeypatch, b"something else")
    with pytest.raises(StackError) as caught:
        jars.fetch_jars([JAR], tmp_path)
    assert JAR.sha256 in caught.value.happened
    assert hashlib.sha256(b"something else").hexdigest() in caught.value.happened
    assert list(tmp_path.iterdir()) == []


def test_an_archive_keeps_its_own_ending() -> None:
    """What is no jar has classifier and packaging behind its version, and in its name."""
    assert LockedJar("org.example:app:1.0:all:tar.gz", "").file_name == "app-1.0-all.tar.gz"


def test_a_jar_is_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second use takes the jar from the cache."""
    asked = serve(monkeypatch, GOOD)
    first = jars.fetch_jars([JAR], tmp_path)
    assert jars.fetch_jars([JAR], tmp_path) == first == [tmp_path / "some-jar-1.0.jar"]
    assert asked == [JAR.coordinate]


def test_a_damaged_cached_jar_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A jar that was changed in the cache is downloaded again and not used."""
    serve(monkeypatch, GOOD)
    (tmp_path / JAR.file_name).write_bytes(b"damaged")
    (path,) = jars.fetch_jars([JAR], tmp_path)
    assert path.read_bytes() == GOOD


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A cache folder that can't be made ends in a message that names it and the setting."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="TOPICLEDGER_CACHE") as caught:
        jars.fetch_jars([JAR], tmp_path / "file" / "jars")
    assert str(tmp_path) in caught.value.happened


def test_given_jars_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KAFKA_JARS is used instead of any download, and refused when it holds no Kafka."""
    monkeypatch.setenv("KAFKA_JARS", str(tmp_path))
    with pytest.raises(StackError, match="KAFKA_JARS"):
        jars.kafka_class_path()
    (tmp_path / "kafka-clients-4.0.0.jar").write_text("")
    assert jars.kafka_class_path() == f"{tmp_path}/*"


@pytest.mark.parametrize(("lock", "program"), [(BROKER, "kafka_2.13"), (CONNECT, "connect-runtime")])
def test_a_lock_names_kafka_and_its_clients_in_one_version(lock: JarLock, program: str, tmp_path: Path) -> None:
    """Each lock in the tree has its program and clients of the same Kafka, and reads back as it was written."""
    locked = read_lock(lock)
    names = {jar.coordinate for jar in locked}
    assert f"org.apache.kafka:{program}:{KAFKA_VERSION}" in names
    assert f"org.apache.kafka:kafka-clients:{KAFKA_VERSION}" in names
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in locked)
    copy = replace(lock, file=tmp_path / "lock")
    write_lock(list(locked), copy)
    assert read_lock(copy) == tuple(sorted(locked))
    assert copy.file.read_text() == lock.file.read_text()
