"""How movies come to their names: made by one run at a time, whole, flushed to the disk, in one step.

While a run makes a movie, there is a hidden directory beside the target, the claim: its name comes from the target's,
and what lies in it, the unfinished movie first of all, is named after the run. A directory that is not empty cannot be
replaced by another, so of many runs on one output directory, on whatever machines, one gets it, and the others leave
that movie to it. A run that was killed is known by its process on the machine where it ran, and elsewhere by its
silence: a living run marks its claim four times a minute, and tells in it how far it is. What it left is then removed,
and no lock remains.

In a directory for all, anybody may put anything where a claim belongs. So claims are never looked into through links,
only files that a run may have left are removed, and only those of this user.

Should native code crash, a codec's maybe, the interpreter writes a traceback into the claim. It is kept when the claim
is removed, so that a file that crashes every run is known. A run that was killed from outside leaves none.
"""

import errno
import faulthandler
import hashlib
import itertools
import math
import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO

from mrc2movie.errors import DiskFull, LeftToAnotherRun, OutputError, not_written, saying
from mrc2movie.interruption import before_the_end
from mrc2movie.store.files import flush, move_into_place, refuse_directory, remove
from mrc2movie.store.owner import Owner
from mrc2movie.store.turn import Turn
from mrc2movie.store.under_way import UnderWay

