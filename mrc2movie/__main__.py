"""``python -m mrc2movie``: the same as the command ``mrc2movie``."""

import sys

from mrc2movie.cli import main

if __name__ == "__main__":
    sys.exit(main())
