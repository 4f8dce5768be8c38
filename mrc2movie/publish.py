"""How movies come to their names: made by one run at a time, whole, flushed to the disk, in one step.

While a run makes a movie, there is a hidden directory beside the target, the claim: its name comes from the target's,
and what lies in it, the unfinished movie first of all, is named after the run. A directory that is not empty cannot be
replaced by another, so of many runs on one output directory, on whatever machines, one gets it, and the others leave
that movie to it. A run that was killed is told by its name where it ran, and elsewhere by its silence: as long as it
lives it marks its claim every minute. What it left is then removed, and no lock remains.
"""

import errno
import hashlib
import itertools
import os
import re
import secrets
import stat
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO

import numpy as np

from mrc2movie.errors import DiskFull, LeftToAnotherRun, OutputError, not_written, saying
from mrc2movie.owner import Owner
from mrc2movie.writers.movie import Packet

_PREFIX = ".mrc2movie-"
_CLAIM = re.compile(re.escape(_PREFIX) + "([0-9a-f]{16}|new-[0-9a-f]{12})")
"""The names of claims, and of those that are prepared: any other is not ours, and not to be touched."""
_BEAT_SECONDS = 60.0
_SILENT_SECONDS = 30 * 60.0
"""So long a run elsewhere may give no sign of life, through a network that stalls, before it is taken for dead."""

_KEPT_IN_MEMORY = 96 * 2**20
_PROBE_BYTES = 2**18
_ATTEMPTS = 100

_held: "set[Claim]" = set()
_serial = itertools.count()


class Claim:
    """The right to make a movie, and the place where it is made; a context manager that gives both up.

    Args:
        target: The movie.

    Attributes:
        target: The movie.
        directory: The claim's, where more temporary files may go: it vanishes with what is in it.
        hidden: The unfinished movie, with the target's suffix.

    Raises:
        LeftToAnotherRun: A run that lives is making the movie.
        OutputError: The directory cannot be written.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.directory = _claimed_directory(target)
        self._prepared = target.with_name(f"{_PREFIX}new-{secrets.token_hex(6)}")
        self._stem = f"{Owner.me()}-{next(_serial)}"
        # Not the movie itself: ext4 flushes a file that was there before it was opened to be written when it is closed,
        # which is to happen beside the verifying.
        self._sign = self.directory / (self._stem + ".claim")
        self._descriptor: int | None = None
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="mrc2movie claim")

    def __enter__(self) -> "Claim":
        _held.add(self)
        try:
            self._take()
            self.hidden = self._for_codecs()
            self._beating.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _take(self) -> None:
        with saying("the movie cannot be written"):
            for _ in range(_ATTEMPTS):
                if self._taken():
                    return
                if owner := _clear(self.directory):
                    advice = "" if owner.is_here else "if it is dead, the same command carries on in half an hour"
                    raise LeftToAnotherRun(f"is being made by another run ({owner.in_words})", advice)
        raise OutputError(f"the movie cannot be written: {self.directory.name} cannot be replaced", "remove it")

    def _taken(self) -> bool:
        """Put a directory in place that is never seen without its owner."""
        try:
            self._prepared.mkdir()
            (self._prepared / self._sign.name).touch(exist_ok=False)
            self._prepared.rename(self.directory)
        except FileNotFoundError:
            if not self.target.parent.exists():
                raise
            return False  # who cleans up took it for a leftover, while it was empty
        except OSError as error:
            # EPERM: it is another user's, in a directory where each may replace only his own.
            is_there = error.errno == errno.EPERM and self.directory.exists()
            if is_there or error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        finally:
            _remove(self._prepared)
        return True

    def _for_codecs(self) -> Path:
        """The unfinished movie by a name that codecs take: they want UTF-8."""
        hidden = self.beside(self.target.suffix)
        if _is_utf8(hidden.absolute()) or not Path("/proc/self/fd").is_dir():
            return hidden
        self._descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        return Path(f"/proc/self/fd/{self._descriptor}") / hidden.name

    def beside(self, suffix: str) -> Path:
        """A name for another temporary file of this run."""
        return self.directory / (self._stem + suffix)

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_SECONDS):
            with suppress(OSError):
                if self._sign.exists():
                    os.utime(self.directory)

    def publish(self) -> None:
        """Give the unfinished movie its final name, replacing what was there, and make the name last.

        Raises:
            OutputError: It cannot be renamed.
        """
        move_into_place(self.hidden, self.target, "the movie")

    @contextmanager
    def naming_the_cause(self) -> Iterator[None]:
        """Find out why the movie could not be written, where the codec could not tell.

        Raises:
            OutputError: With the system's reason, where there is one.
        """
        try:
            yield
        except DiskFull:
            raise
        except (OutputError, OSError) as error:
            if not self._sign.exists():
                gone = (
                    "the output directory has vanished"
                    if not self.target.parent.exists()
                    else ("another run took it for abandoned, since this one gave no sign of life for so long")
                )
                raise OutputError(f"the movie cannot be written: {gone}", "run the same command again") from error
            try:
                _try_to_write(self.directory)
            except OSError as cause:
                raise not_written("the movie cannot be written", cause) from error
            raise

    def remove(self) -> None:
        """Remove the unfinished movie and the claim, as far as they are this run's; from any thread."""
        _remove(self._prepared)
        _remove(self.directory, only=self._stem + ".")

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._ended.set()
        if self._beating.ident is not None:
            self._beating.join()
        self.remove()
        _held.discard(self)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def living_owner(target: Path) -> Owner | None:
    """The run that is making a movie now, if any; nothing is touched."""
    directory = _claimed_directory(target)
    entries = _entries(directory)
    return _living(directory, entries, lambda _: time.time()) if entries else None


