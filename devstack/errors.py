"""What a person reads when the stack can't do what was asked."""

from __future__ import annotations


class StackError(Exception):
    """Something about this machine has to change first; says what happened and what to do next.

    The command line prints both sentences and no traceback.
    """

    def __init__(self, happened: str, next_step: str) -> None:
        super().__init__(happened, next_step)
        self.happened = happened
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.happened}\n  Next: {self.next_step}"