RECORD_DIRECTORY = ".mrc2movie"
_PREFIX = ".mrc2movie-"
_CLAIM = re.compile(re.escape(_PREFIX) + "([0-9a-f]{16}|new-[0-9a-f]{12})")
"""The names of claims, and of those that are prepared: any other is not ours, and not to be touched."""
_TEMPORARY = re.compile(r"tmp\w{8}|\.nfs[0-9a-f]+")
"""The names of files without one, where the file system keeps those until they are closed."""
_CRASH = ".crash"
_SIGN = ".claim"
_UNDER_WAY = ".under_way"
_NOTE_BYTES = 16 * 2**10
"""What a run writes of itself into a claim is shorter."""
_REGULAR = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Opens no link, and waits for nobody at a pipe."""
_HOLDS_DIRECTORIES = {os.stat, os.unlink, os.rename} <= os.supports_dir_fd and os.listdir in os.supports_fd
_BEAT_SECONDS = 15.0
_SILENT_SECONDS = 30 * 60.0
"""So long a run elsewhere may give no sign of life, through a network that stalls, before it is taken for dead."""

_PROBE_BYTES = 2**18
_ATTEMPTS = 100

_held: "set[Claim]" = set()
_serial = itertools.count()
_remaining: dict[Path, Path] = {}
"""What was prepared in a directory and could not be removed again."""


class Claim:
    """The right to make a movie, and the place where it is made; a context manager that gives both up.

    Args:
        target: The movie.
        attempt: Stands for what is tried, in 16 hexadecimal digits; where native code crashes, `crashes` finds it by
            this. Empty where nobody will ask.
        turn: Of a run that is begun again where it was lost: the claims of the turns before it are no obstacle.
        source: The input, for those who ask what is under way; None where nobody will ask.

    Attributes:
        target: The movie.
        directory: The claim's, where more temporary files may go: it vanishes with what is in it.
        hidden: The unfinished movie, with the target's suffix.
        lost: So many turns of the run were lost while they made the movie.
        how_far: What is done with the sections now, and how much of the movie is done, from 0 to 1; told when the claim
            is marked, where there is an input.

    Raises:
        LeftToAnotherRun: A run that lives is making the movie.
        OutputError: The directory cannot be written, or something else is in the way.
    """

    def __init__(self, target: Path, attempt: str = "", turn: Turn | None = None, source: Path | None = None) -> None:
        self.target = target
        self.lost = 0
        self.how_far = "", 0.0
        self._under_way = UnderWay.begins(target, source) if source else None
        self._turn = turn
        self.directory = _claimed_directory(target)
        self._stem = f"{Owner.me()}-{next(_serial)}"
        self._files: list[Path] = []
        # Not the movie itself: ext4 flushes a file that was there before it was opened to be written when it is closed,
        # which is to happen beside the verifying.
        self._sign = self.beside(_SIGN)
        self._prepared = target.with_name(f"{_PREFIX}new-{secrets.token_hex(6)}") / self._sign.name
        self._told = self.beside(_UNDER_WAY)
        self._crash = self.beside(f".{attempt}{_CRASH}") if attempt else None
        self._descriptor: int | None = None
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="mrc2movie claim")

    def __enter__(self) -> "Claim":
        _held.add(self)
        try:
            refuse_directory(self.target)
            self._take()
            if self._under_way:
                with suppress(OSError):  # a movie can be made without it
                    self._told.write_bytes(self._under_way.as_bytes())
            self.hidden = self._for_codecs()
            if self._crash:
                _crash_file.add(self._crash)
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
                self.lost = max(self.lost, lost_turns(self.target, self._turn))
                if owner := _clear(self.directory, self._turn):
                    advice = "" if owner.is_here else "if it is dead, the same command carries on in half an hour"
                    raise LeftToAnotherRun(f"is being made by another run ({owner.in_words})", advice)
        raise _in_the_way(self.directory, "cannot be replaced")

    def _taken(self) -> bool:
        """Put a directory in place that is never seen without its owner and its turn."""
        directory = self.target.parent
        if directory in _remaining:  # where nothing can be removed there must not be more and more
            _withdraw(_remaining[directory])
            del _remaining[directory]
        try:
            self._prepared.parent.mkdir()
            with self._prepared.open("xb") as sign:
                sign.write(self._turn.as_bytes(self.lost) if self._turn else b"")
            self._prepared.parent.rename(self.directory)
        except FileNotFoundError:
            if not directory.exists():
                raise
            return False  # who cleans up took it for a leftover, while it was empty
        except OSError as error:
            # EPERM: it is another user's, in a directory where each may replace only his own.
            if error.errno in (errno.EPERM, errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                return False
            raise
        finally:
            try:
                _withdraw(self._prepared)
            except OSError:
                _remaining[directory] = self._prepared
        return True

    def _for_codecs(self) -> Path:
        """The unfinished movie by a name that codecs take: they want UTF-8."""
        hidden = self.beside(self.target.suffix)
        if _is_utf8(hidden.absolute()) or not Path("/proc/self/fd").is_dir():
            return hidden
        self._descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        return Path(f"/proc/self/fd/{self._descriptor}") / hidden.name

    def beside(self, suffix: str) -> Path:
        """A name for another temporary file of this run."""
        path = self.directory / (self._stem + suffix)
        self._files.append(path)
        return path

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_SECONDS):
            with suppress(OSError):
                if self._sign.exists():
                    os.utime(self.directory)
                    if self._under_way:
                        stage, done = self.how_far
                        with self._told.open("r+b") as file:  # which makes none, should the claim be another's now
                            file.write(replace(self._under_way, stage=stage, done=done).as_bytes())
                            file.truncate()

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
        with suppress(OSError):
            _withdraw(self._prepared)
        for path in reversed(self._files):  # its sign the last: should this be cut short, whose it was is still known
            with suppress(OSError):
                remove(path)
        with suppress(OSError):
            self.directory.rmdir()

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self._ended.set()
        if self._beating.ident is not None:
            self._beating.join()
        if self._crash:
            _crash_file.remove(self._crash)
        self.remove()
        _held.discard(self)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _withdraw(prepared: Path) -> None:
    """Remove a prepared claim with the file in it, without another descriptor: there may be none left."""
    prepared.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        prepared.parent.rmdir()


class _CrashFile:
    """Where the interpreter writes a traceback should native code crash: one file, in every claim of this process.

    Nothing is done where the interpreter was told to write tracebacks elsewhere.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: list[Path] = []
        self._file: IO[bytes] | None = None

    def add(self, name: Path) -> None:
        """Give the file another name; the first one makes it."""
        with self._lock, suppress(OSError):  # a movie can be made without it
            self._names.append(name)
            if len(self._names) > 1:
                name.hardlink_to(self._names[0])
            elif not faulthandler.is_enabled():
                self._file = name.open("xb")
                faulthandler.enable(self._file)

    def remove(self, name: Path) -> None:
        """Remove a name; with the last one the file is closed."""
        with self._lock:
            if name in self._names:
                self._names.remove(name)
            if not self._names and self._file is not None:
                faulthandler.disable()
                self._file.close()
                self._file = None


_crash_file = _CrashFile()


def crashes(target: Path, attempt: str) -> Sequence[Path]:
    """The tracebacks of the runs that crashed while they tried to make a movie.

    Args:
        target: The movie.
        attempt: What was tried; see `Claim`.
    """
    return _kept_crashes(target, f".{attempt}{_CRASH}")


def has_crashes(directory: Path) -> bool:
    """Whether any traceback is kept of the movies of a directory."""
    return _crashes(directory).is_dir()