def remove_what_dead_runs_left(directory: Path) -> None:
    """Remove the claims of runs that have died, whatever their targets; what cannot be removed remains."""
    with suppress(OSError):
        for entry in sorted(directory.iterdir()):
            if _CLAIM.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink():
                with suppress(OSError):
                    _clear(entry)


def give_up_claims() -> None:
    """Remove all that is unfinished in this process, which is about to end."""
    for claim in list(_held):
        claim.remove()


def flush_to_disk(path: Path, what: str = "the movie") -> None:
    """Wait until the file is on the disk.

    Args:
        path: The file.
        what: What it is, for the message.

    Raises:
        OutputError: The disk reports that it is not.
    """
    with saying(f"{what} cannot be flushed to the disk"), path.open("rb+") as file:
        os.fsync(file.fileno())


def move_into_place(hidden: Path, target: Path, what: str) -> None:
    """Give a file its final name, replacing what was there, and make the name last.

    It takes the permissions of the file that it replaces.

    Args:
        hidden: The file.
        target: Its name from now on, in a directory of the same file system.
        what: What it is, for the message.

    Raises:
        OutputError: It cannot be renamed.
    """
    with saying(f"{what} cannot be moved into place"):
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
    missing = list(itertools.takewhile(lambda path: not path.is_dir(), (directory, *directory.parents)))
    for path in reversed(missing):
        path.mkdir(exist_ok=True)  # another run may just have made it
        with suppress(OSError):  # it is another user's
            _share(path, path.parent, 0o070)


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


def _flush_directory(directory: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no directories, and needs none flushed
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network disks flush no directories
            raise
    finally:
        os.close(descriptor)


def _claimed_directory(target: Path) -> Path:
    # A hash, since the target's name may be as long as a name can be.
    return target.with_name(_PREFIX + hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16])


def _entries(directory: Path) -> list[str]:
    try:
        return [path.name for path in directory.iterdir()]
    except FileNotFoundError:
        return []
    except PermissionError:  # another user's, who keeps to himself what is in it
        return ["?"]


def _clear(directory: Path) -> Owner | None:
    """Remove a claim, unless it is a living run's, which is then returned."""
    entries = _entries(directory)
    if entries and (owner := _living(directory, entries, _clock_of)):
        return owner
    for name in entries:
        (directory / name).unlink(missing_ok=True)
    with suppress(OSError):  # it is gone, or was claimed again
        directory.rmdir()
    return None


def _living(directory: Path, entries: list[str], clock: Callable[[Path], float]) -> Owner | None:
    owners = [owner for owner in map(Owner.of, entries) if owner]
    for owner in owners or [Owner("", 0, 0)]:  # files without one belong to nobody known
        alive = owner.is_alive()
        if alive or (alive is None and _silent_seconds(directory, entries, clock) < _SILENT_SECONDS):
            return owner
    return None


def _silent_seconds(directory: Path, entries: list[str], clock: Callable[[Path], float]) -> float:
    """How long ago a claim was marked, or written into."""
    try:
        marked = max(path.stat().st_mtime for path in (directory, *(directory / name for name in entries)))
    except FileNotFoundError:  # just now it has changed
        return 0.0
    except PermissionError:
        marked = directory.stat().st_mtime
    return clock(directory.parent) - marked


def _clock_of(directory: Path) -> float:
    """The time by the clock that stamps the files of a directory: that of a server may go otherwise."""
    try:
        with TemporaryFile(dir=directory) as stamped:
            return os.fstat(stamped.fileno()).st_mtime
    except OSError:  # where nothing can be written nothing can be removed
        return 0.0


def _remove(directory: Path, only: str = "") -> None:
    """Remove a directory with its files, or those that begin so; what cannot be removed remains."""
    with suppress(OSError):
        for name in _entries(directory):
            if name.startswith(only):
                (directory / name).unlink(missing_ok=True)
        directory.rmdir()


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _try_to_write(directory: Path) -> None:
    with TemporaryFile(dir=directory, buffering=0) as probe:
        left = _PROBE_BYTES
        while left:
            left -= probe.write(bytes(left)) or 0
        os.fsync(probe.fileno())


class PacketSpool:
    """Packets kept for the way back: as they are up to a bound, then in an unlinked temporary file.

    Args:
        directory: Where the temporary file goes: beside the movie there is room, in /tmp there may be none.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: list[Packet] = []
        self._kept_bytes = 0
        self._file: IO[bytes] | None = None
        self._starts = array("Q", [0])

    def append(self, packet: Packet) -> None:
        """Keep a packet.

        Raises:
            OutputError: There is no room for it.
        """
        if self._file is None and self._kept_bytes + packet.nbytes <= _KEPT_IN_MEMORY:
            self._kept.append(packet)
            self._kept_bytes += packet.nbytes
            return
        with saying("the frames for the way back cannot be kept"):
            if self._file is None:
                self._file = TemporaryFile(buffering=0, dir=self._directory)  # noqa: SIM115
            self._file.seek(self._starts[-1])
            missing = packet.data
            while missing:  # a disk that is nearly full takes a part, and says why when it is given the rest
                missing = missing[self._file.write(missing) :]
        self._starts.append(self._starts[-1] + packet.nbytes)

    def __getitem__(self, position: int) -> Packet:
        if position < len(self._kept):
            return self._kept[position]
        assert self._file is not None
        place = position - len(self._kept)
        start, end = self._starts[place : place + 2]
        self._file.seek(start)
        return np.frombuffer(self._file.read(end - start), np.uint8)

    def __enter__(self) -> "PacketSpool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
