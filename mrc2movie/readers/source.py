"""Bytes of an input, by position: plain reads from any thread, never a memory map.

A file that shrinks under a memory map kills the process with SIGBUS; a read of it only comes out short.
"""

import errno
import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeAlias

from mrc2movie.errors import InputError
from mrc2movie.readers.voxels import Sign
from mrc2movie.store.spool import PositionedFile


@dataclass(frozen=True)
class Asked:
    """How the user wants a file to be read.

    Attributes:
        mode0: Whether 8-bit integers are signed; ``auto`` as the file tells.
        dataset: Which data set of an HDF5 file; None where the reader chooses.
    """

    mode0: Sign = "auto"
    dataset: str | None = None


Fetch: TypeAlias = Callable[[memoryview], int]
"""Fills a buffer, in any thread; returns the number of bytes, fewer at the end of the source."""

_JUSTIFIED_RATIO = 1032
_JUSTIFIED_BYTES = 64 * 2**20

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
}


class Source(ABC):
    """Where the bytes of a volume come from: a plain file, or a compressed stream; a context manager that closes it.

    Attributes:
        path: The file.
        container: How the file is compressed, in a word; empty for a plain file.
        size: Bytes in all; the most that there can be, as long as `size_is_known` is false.
        size_is_known: Whether `size` is exact; becomes true when the end of a stream is met.
        damage: What is wrong with a stream that ended badly; empty while nothing is.
    """

    path: Path
    container: str = ""
    size: int
    size_is_known: bool = True
    damage: str = ""

    @abstractmethod
    def at(self, offset: int, count: int) -> Fetch:
        """The way to fetch this many bytes from this position on.

        Called from one thread, in the order in which the bytes are wanted; a stream decompresses here.

        Raises:
            InputError: The system cannot read the file.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file; no fetch may be under way."""

    @abstractmethod
    def expect_any_order(self) -> None:
        """Be ready to fetch from falling positions as well."""

    def justifies(self, section_bytes: int) -> bool:
        """Whether so large a section may be believed, and so allocated, before it was read."""
        return section_bytes <= self.size

    def read(self, offset: int, count: int) -> bytes:
        """At most `count` bytes from this position on, now."""
        if self.size_is_known and offset >= self.size:
            return b""  # a position of more than 63 bits is no argument for the system
        buffer = bytearray(max(0, min(count, self.size - offset)))
        return bytes(buffer[: self.at(offset, len(buffer))(memoryview(buffer))])

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class InputFile(Source):
    """A regular file, open for positioned reads from several threads at once.

    Args:
        path: The file.

    Raises:
        InputError: It cannot be opened, or is no regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            kind = stat.S_IFMT(path.stat().st_mode)  # before it is opened: opening a pipe may wait for ever
            if kind != stat.S_IFREG:
                raise InputError(f"is {_KINDS.get(kind, 'no regular file')}, not a file with sections")
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # Windows would translate
        except (OSError, ValueError) as error:  # ValueError: a null character in the name
            raise InputError(_why_not_opened(path, error)) from error
        self.size = os.fstat(self._descriptor).st_size
        self._bytes = PositionedFile(self._descriptor)

    def at(self, offset: int, count: int) -> Fetch:
        """A positioned read."""
        return partial(self.read_into, offset)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from this position on; returns the number of bytes, fewer at the end of the file.

        Raises:
            InputError: The system cannot read the file.
        """
        try:
            return self._bytes.read_into(offset, buffer)
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})") from error

    def expect_any_order(self) -> None:
        """A plain file always is ready."""

    def close(self) -> None:
        """Close the file; no read may be under way."""
        os.close(self._descriptor)


class _Closable(Protocol):
    def close(self) -> None: ...


@contextmanager
def closed_on_error(opened: _Closable) -> Iterator[None]:
    """Close a source or a volume where this block does not come to its end: nobody else would."""
    try:
        yield
    except BaseException:
        opened.close()
        raise


def _why_not_opened(path: Path, error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ELOOP) and path.is_symlink():
        if error.errno == errno.ELOOP:
            return "is a link that leads round in a circle"
        return f"is a link to {path.readlink()}, which does not exist"
    return f"cannot be opened ({getattr(error, 'strerror', None) or error})"


def is_justified(section_bytes: int, compressed_bytes: int) -> bool:
    """Whether so large a section may be believed, and so allocated, of a compressed file before it is unpacked.

    It is not believed to be compressed better than deflate can compress zeros (1032 times, says zlib's documentation)
    unless it is so small that it does no harm.
    """
    return section_bytes <= max(_JUSTIFIED_BYTES, _JUSTIFIED_RATIO * compressed_bytes)
