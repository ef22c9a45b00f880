"""Runs the command line."""

import signal

# Until the command line is imported nothing has to be tidied up: a Ctrl-C just ends the process.
signal.signal(signal.SIGINT, signal.SIG_DFL)

from devstack.cli import main  # noqa: E402 - only now

main()
