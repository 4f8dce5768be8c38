"""The log file: nothing but a log is appended to, and all who may write the movies may write it."""

import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from mrc2movie.errors import OutputError, UsageError, about, not_written

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_HEADER = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO mrc2movie ")
"""What the first line of every log begins with."""
_HEADER_BYTES = 64
_PAUSE_SECONDS = 0.002


def open_log(path: Path, is_named: bool) -> TextIO:
    """Open a log to append to it; a new one is made with its directory.

    Args:
        path: The log; may be a device, a pipe that somebody reads, or this process' own standard output or error.
        is_named: Whether the user named it; then links are followed.

    Raises:
        UsageError: The file is something other than a log.
        PermissionError: The log that the user did not name is another's; the movies may still be written.
        OutputError: It cannot be written.
    """
    advice = "choose another --log" if is_named else "take another OUTPUT_DIR"
    with about(path):
        try:
            descriptor = _open(path, is_named)
        except OSError as error:
            if isinstance(error, PermissionError) and not is_named and path.exists():
                raise
            raise not_written("the log cannot be written", error, advice) from error
    return os.fdopen(descriptor, "w", encoding="utf-8")


def _open(path: Path, is_named: bool) -> int:
    """The file descriptor of a log; raises OSError as well."""
    if path.is_symlink() and not is_named:
        raise OutputError("the log is a symbolic link, which is never written through", "name it with --log")
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_APPEND | getattr(os, "O_BINARY", 0) | (0 if is_named else getattr(os, "O_NOFOLLOW", 0))
    try:
        status = path.stat()
    except FileNotFoundError:
        descriptor = os.open(path, flags | os.O_WRONLY | os.O_CREAT, 0o666)
        _share(descriptor, path.parent)
        return descriptor
    for stream in (1, 2):
        if os.path.samestat(status, os.fstat(stream)):
            return os.dup(stream)  # opened again, a file would be overwritten by the stream
    match stat.S_IFMT(status.st_mode):
        case stat.S_IFREG:
            descriptor = os.open(path, flags | os.O_RDWR)
            head = os.read(descriptor, _HEADER_BYTES)
            if head and not _HEADER.match(head):
                os.close(descriptor)
                raise UsageError("is not a log of mrc2movie", "name another file with --log")
        case stat.S_IFCHR | stat.S_IFIFO:
            without_waiting = getattr(os, "O_NONBLOCK", 0)  # fails for a pipe that nobody reads; not on Windows
            descriptor = os.open(path, flags | os.O_WRONLY | without_waiting)
            if without_waiting:
                os.set_blocking(descriptor, True)
        case _:
            raise UsageError("is no file that a log can be appended to", "name another with --log")
    return descriptor


def _share(descriptor: int, directory: Path) -> None:
    """Let the group that may write a directory write a new log in it, whatever the umask.

    Else the first user's log would keep all others of the group out.
    """
    wanted = directory.stat()
    if wanted.st_mode & stat.S_IWGRP:
        with suppress(OSError, AttributeError):  # AttributeError: Windows
            os.fchown(descriptor, -1, wanted.st_gid)  # fails where we are not of this group: then it stays ours
            os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) | wanted.st_mode & 0o060)


@contextmanager
def appending_alone(log: TextIO, seconds: float) -> Iterator[bool]:
    """Keep other processes from appending to a log meanwhile.

    NFS has no appending: a client finds the end and writes there, so that lines of two machines would take the same
    place, see open(2). A lock keeps them apart.

    Args:
        log: Open to append.
        seconds: The longest wait for the lock: its holder may have been stopped.

    Yields:
        Whether it is kept: there are file systems without locks.
    """
    end = time.monotonic() + seconds
    is_locked = False
    with suppress(OSError):
        while fcntl and not is_locked:
            try:
                fcntl.lockf(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_locked = True
            except (BlockingIOError, PermissionError):  # another process holds it
                if time.monotonic() > end:
                    break
                time.sleep(_PAUSE_SECONDS)
    try:
        yield is_locked
    finally:
        if is_locked:
            with suppress(OSError):
                fcntl.lockf(log, fcntl.LOCK_UN)
