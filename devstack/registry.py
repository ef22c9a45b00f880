"""A real schema registry on this machine: Apicurio, in memory, with the interface that Confluent's has."""

from __future__ import annotations

import socket
import tarfile
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from devstack.jar_lock import REGISTRY, read_lock
from devstack.jars import cache_folder, fetch_jars
from devstack.java import java_program
from devstack.ports import LOCALHOST, remembered_ports
from devstack.service import Service, wait_until_ready

if TYPE_CHECKING:
    from pathlib import Path

_START_LIMIT_S = 120
_INTERFACE = "/apis/ccompat/v7"


class Registry:
    """A registry of our own, empty at each start.

    Args:
        folder: everything it keeps is in here.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.service: Service | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where clients of Confluent's registry find it, known from the first `start` on."""
        return f"http://{LOCALHOST}:{self._port}{_INTERFACE}"

    def start(self) -> None:
        """Returns when the registry answers.

        Raises:
            StackError: it can't be downloaded, or doesn't come up; the message has the end of its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        program = self.folder / "app" / "quarkus-run.jar"
        if not program.exists():
            (archive,) = fetch_jars(read_lock(REGISTRY), cache_folder() / "registry")
            with tarfile.open(archive) as packed:
                packed.extractall(self.folder / "app", filter="data")
        ports = remembered_ports(["registry", "management"], self.folder / "ports.json")
        self._port = ports["registry"]
        self.service = Service.start(
            "The schema registry",
            [
                java_program(),
                "-Xmx400m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                f"-Dquarkus.http.host={LOCALHOST}",
                f"-Dquarkus.http.port={self._port}",
                f"-Dquarkus.management.host={LOCALHOST}",
                f"-Dquarkus.management.port={ports['management']}",
                f"-Djava.io.tmpdir={self.folder}",
                "-jar",
                str(program),
            ],
            folder=self.folder,
            log=self.folder / "registry.out",
        )
        wait_until_ready(self.service, self._answers, _START_LIMIT_S)

    def stop(self) -> None:
        """Ends the registry in good order, or by force when that takes longer than the grace."""
        if self.service:
            self.service.stop()

    def kill(self) -> None:
        """Ends the registry at once, without a warning."""
        if self.service:
            self.service.kill()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((LOCALHOST, self._port)):
                return False
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=5):  # noqa: S310 - our own http URL
                return True
        except (urllib.error.URLError, OSError):
            return False
