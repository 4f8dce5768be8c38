"""Readers: one module for each kind of file, told apart by what is in it."""

from pathlib import Path

from mrc2movie.errors import about
from mrc2movie.readers.mrc import open_mrc
from mrc2movie.readers.volume import Volume

PLAIN_SUFFIXES = frozenset(
    (
        *(".mrc", ".mrcs", ".st", ".ali", ".preali", ".rec", ".map", ".ccp4"),
        *(".bl", ".flat", ".join", ".sint", ".sqz", ".srec", ".mrcz"),
    )
)
"""The names under which the field keeps MRC files; any case."""

COMPRESSION_SUFFIXES = frozenset([".gz", ".bz2", ".xz", ".zst"])


def open_volume(path: Path) -> Volume:
    """Open a file by what its content is, whatever its name.

    Raises:
        InputError: It cannot be read as a stack of sections; the message says why.
    """
    with about(path):
        return open_mrc(path)
