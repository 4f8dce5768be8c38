"""Small questions to the file system that several rooms ask."""

import os
from pathlib import Path


def identity_of(path: Path) -> tuple[int, int]:
    """What tells a file or directory from all others, whatever its names; raises OSError."""
    status = path.stat()
    return status.st_dev, status.st_ino


def entries_of(directory: Path) -> list[os.DirEntry[str]]:
    """What is in a directory; raises OSError."""
    with os.scandir(directory) as entries:
        return list(entries)
