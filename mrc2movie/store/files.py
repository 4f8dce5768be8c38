"""How files come to their names: whole, flushed to the disk, shared as their directory is."""

import errno
import itertools
import os
import shutil
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mrc2movie.errors import OutputError, saying


@dataclass(frozen=True)
class FileStamp:
    """A file at a moment.

    Attributes:
        name: Its name, without the directory: a directory may be moved.
        size: Bytes.
        mtime_ns: Time of the last change, in nanoseconds since the epoch.
    """

    name: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "FileStamp":
        """The stamp of a file as it is now, or of all files of a directory together; raises OSError."""
        statuses = [each.stat() for each in files_of(path)] or [path.stat()]
        size = sum(status.st_size for status in statuses)
        return cls(path.name, size, max(status.st_mtime_ns for status in statuses))

    @classmethod
    def if_there(cls, path: Path) -> "FileStamp | None":
        """The stamp of a file as it is now; None where it cannot be looked at."""
        try:
            return cls.of(path)
        except OSError:
            return None


def files_of(path: Path) -> Sequence[Path]:
    """The file itself, or all files of a directory and below; raises OSError."""
    if not path.is_dir():
        return [path]
    return [Path(here) / name for here, _, names in os.walk(path, onerror=_raise) for name in names]


def _raise(error: OSError) -> None:
    raise error


def identity_of(path: Path) -> tuple[int, int]:
    """What tells a file or directory from all others, whatever its names; raises OSError."""
    status = path.stat()
    return status.st_dev, status.st_ino


def entries_of(directory: Path) -> list[os.DirEntry[str]]:
    """What is in a directory; raises OSError."""
    with os.scandir(directory) as entries:
        return list(entries)


def directories_below(directory: Path) -> Iterator[Path]:
    """A directory and all below it, as far as they can be listed; `os.walk` of Python 3.11 stops at 1000 levels."""
    to_list = deque([directory])
    while to_list:
        yield (here := to_list.popleft())
        with suppress(OSError):
            to_list += (here / entry.name for entry in entries_of(here) if entry.is_dir(follow_symlinks=False))


def remove(path: Path | str, directory: int | None = None) -> None:
    """Remove a file, or a directory with all that is in it; never through a link.

    Args:
        path: Its path, or its name in the directory.
        directory: Descriptor of the directory that it is in, where that is held open.

    Raises:
        OSError: It cannot be removed.
    """
    if stat.S_ISDIR(os.stat(path, dir_fd=directory, follow_symlinks=False).st_mode):
        shutil.rmtree(path, dir_fd=directory)
    else:
        os.unlink(path, dir_fd=directory)


def refuse_directory(path: Path) -> None:
    """Refuse to make a file where a directory is.

    Raises:
        OutputError: There is one.
    """
    if path.is_dir() and not path.is_symlink():
        raise OutputError(f"the directory {path} is where a file belongs", "rename it, or take another OUTPUT_DIR")


def flush_to_disk(path: Path, what: str = "the movie") -> None:
    """Wait until the file is on the disk.

    Args:
        path: The file.
        what: What it is, for the message.

    Raises:
        OutputError: The disk reports that it is not.
    """
    with saying(f"{what} cannot be flushed to the disk"), path.open("rb+") as file:
        flush(file.fileno())


def move_into_place(hidden: Path, target: Path, what: str) -> None:
    """Give a file or directory its final name when it is on the disk, replacing what was there, and make that last.

    It takes the permissions of the file that it replaces.

    Args:
        hidden: The file; flushing it is quick where that was done before.
        target: Its name from now on, in a directory of the same file system.
        what: What it is, for the message.

    Raises:
        OutputError: It cannot be flushed or renamed.
    """
    for file in files_of(hidden):
        flush_to_disk(file, what)
    with saying(f"{what} cannot be moved into place"):
        for here, _, names in os.walk(hidden):  # nothing for a file
            _share_with_group(Path(here), names, target.parent)
            _flush_directory(Path(here))
        if hidden.is_dir() and os.path.lexists(target):  # no directory takes the name of another that has files
            old = hidden.with_name(f"{hidden.name}.old")
            target.rename(old)
            hidden.rename(target)
            _flush_directory(target.parent)
            remove(old)
            return
        _set_permissions(hidden, target)
        hidden.replace(target)
        _flush_directory(target.parent)


def _set_permissions(path: Path, target: Path) -> None:
    """Those of the target where it is a file; else those of a new file, and for the group what the directory gives."""
    with suppress(OSError):  # some network disks have none
        there = target.lstat() if os.path.lexists(target) else None
        if there and stat.S_ISREG(there.st_mode):
            path.chmod(stat.S_IMODE(there.st_mode) & 0o777)
        else:
            _share(path, target.parent, 0o060)


def make_directories(directory: Path) -> None:
    """Make a directory and those above it that are missing, one by one: there may be a thousand.

    Raises:
        OSError: One cannot be made.
    """
    missing = itertools.takewhile(lambda path: not path.exists(), directory.parents)
    for path in (*reversed(list(missing)), directory):
        make_directory(path)


def make_directory(directory: Path) -> None:
    """Make a directory, unless it is there, in one that must be there.

    Raises:
        OSError: It cannot be made.
    """
    if not directory.is_dir():
        directory.mkdir(exist_ok=True)  # another run may just have made it
        with suppress(OSError):  # it is another user's
            _share(directory, directory.parent, 0o070)


def _share(path: Path, directory: Path, bits: int) -> None:
    """Where the group may write into a directory, let it work with what is new there, as git's core.sharedRepository.

    Args:
        path: What is new.
        directory: The directory.
        bits: The permissions that the group is given, as far as it has them for the directory.
    """
    new, above = path.stat(), directory.stat()
    if above.st_mode & stat.S_IWGRP and above.st_gid == new.st_gid:
        path.chmod(stat.S_IMODE(new.st_mode) | above.st_mode & bits)


def _share_with_group(directory: Path, names: Sequence[str], like: Path) -> None:
    """Share a new directory, and files of these names in it, as another directory is."""
    with suppress(OSError):  # some network disks have no permissions
        _share(directory, like, 0o070)
        for name in names:
            _share(directory / name, like, 0o060)


def _flush_directory(directory: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no directories, and needs none flushed
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flush(descriptor)
    finally:
        os.close(descriptor)


def flush(descriptor: int) -> None:
    """Wait until an open file or directory is on the disk, where the disk can say so; raises OSError."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks flush no directories, some no files
            raise
