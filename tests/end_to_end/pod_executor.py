"""An executor whose tasks have no disk in common: each runs as in a pod, in a mount namespace with an empty /tmp.

It starts them as Airflow's executor for Kubernetes does, by the module that a pod runs. What a pod's image has besides
(the code, Airflow's home for its logs, a server's socket) is put where it is outside.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.executors.base_executor import BaseExecutor

from tests.end_to_end.ground import DIARY, IMAGE

_POD = """
set -eu
mount -t tmpfs -o mode=1777 tmpfs /mnt
for folder in ${IMAGE//:/ }; do
    case "$folder" in /tmp/*) mkdir -p "/mnt/${folder#/tmp/}"; mount --bind "$folder" "/mnt/${folder#/tmp/}" ;; esac
done
mount --rbind /mnt /tmp
umount --recursive --lazy /mnt
note() { { readlink /proc/self/ns/mnt; ls -A /tmp; } > "$DIARY.part"; mv "$DIARY.part" "$DIARY.$1"; }
note first
touch "/tmp/of-${DIARY##*/}"
status=0; "$@" || status=$?
note last
exit "$status"
"""


class PodExecutor(BaseExecutor):
    """Starts a process for each task, and asks for its end at each beat of the scheduler."""

    is_local = True
    supports_callbacks = False

    def start(self) -> None:
        """Begin without pods."""
        self._pods: dict[Any, subprocess.Popen[bytes]] = {}

    def _process_workloads(self, workload_list: Sequence[Any]) -> None:
        for workload in workload_list:
            del self.queued_tasks[workload.key]
            task = [sys.executable, "-m", "airflow.sdk.execution_time.execute_workload"]
            self._pods[workload.key] = _started(
                [*task, "--json-string", workload.model_dump_json()],
                f"{workload.ti.dag_id}.{workload.ti.task_id}.{workload.ti.try_number}",
            )

    def sync(self) -> None:
        """Tell which pods have ended."""
        for key, pod in list(self._pods.items()):
            status = pod.poll()
            if status is not None:
                del self._pods[key]
                (self.fail if status else self.success)(key)

    def end(self) -> None:
        """End every pod."""
        self.terminate()

    def terminate(self) -> None:
        """End every pod."""
        for pod in self._pods.values():
            pod.kill()
            pod.wait()


def _started(command: list[str], name: str) -> subprocess.Popen[bytes]:
    as_root = ["--map-root-user"] if os.geteuid() else []
    environment = {**os.environ, "IMAGE": os.environ[IMAGE], "DIARY": str(Path(os.environ[DIARY]) / name)}
    return subprocess.Popen(
        ["unshare", *as_root, "--mount", "bash", "-c", _POD, "pod", *command], env=environment, stdin=subprocess.DEVNULL
    )
