"""One long-running program and everything it starts: started, watched, ended to the last child."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from devstack.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Every process of a stack carries this, so that what outlived its parent is found by the folder it worked in.
MARKER = "TOPICLEDGER_STACK"

_children: dict[int, subprocess.Popen[bytes]] = {}
_gate = threading.Lock()
_gate_closed = threading.Event()


@dataclass(frozen=True, slots=True)
class Service:
    """A started program. It holds no file or pipe, so another process can end it by what is written here."""

    name: str
    pid: int
    started: float
    log: str
    stop_signal: int = signal.SIGTERM
    grace_s: float = 20

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        log: Path,
        env: Mapping[str, str] | None = None,
        stop_signal: int = signal.SIGTERM,
        grace_s: float = 20,
    ) -> Service:
        """Starts a program in a session of its own: a Ctrl-C at the terminal doesn't reach it, `stop` does.

        Args:
            name: what a person calls it.
            command: the program and its arguments.
            folder: the data folder that it belongs to; also its working folder.
            log: both of its outputs are appended here.
            env: its whole environment; None gives this process's own.
            stop_signal: what asks this program to end in good order.
            grace_s: how long that may take before it is killed.
        """
        # SPT_NOENV: programs that rename themselves must not do so over their environment, and so the marker.
        marked = {**(os.environ if env is None else env), MARKER: str(folder), "SPT_NOENV": "1"}
        with log.open("ab") as output, _gate:
            if _gate_closed.is_set():
                raise StackError(f"{name} is not started: everything is being stopped.", "Nothing to do.")
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env=marked,
                start_new_session=True,
            )
            _children[process.pid] = process
        return cls(name, process.pid, psutil.Process(process.pid).create_time(), str(log), stop_signal, grace_s)

    def disown(self) -> None:
        """Lets another process end it: reaps it whenever that happens, and warns of nothing if this one ends first."""
        threading.Thread(target=_children.pop(self.pid).wait, daemon=True).start()

    def process(self) -> psutil.Process | None:
        """Returns the program's process, or None when it has ended (a pid that was used again is not it)."""
        if (child := _children.get(self.pid)) is not None:
            child.poll()
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.started) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None

    def alive(self) -> bool:
        """Tells whether the program still runs."""
        return self.process() is not None

    def expect_alive(self) -> None:
        """Does nothing while the program runs.

        Raises:
            StackError: it ended; the message has the end of its log.
        """
        if not self.alive():
            raise StackError(f"{self.name} ended by itself:\n{self.log_tail()}", f"Read {self.log}.")

    def log_tail(self, lines: int = 15) -> str:
        """Returns the last lines of the log."""
        with contextlib.suppress(OSError):
            return "\n".join(Path(self.log).read_text(errors="replace").splitlines()[-lines:])
        return ""

    def wait(self, limit_s: float) -> int:
        """Waits for the end of a program that this process started, and returns its exit code.

        Raises:
            StackError: it takes longer than the limit; then it is killed.
        """
        try:
            return _children[self.pid].wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise StackError(f"{self.name} takes longer than {limit_s:.0f} s.", f"Read {self.log}.") from None

    def stop(self) -> None:
        """Asks the program to end; kills it and all its children when that takes longer than its grace."""
        stop_services([self])

    def kill(self) -> None:
        """Kills the program and all its children at once, without a warning."""
        if root := self.process():
            kill_all(set(_family(root)))


def stop_services(services: Sequence[Service]) -> None:
    """Ends all of them at once, with all children of children; returns when none is left."""
    asked = [(service, process) for service in services if (process := service.process())]
    families = {member for _, process in asked for member in _family(process)}
    began = time.monotonic()
    for service, process in asked:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(service.stop_signal)
    for service, process in sorted(asked, key=lambda pair: pair[0].grace_s):
        psutil.wait_procs([process], timeout=max(0.0, began + service.grace_s - time.monotonic()))
        families.update(_family(process))
    kill_all(families)


def start_nothing_more() -> None:
    """From now on this process starts no program, whatever its threads are about to do."""
    with _gate:
        _gate_closed.set()


def kill_all(processes: set[psutil.Process]) -> None:
    """Kills every one of them and waits until the system has taken them away."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(list(processes), timeout=10)
    for process in processes:
        if (child := _children.get(process.pid)) is not None:
            child.poll()  # psutil has reaped it; its Popen must know, or it warns when it is collected


def marked_processes(folder: Path) -> set[psutil.Process]:
    """Returns every process that was started for this folder or one below it, whoever its parent is now."""
    found = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            marker = process.environ().get(MARKER)
            if marker and Path(marker).is_relative_to(folder) and process.pid != os.getpid():
                found.add(process)
    return found


def wait_until_ready(service: Service, answers: Callable[[], bool], limit_s: float) -> None:
    """Returns as soon as the program answers.

    Raises:
        StackError: the program ended, or doesn't answer within the limit.
    """
    deadline = time.monotonic() + limit_s
    while not answers():
        service.expect_alive()
        if time.monotonic() > deadline:
            raise StackError(
                f"{service.name} doesn't answer after {limit_s:.0f} s. Its log ends:\n{service.log_tail()}",
                f"Read {service.log}; a slow machine may just need another try.",
            )
        time.sleep(0.1)


def _family(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
