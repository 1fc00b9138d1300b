"""``python -m distill``: the commands, also under launchers of several processes."""

import sys

from distill.cli import main

if __name__ == "__main__":
    sys.exit(main())
