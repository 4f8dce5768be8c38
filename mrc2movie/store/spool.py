"""Bytes kept for later in an unlinked temporary file, and files that threads read and write by position."""

import os
import threading
from array import array
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import saying
from mrc2movie.memory import free_memory
from mrc2movie.workers import waiting

_KEPT_IN_MEMORY = 96 * 2**20
_MOST_IN_MEMORY = 1100 * 2**20
_SHARE_OF_FREE = 1 / 4
_LOOKED_EVERY = 32 * 2**20
"""Bytes of packets that are kept in memory: _KEPT_IN_MEMORY always, and more as long as that is less than
_SHARE_OF_FREE of what is then free, but never more than _MOST_IN_MEMORY, which is enough for a movie of 2 GB."""


class PositionedFile:
    """An open file that several threads read and write by position; nothing is mapped into memory.

    Args:
        descriptor: Of the open file, which stays the caller's.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from this position on.

        Returns:
            The number of bytes: fewer than wanted at the end of the file.
        """
        done = self._read_what_is_there(offset, buffer)
        if done < len(buffer):
            with waiting():
                while done < len(buffer) and (count := self._read_some(offset + done, buffer[done:])):
                    done += count
        return done

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of the data from this position on: a disk that is nearly full takes a part at a time."""
        done = 0
        while done < len(data):
            done += self._write_some(offset + done, data[done:])

    def let_go(self, offset: int, length: int) -> None:
        """Let the system write out a part of the file now, and keep in memory nothing of it that is on the disk.

        That is for large files that nobody will read soon: the memory is used again, and the last flush is short. To
        get memory for a gigabyte can take longer than to make it.
        """
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError):  # a hint
                os.posix_fadvise(self._descriptor, max(0, offset), length, os.POSIX_FADV_DONTNEED)

    def _read_what_is_there(self, offset: int, buffer: memoryview) -> int:
        """As much as the system has in memory, without waiting for the disk; nothing where it cannot tell."""
        with suppress(OSError, AttributeError):  # some network disks cannot, and macOS and Windows have no such flag
            return os.preadv(self._descriptor, [buffer], offset, os.RWF_NOWAIT)
        return 0

    def _read_some(self, offset: int, buffer: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, [buffer], offset)
        if hasattr(os, "pread"):  # macOS
            data = os.pread(self._descriptor, len(buffer), offset)
        else:  # Windows has no positioned access: seek and read must not be torn apart.
            with self._lock:
                os.lseek(self._descriptor, offset, os.SEEK_SET)
                data = os.read(self._descriptor, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _write_some(self, offset: int, data: memoryview) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(self._descriptor, data, offset)
        with self._lock:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.write(self._descriptor, data)


class Spool:
    """An unlinked temporary file that threads write and read by position; it vanishes with the process.

    Args:
        directory: Where it goes: beside the movie there is room, in the system's directory (None) there may be none.
        what: What it keeps, as the subject of an error message.
        advice: What to do where there is no room for it.

    Raises:
        OutputError: It cannot be made.
    """

    def __init__(self, directory: Path | None, what: str, advice: str = "") -> None:
        self._message = f"{what} cannot be kept", advice
        with saying(*self._message):
            self._file: IO[bytes] = TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115
        self._bytes = PositionedFile(self._file.fileno())

    def write(self, offset: int, data: memoryview) -> None:
        """Keep these bytes at this position.

        Raises:
            OutputError: There is no room for them.
        """
        with saying(*self._message):
            self._bytes.write(offset, data)

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from this position on; returns the number of bytes, fewer at the end."""
        with saying(*self._message):
            return self._bytes.read_into(offset, buffer)

    def close(self) -> None:
        """Drop what is kept."""
        self._file.close()


class PacketSpool:
    """Packets kept for the reverse pass: in memory as far as there is enough, then in a `Spool`.

    Args:
        directory: Where the temporary file goes.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: list[NDArray[np.uint8]] = []
        self._kept_bytes = 0
        self._allowed = _KEPT_IN_MEMORY
        self._spool: Spool | None = None
        self._starts = array("Q", [0])

    def append(self, packet: NDArray[np.uint8]) -> None:
        """Keep a packet, (n,) uint8.

        Raises:
            OutputError: There is no room for it.
        """
        if self._spool is None and self._fits(packet.nbytes):
            self._kept.append(packet)
            self._kept_bytes += packet.nbytes
            return
        if self._spool is None:
            self._spool = Spool(self._directory, "the frames for the way back")
        self._spool.write(self._starts[-1], packet.data)
        self._starts.append(self._starts[-1] + packet.nbytes)

    def _fits(self, size: int) -> bool:
        """Whether so many bytes more may be kept in memory."""
        wanted = self._kept_bytes + size
        if self._allowed < wanted <= _MOST_IN_MEMORY and wanted < _SHARE_OF_FREE * free_memory():
            self._allowed = min(wanted + _LOOKED_EVERY, _MOST_IN_MEMORY)
        return wanted <= self._allowed

    def __getitem__(self, position: int) -> NDArray[np.uint8]:
        if position < len(self._kept):
            return self._kept[position]
        assert self._spool is not None
        place = position - len(self._kept)
        start, end = self._starts[place : place + 2]
        packet = np.empty(end - start, np.uint8)
        self._spool.read_into(start, packet.data)
        return packet

    def close(self) -> None:
        """Drop the packets."""
        if self._spool is not None:
            self._spool.close()
