"""The command `topicledger` without its script: `python -m topicledger`, or `python .../topicledger` where it lies."""

from __future__ import annotations

import sys

if not __package__:
    # Called by the folder's path, as the vendored engine is: import it from beside, and nothing from within it.
    sys.path[0:1] = []
    sys.path.append(__file__.rpartition("/")[0].rpartition("/")[0])

from topicledger.cli.app import main

if __name__ == "__main__":
    main()
