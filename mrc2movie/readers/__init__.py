"""Readers: one module for each kind of file, told apart by what is in it."""

from pathlib import Path

from mrc2movie.errors import InputError, about
from mrc2movie.readers.compressed import MAGIC_BYTES, DecompressedStream, compression_of
from mrc2movie.readers.mrc.header import Sign
from mrc2movie.readers.mrc.mrcz import MrczVolume
from mrc2movie.readers.mrc.volume import MrcVolume, read_head
from mrc2movie.readers.source import InputFile, Source
from mrc2movie.readers.volume import Volume

PLAIN_SUFFIXES = frozenset(
    (
        *(".mrc", ".mrcs", ".st", ".ali", ".preali", ".rec", ".map", ".ccp4"),
        *(".bl", ".flat", ".join", ".sint", ".sqz", ".srec", ".mrcz"),
    )
)
"""The names under which the field keeps MRC files; any case."""

COMPRESSION_SUFFIXES = frozenset([".gz", ".bz2", ".xz", ".zst"])


def open_volume(path: Path, mode0: Sign = "auto", spool_directory: Path | None = None) -> Volume:
    """Open a file by what its content is, whatever its name.

    Args:
        path: The file.
        mode0: Whether 8-bit integers are signed; ``auto`` as the file tells.
        spool_directory: Where a compressed file may keep what it unpacked, should its sections be wanted in another
            order than its own; the system's directory for temporary files where None.

    Raises:
        InputError: It cannot be read as a stack of sections; the message says why.
    """
    with about(path):
        source = _source(path, spool_directory)
        try:
            head = read_head(source, mode0)
            if not head.header.codec:
                return MrcVolume(source, head)
            if source.container:
                raise InputError(f"is an MRCZ file inside {source.container}", "unpack it first")
            return MrczVolume(source, head)
        except BaseException:
            source.close()
            raise


def _source(path: Path, spool_directory: Path | None) -> Source:
    file = InputFile(path)
    try:
        compression = compression_of(file.read(0, MAGIC_BYTES))
        return DecompressedStream(file, compression, spool_directory) if compression else file
    except BaseException:
        file.close()
        raise
