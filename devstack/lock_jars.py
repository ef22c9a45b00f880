"""Renews the locks of Kafka's jars from Maven's own resolution."""

from __future__ import annotations

import tempfile
from pathlib import Path

from jgo.maven import MavenContext

from devstack.jar_lock import BROKER, CONNECT, REGISTRY, JarLock, LockedJar, sha256_of, write_lock


def lock_jars() -> int:
    """Resolves the roots of each lock afresh, downloads every jar and writes the locks.

    Returns:
        How many jars were locked.
    """
    return sum(_lock(lock) for lock in (BROKER, CONNECT)) + _lock_registry()


def _lock_registry() -> int:
    group, artifact, version, *other = REGISTRY.roots[0].split(":")
    with tempfile.TemporaryDirectory(prefix="registry-") as scratch:
        project = MavenContext(repo_cache=Path(scratch), timeout=60).project(group, artifact)
        archive = project.at_version(version).artifact(*other).resolve()
        write_lock([LockedJar(REGISTRY.roots[0], sha256_of(archive))], REGISTRY)
    return 1


def _lock(lock: JarLock) -> int:
    with tempfile.TemporaryDirectory(prefix="kafka-jars-") as scratch:
        context = MavenContext(repo_cache=Path(scratch), timeout=60)
        roots = [context.create_dependency(root) for root in lock.roots]
        inputs, transitive = context.resolver.resolve(roots)
        needed = [jar for jar in (*inputs, *transitive) if jar.scope in (None, "compile", "runtime")]
        locked = [
            LockedJar(f"{jar.groupId}:{jar.artifactId}:{jar.version}", sha256_of(jar.artifact.resolve()))
            for jar in needed
        ]
    write_lock(locked, lock)
    return len(locked)