def forget_crashes(target: Path) -> None:
    """Remove the tracebacks of all attempts at a movie; what cannot be removed remains."""
    with suppress(OSError):
        for path in _kept_crashes(target, _CRASH):
            path.unlink()
        _crashes(target.parent).rmdir()


def _kept_crashes(target: Path, suffix: str) -> Sequence[Path]:
    directory, key = _crashes(target.parent), _key(_claimed_directory(target))
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208
    except OSError:  # nothing has crashed
        return []
    return [directory / name for name in names if name.startswith(f"{key}-") and name.endswith(suffix)]


def _crashes(directory: Path) -> Path:
    return directory / RECORD_DIRECTORY / "crashes"


def _key(claimed: Path) -> str:
    return claimed.name.removeprefix(_PREFIX)


def lost_turns(target: Path, turn: Turn | None) -> int:
    """How many turns of a run were lost while they made a movie, by the claim that the last one left."""
    if turn is None:
        return 0
    with suppress(OutputError), _found(_claimed_directory(target)) as found:
        before = found.turn() if found else None
        return before.lost + 1 if before and turn.follows(before) else 0
    return 0


def has_living_claims(directory: Path) -> bool:
    """Whether a run that lives is making a movie of a directory; nothing is touched."""
    return any(True for _ in _living_in(directory))


def under_way_in(directory: Path) -> Iterator[UnderWay]:
    """What living runs are making in a directory, as far as they tell; nothing is touched."""
    return (told for found in _living_in(directory) if (told := found.under_way()))


def _living_in(directory: Path) -> "Iterator[_Found]":
    with suppress(OSError):
        for entry in sorted(directory.iterdir()):
            if _CLAIM.fullmatch(entry.name):
                with suppress(OSError, OutputError), _found(entry) as found:
                    if found and found.living(lambda _: time.time()):
                        yield found


def under_way(target: Path) -> UnderWay | None:
    """How far the run is that is making a movie; None where none is, or it does not tell."""
    with suppress(OutputError), _found(_claimed_directory(target)) as found:
        return found.under_way() if found else None
    return None


def living_owner(target: Path) -> Owner | None:
    """The run that is making a movie now, if any; nothing is touched.

    Raises:
        OutputError: What is no claim is in the way.
    """
    with _found(_claimed_directory(target)) as found:
        return found.living(lambda _: time.time()) if found else None


def remove_what_dead_runs_left(directory: Path, turn: Turn | None = None) -> None:
    """Remove the claims of runs that have died, whatever their targets; what cannot be removed remains.

    Args:
        directory: Of the targets.
        turn: That of this run: the claims of those that it follows are removed as well.
    """
    with suppress(OSError):
        for entry in sorted(directory.iterdir()):
            if _CLAIM.fullmatch(entry.name):
                with suppress(OSError, OutputError):
                    _clear(entry, turn)


def give_up_claims() -> None:
    """Remove all that is unfinished in this process, which is about to end."""
    for claim in list(_held):
        claim.remove()


before_the_end(give_up_claims)


def _claimed_directory(target: Path) -> Path:
    # A hash, since the target's name may be as long as a name can be.
    return target.with_name(_PREFIX + hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16])


