"""Bytes of an input file, by position: plain reads from any thread, never a memory map.

A file that shrinks under a memory map kills the process with SIGBUS; a read of it only comes out short.
"""

import os
import stat
import threading
from pathlib import Path

from mrc2movie.errors import InputError

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a directory",
}


class InputFile:
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
        except OSError as error:
            raise InputError(f"cannot be opened ({error.strerror})") from error
        status = os.fstat(self._descriptor)
        self.size = status.st_size
        self.mtime_ns = status.st_mtime_ns
        self._lock = threading.Lock()

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from this position on; returns the number of bytes, fewer at the end of the file.

        Raises:
            InputError: The system cannot read the file.
        """
        done = 0
        try:
            while done < len(buffer):
                count = self._read_some(offset + done, buffer[done:])
                if count == 0:
                    break
                done += count
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})") from error
        return done

    def read(self, offset: int, count: int) -> bytes:
        """At most `count` bytes from this position on."""
        buffer = bytearray(count)
        return bytes(buffer[: self.read_into(offset, memoryview(buffer))])

    def _read_some(self, offset: int, buffer: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._descriptor, [buffer], offset)
        if hasattr(os, "pread"):  # macOS
            data = os.pread(self._descriptor, len(buffer), offset)
        else:  # Windows has no positioned read: seek and read must not be torn apart.
            with self._lock:
                os.lseek(self._descriptor, offset, os.SEEK_SET)
                data = os.read(self._descriptor, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file; no read may be under way."""
        os.close(self._descriptor)
