"""Kafka's jars: downloaded once, checked against the lock each time, kept in our own cache folder."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from devstack.errors import StackError
from devstack.jar_lock import BROKER, CONNECT, JarLock, LockedJar, read_lock, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_DOWNLOADS_AT_ONCE = 8


def cache_folder() -> Path:
    """Returns the folder for what is downloaded once: TOPICLEDGER_CACHE, else the user's cache folder."""
    if given := os.environ.get("TOPICLEDGER_CACHE"):
        return Path(given).expanduser().absolute()
    parent = os.environ.get("XDG_CACHE_HOME")
    return (Path(parent) if parent else Path.home() / ".cache") / "topicledger"


def kafka_class_path() -> str:
    """Returns the class path of a Kafka broker.

    Jars that KAFKA_JARS names (a folder, for example `libs` of a Kafka download) are taken as they are; else
    the locked ones are downloaded, once.

    Raises:
        StackError: the folder has no jars, or a jar can't be had, or isn't the one that the lock names.
    """
    return _class_path(BROKER, "kafka-clients")


def connect_class_path() -> str:
    """Returns the class path of a Kafka Connect worker, which comes as the broker's does."""
    return _class_path(CONNECT, "connect-file")


def _class_path(lock: JarLock, sign: str) -> str:
    given = os.environ.get("KAFKA_JARS")
    if not given:
        return os.pathsep.join(str(path) for path in fetch_jars(read_lock(lock), cache_folder() / "kafka-jars"))
    if not any(Path(given).glob(f"{sign}-*.jar")):
        raise StackError(
            f"KAFKA_JARS={given} holds no {sign} jar.",
            "Name the `libs` folder of a Kafka distribution, or unset KAFKA_JARS: they are then downloaded.",
        )
    return str(Path(given).absolute() / "*")


def fetch_jars(jars: Iterable[LockedJar], folder: Path) -> list[Path]:
    """Gives every jar in `folder`, with the very bytes that the lock names.

    A jar that is there already is hashed again, so that a damaged cache heals. A jar gets its name only when
    it is whole, so that an interrupted or a concurrent download does no harm.

    Raises:
        StackError: the network or the folder fails, or downloaded bytes differ from the lock.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
            return list(pool.map(lambda jar: _fetch_jar(jar, folder), jars))
    except OSError as error:
        raise StackError(
            f"The Kafka jars can't be kept in {folder}: {error.strerror or error}.",
            "Make that folder writable, or name another one in TOPICLEDGER_CACHE.",
        ) from error


def _fetch_jar(jar: LockedJar, folder: Path) -> Path:
    path = folder / jar.file_name
    if path.exists() and sha256_of(path) == jar.sha256:
        return path
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
        downloaded = _download(jar, Path(scratch))
        actual = sha256_of(downloaded)
        if actual != jar.sha256:
            raise StackError(
                f"{jar.coordinate} is not the jar that the lock names: sha256 {actual}, locked {jar.sha256}.",
                "Try again. If it stays so, don't use it: look at the mirror or proxy that serves it.",
            )
        downloaded.replace(path)
    return path


def _download(jar: LockedJar, scratch: Path) -> Path:
    import requests
    from jgo.maven import MavenContext

    try:
        group, artifact, version, *other = jar.coordinate.split(":")
        project = MavenContext(repo_cache=scratch, timeout=60).project(group, artifact)
        return Path(project.at_version(version).artifact(*other).resolve())
    except (requests.RequestException, RuntimeError) as error:
        raise StackError(
            f"{jar.coordinate} can't be downloaded: {type(error).__name__}.",
            "The first use needs the network (Maven Central, through HTTPS_PROXY if set). Or name a "
            "folder with Kafka's jars in KAFKA_JARS, or a running broker in KAFKA_BOOTSTRAP.",
        ) from error