@dataclass(frozen=True)
class _Found:
    """A claim as it lies there.

    Attributes:
        path: Its name.
        descriptor: Holds it open, so that all is done in this directory whatever takes its name; None where the system
            does not let directories be held open, or this user not look into it.
        status: Of the directory.
        names: What is in it; None where this user may not look into it.
    """

    path: Path
    descriptor: int | None
    status: os.stat_result
    names: Sequence[str] | None

    def living(self, clock: Callable[[Path], float], turn: Turn | None = None) -> Owner | None:
        """The run that is making the movie, if it lives; an unknown owner is taken for alive unless it was silent.

        Args:
            clock: The time by the clock that stamps the files of a directory.
            turn: The one that asks: those that it follows have ended.
        """
        if turn and (before := self.turn()) and turn.follows(before):
            return None
        owners = [owner for owner in map(Owner.of, self.names or ()) if owner]
        if not owners and self.names is not None and not any(map(_TEMPORARY.fullmatch, self.names)):
            return None
        for owner in owners or [Owner("", 0, 0)]:
            alive = owner.is_alive()
            if alive or (alive is None and clock(self.path.parent) - self._last_mark() < _SILENT_SECONDS):
                return owner
        return None

    def turn(self) -> Turn | None:
        """The turn that made it, if it is a run of turns."""
        return Turn.of(self._note(_SIGN))

    def under_way(self) -> UnderWay | None:
        """How far the movie is, if the run tells."""
        return UnderWay.of(self._note(_UNDER_WAY))

    def _note(self, suffix: str) -> bytes:
        """What the run has written of itself; empty where it has not, or that cannot be read."""
        for name in self.names or ():
            if name.endswith(suffix) and Owner.of(name):
                with suppress(OSError):
                    descriptor = os.open(self._at(name), os.O_RDONLY | _REGULAR, dir_fd=self.descriptor)
                    with os.fdopen(descriptor, "rb") as file:
                        return file.read(_NOTE_BYTES)
        return b""

    def _last_mark(self) -> float:
        """When it was marked or written into for the last time."""
        try:
            return max([self.status.st_mtime, *(self._stat(name).st_mtime for name in self.names or ())])
        except FileNotFoundError:  # just now it has changed
            return math.inf

    def remove(self) -> None:
        """Remove all that a run may have left in it; tracebacks of crashes are kept elsewhere.

        Raises:
            OutputError: Something else is in it, or cannot be removed.
        """
        for name in self.names or ():
            if not (Owner.of(name) or _TEMPORARY.fullmatch(name)):
                raise _in_the_way(self.path / name, "does not belong there")
        for name in self.names or ():
            with (
                saying(f"{self.path / name} is in the way and cannot be removed", "remove it"),
                suppress(FileNotFoundError),
            ):
                if name.endswith(_CRASH):
                    self._keep(name)
                remove(self._at(name), self.descriptor)

    def _keep(self, name: str) -> None:
        kept = _crashes(self.path.parent)
        if self._stat(name).st_size and not kept.parent.is_symlink():
            with suppress(OSError):  # then the next run tries once more
                kept.mkdir(parents=True, exist_ok=True)
                os.rename(self._at(name), kept / f"{_key(self.path)}-{name}", src_dir_fd=self.descriptor)

    def _stat(self, name: str) -> os.stat_result:
        return os.stat(self._at(name), dir_fd=self.descriptor, follow_symlinks=False)

    def _at(self, name: str) -> str | Path:
        return name if self.descriptor is not None else self.path / name


@contextmanager
def _found(path: Path) -> Iterator[_Found | None]:
    """What lies where a claim belongs; None where nothing does.

    Raises:
        OutputError: It is a link or a file.
    """
    descriptor, names = None, None
    try:
        try:
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode):
                raise _in_the_way(path, "is a link" if stat.S_ISLNK(status.st_mode) else "is a file")
            with suppress(PermissionError):
                if _HOLDS_DIRECTORIES:
                    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                    status = os.fstat(descriptor)
                names = os.listdir(path if descriptor is None else descriptor)  # noqa: PTH208
            found = _Found(path, descriptor, status, names)
        except FileNotFoundError:
            found = None
        yield found
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _in_the_way(path: Path, why: str, advice: str = "remove it") -> OutputError:
    return OutputError(f"the movie cannot be written: {path} is in the way, and {why}", advice)


def _clear(path: Path, turn: Turn | None = None) -> Owner | None:
    """Remove a claim, unless it is a living run's, which is then returned.

    Args:
        path: The claim.
        turn: That of this run.

    Raises:
        OutputError: It is no claim, or another user's.
    """
    with _found(path) as found:
        if found is None:
            return None
        if owner := found.living(_clock_of, turn):
            return owner
        if found.status.st_uid != _user_by(path.parent):
            try:
                user = path.owner()
            except (KeyError, OSError):
                user = str(found.status.st_uid)
            advice = "let this user remove it, or take another OUTPUT_DIR"
            raise _in_the_way(path, f"belongs to another user ({user})", advice)
        found.remove()
    with suppress(OSError):  # it is gone, or was claimed again
        path.rmdir()
    return None


def _clock_of(directory: Path) -> float:
    """The time by the clock that stamps the files of a directory: that of a server may go otherwise."""
    made = _stamp(directory)
    return made.st_mtime if made else 0.0  # where nothing can be written nothing can be removed


def _user_by(directory: Path) -> int:
    """The number by which a file system knows this user: that of a server may be another."""
    made = _stamp(directory)
    return made.st_uid if made else getattr(os, "geteuid", int)()


def _stamp(directory: Path) -> os.stat_result | None:
    """The status of a file that is made now; None where none can be made."""
    try:
        with TemporaryFile(dir=directory) as made:
            return os.fstat(made.fileno())
    except OSError:
        return None


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
        flush(probe.fileno())
