"""The locks of Kafka's jars: which files, each by its Maven coordinate and sha256."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

KAFKA_VERSION = "4.3.1"
REGISTRY_VERSION = "3.3.3"

# kafka-clients is named beside the rest: resolved through them alone it gets a wrong version.
# The logging bridge makes a broker write a log; its version is that of log4j-core in the same set, and the
# "!" keeps its own bill of materials from moving Kafka's versions.
_IN_ALL = (f"org.apache.kafka:kafka-clients:{KAFKA_VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!")


@dataclass(frozen=True, slots=True)
class JarLock:
    """A lock, and what it is resolved from.

    Args:
        title: whose jars they are.
        file: the lock.
        roots: Maven coordinates; what they need comes with them.
    """

    title: str
    file: Path
    roots: tuple[str, ...]


BROKER = JarLock(
    "a Kafka broker",
    Path(__file__).with_name("kafka-jars.lock"),
    (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", *_IN_ALL),
)
# Only `make bench-peers` needs it.
CONNECT = JarLock(
    "a Kafka Connect worker with the file connectors",
    Path(__file__).with_name("connect-jars.lock"),
    (
        f"org.apache.kafka:connect-runtime:{KAFKA_VERSION}",
        f"org.apache.kafka:connect-file:{KAFKA_VERSION}",
        *_IN_ALL,
    ),
)
# Only tests need it; everything is in the one archive.
REGISTRY = JarLock(
    "a schema registry, Apicurio's",
    Path(__file__).with_name("registry-jars.lock"),
    (f"io.apicurio:apicurio-registry-app:{REGISTRY_VERSION}:all:tar.gz",),
)

_HEADER = """\
# The jars of {title}: Maven coordinate and sha256 of each.
# Written by `python -m devstack lock-jars`; `devstack/jar_lock.py` names the roots.
"""


@dataclass(frozen=True, slots=True, order=True)
class LockedJar:
    """One jar: `group:artifact:version` and the sha256 that its bytes must have.

    What is no jar has `:classifier:packaging` behind its version.
    """

    coordinate: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name that Maven gives this jar."""
        _, artifact, version, *other = self.coordinate.split(":")
        return f"{artifact}-{version}-{other[0]}.{other[1]}" if other else f"{artifact}-{version}.jar"


def read_lock(lock: JarLock) -> tuple[LockedJar, ...]:
    """Returns the locked jars, in the order of the file."""
    lines = (line.strip() for line in lock.file.read_text(encoding="utf-8").splitlines())
    return tuple(LockedJar(*line.split()) for line in lines if line and not line.startswith("#"))


def write_lock(jars: list[LockedJar], lock: JarLock) -> None:
    """Writes the lock, sorted, so that a renewal shows as a small difference."""
    lines = [f"{jar.coordinate} {jar.sha256}\n" for jar in sorted(jars)]
    lock.file.write_text(_HEADER.format(title=lock.title) + "".join(lines), encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Returns the sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
