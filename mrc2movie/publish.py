"""How files come to their final names: whole, flushed to the disk, in one step."""

import os
import secrets
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import TracebackType

import numpy as np

from mrc2movie.errors import OutputError
from mrc2movie.writers.movie import Packet

_KEPT_IN_MEMORY = 32 * 2**20


@contextmanager
def hidden_temporary(target: Path) -> Iterator[Path]:
    """A hidden name beside the target with the target's suffix; whatever stands there at the end is removed.

    The name does not contain the target's: that one may already be as long as a name can be.
    """
    hidden = target.with_name(f".mrc2movie-{os.getpid()}-{secrets.token_hex(4)}{target.suffix}")
    try:
        yield hidden
    finally:
        hidden.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Wait until the file is on the disk.

    Raises:
        OutputError: The disk reports that it is not.
    """
    try:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"cannot be flushed to the disk ({error.strerror})") from error


def move_into_place(hidden: Path, target: Path) -> None:
    """Give the temporary its final name, replacing what was there, and make the name last.

    Raises:
        OutputError: It cannot be renamed.
    """
    try:
        hidden.replace(target)
        _flush_directory(target.parent)
    except OSError as error:
        raise OutputError(f"cannot be moved into place ({error.strerror})") from error


def _flush_directory(directory: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no directories, and needs none flushed
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class PacketSpool:
    """Packets kept for the way back: in memory up to a bound, then in an unlinked temporary file.

    Args:
        directory: Where the temporary file goes: beside the movie there is room, in /tmp there may be none.
    """

    def __init__(self, directory: Path) -> None:
        self._file = SpooledTemporaryFile(max_size=_KEPT_IN_MEMORY, buffering=0, dir=str(directory))  # noqa: SIM115
        self._starts = array("Q", [0])

    def append(self, packet: Packet) -> None:
        """Keep a packet."""
        self._file.seek(self._starts[-1])
        self._file.write(packet.data)
        self._starts.append(self._starts[-1] + packet.nbytes)

    def __getitem__(self, position: int) -> Packet:
        start, end = self._starts[position : position + 2]
        self._file.seek(start)
        return np.frombuffer(self._file.read(end - start), np.uint8)

    def __enter__(self) -> "PacketSpool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
