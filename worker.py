"""The worker: ``python worker.py …`` is ``maester worker …``."""

import sys

from maester.cli import root

if __name__ == "__main__":
    root.main(["worker", *sys.argv[1:]], prog_name="maester")
