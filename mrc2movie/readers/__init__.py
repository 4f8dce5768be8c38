"""Readers: one room for each kind of file, told apart by what is in it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mrc2movie.errors import about
from mrc2movie.readers.compressed import MAGIC_BYTES, DecompressedStream, compression_of
from mrc2movie.readers.mrc import SUFFIXES as MRC_SUFFIXES
from mrc2movie.readers.mrc import open_mrc
from mrc2movie.readers.mrc.header import Sign
from mrc2movie.readers.source import InputFile, Source
from mrc2movie.readers.volume import Volume

_HEAD_BYTES = 1024


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    Attributes:
        suffixes: The names under which such files are taken from a directory, in lower case.
        recognises: Whether a file that begins with these bytes, at most 1024, is one.
        open: Opens one that begins so; closes the source with the volume, and not when it raises.
    """

    suffixes: frozenset[str]
    recognises: Callable[[bytes], bool]
    open: Callable[[Source, bytes, Sign], Volume]


READERS = (Reader(MRC_SUFFIXES, lambda head: True, open_mrc),)
"""In the order in which they are asked; MRC comes last, since its old files have no magic number."""

PLAIN_SUFFIXES = frozenset().union(*(reader.suffixes for reader in READERS))
COMPRESSION_SUFFIXES = frozenset([".gz", ".bz2", ".xz", ".zst"])


def stem_of(name: str) -> str:
    """``a`` for ``a.mrc`` and ``a.mrc.gz``; ``a.b`` stays, as no file that is read is named so."""
    plain = Path(name)
    if plain.suffix.lower() in COMPRESSION_SUFFIXES:
        plain = Path(plain.stem)
    return plain.stem if plain.suffix.lower() in PLAIN_SUFFIXES else name


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
            head = source.read(0, _HEAD_BYTES)
            reader = next(reader for reader in READERS if reader.recognises(head))
            return reader.open(source, head, mode0)
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
