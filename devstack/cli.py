"""`python -m devstack COMMAND`: what the Makefile calls."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from devstack.errors import StackError
from devstack.home import Wishes, locked, wishes_of
from devstack.interrupts import interrupt_on_signals
from devstack.lock_jars import lock_jars
from devstack.run import run
from devstack.standing_stack import down, status, up

if TYPE_CHECKING:
    from collections.abc import Callable

_INTERRUPTED = 130
_PLAIN_WIDTH = 160
_COMMANDS: dict[str, Callable[[Wishes, Console], int]] = {"run": run, "up": up, "down": down}


def main() -> None:
    """Runs one command and ends the process with its exit code.

    The process is ended at once, without waiting for threads: after a Ctrl-C one of them may still be
    downloading, and everything that must be tidied up has been.
    """
    code = _main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _console() -> Console:
    """A log file or a pipe gets lines that aren't broken for a terminal's width."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


def _main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m devstack", description=__doc__)
    parser.add_argument("command", choices=[*_COMMANDS, "status", "lock-jars"])
    command = parser.parse_args(arguments).command
    console = _console()
    interrupt_on_signals()
    try:
        if command == "lock-jars":
            console.print(f"{lock_jars()} jars locked.")
            return 0
        wishes = wishes_of(os.environ)
        if command == "status":
            return status(wishes, console)
        with locked(wishes.home):
            return _COMMANDS[command](wishes, console)
    except StackError as error:
        Console(stderr=True, highlight=False).print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    except OSError as error:
        wrong = StackError(
            f"{error.filename or 'The data folder'}: {error.strerror or error}.",
            "Look at free space and rights there, or name another folder in TOPICLEDGER_HOME.",
        )
        Console(stderr=True, highlight=False).print(str(wrong), style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\nInterrupted. Everything that was started is stopped.")
        return _INTERRUPTED
