"""Runs the command line."""

from devstack.cli import main

main()
