"""MRC files: header, extended header, voxels, and MRCZ."""

from mrc2movie.errors import InputError
from mrc2movie.readers.mrc.mrcz import MrczVolume
from mrc2movie.readers.mrc.volume import MrcVolume, read_head
from mrc2movie.readers.source import Asked, Source
from mrc2movie.readers.volume import Volume

SUFFIXES = frozenset(
    (
        *(".mrc", ".mrcs", ".st", ".ali", ".preali", ".rec", ".map", ".ccp4"),
        *(".bl", ".flat", ".join", ".sint", ".sqz", ".srec", ".mrcz"),
    )
)
"""The names under which the field keeps MRC files; any case."""


def open_mrc(source: Source, head: bytes, asked: Asked) -> Volume:
    """Open an MRC file; old ones have no magic number, so this is also where everything unknown is refused.

    Raises:
        InputError: It is no MRC file; the message says what it is, where that shows.
    """
    found = read_head(source, head, asked.mode0)
    if not found.header.codec:
        return MrcVolume(source, found)
    if source.container:
        raise InputError(f"is an MRCZ file inside {source.container}", "unpack it first")
    return MrczVolume(source, found)
