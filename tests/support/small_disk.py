"""A disk of a few kilobytes: a tmpfs in a mount namespace of its own, which is gone with the process that holds it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SmallDisk:
    """A mounted tmpfs.

    Args:
        holder: The process whose mount namespace has it.
        mounted: Where it is mounted there.
    """

    holder: int
    mounted: Path

    @property
    def folder(self) -> Path:
        """The disk, as any process reaches it."""
        return Path(f"/proc/{self.holder}/root{self.mounted}")

    @property
    def within(self) -> Sequence[str]:
        """A command that starts another one where the disk is mounted."""
        return ["nsenter", f"--mount=/proc/{self.holder}/ns/mnt"]

    def remount(self, options: str) -> None:
        """Change its size, its number of inodes, or whether it may be written."""
        subprocess.run([*self.within, "mount", "-o", f"remount,{options}", str(self.mounted)], check=True)

    def leave_free(self, size_bytes: int) -> None:
        """Make it so small that only so much is free."""
        info = os.statvfs(self.folder)
        used = (info.f_blocks - info.f_bfree) * info.f_frsize
        self.remount(f"size={used + size_bytes}")


@contextmanager
def small_disk(mounted: Path, options: str) -> Iterator[SmallDisk]:
    """Mount a tmpfs on a folder, for the processes started within it and for paths through `/proc`.

    Args:
        mounted: An empty folder.
        options: Of the mount, such as `size=256k`.
    """
    mount = f'mount -t tmpfs -o "{options}" tmpfs "{mounted}" && echo mounted && exec cat'
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as holder:
        assert holder.stdout
        said = holder.stdout.readline().decode()
        assert said == "mounted\n", f"this test needs to mount a tmpfs in a mount namespace of its own: {said}"
        try:
            yield SmallDisk(holder.pid, mounted)
        finally:
            holder.kill()
