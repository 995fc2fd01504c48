"""`python -m crosslatch` runs the command `crosslatch`."""

import os
import sys

from .native import command

if __name__ == "__main__":
    try:
        path = command()
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")
    os.execv(path, [path, *sys.argv[1:]])
