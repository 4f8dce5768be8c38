"""The page of an output directory, written whole, and written anew while a run goes on."""

import itertools
import os
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from mrc2movie.errors import Mrc2movieError, OutputError, about, saying
from mrc2movie.pages.cards import Cards, Failure
from mrc2movie.pages.html import GENERATOR, page
from mrc2movie.store.claim import RECORD_DIRECTORY, has_living_claims
from mrc2movie.store.failure import failures_in
from mrc2movie.store.files import entries_of, make_directory, move_into_place
from mrc2movie.store.owner import Owner

PAGE_NAME = "index.html"

_FIRST_SECONDS = 2.0
_PAUSE_SECONDS = 10.0
_SHARE = 200
"""The page is written anew at most every _PAUSE_SECONDS, and less often where to look takes more than one in _SHARE."""

_HEAD_BYTES = 1000
_UNFINISHED = f".{PAGE_NAME}"
_OLD_SECONDS = 24 * 3600.0
"""What a run on a machine that nobody can ask left unfinished so long ago is not waited for."""
_TIMES = 5
"""So often the page is written at the end of a run while others write records and the page."""

_serial = itertools.count()


class LivePage:
    """The page of an output directory; a context manager that keeps it up to date from a thread of its own.

    Many runs may keep the same page: each writes it from all records, in one step, and where another has just written
    it, waits. After the block the page is written once more, and no longer reloads itself unless others go on.

    Args:
        directory: The output directory.
        recursive: Whether the movies of the directories below belong to the page.
        overwrite: Whether it replaces a file that is no page of ours.

    Attributes:
        path: The page.
        error: Why it could not be written, after the block.
    """

    def __init__(self, directory: Path, recursive: bool, overwrite: bool) -> None:
        self.path = directory / PAGE_NAME
        self.error: Mrc2movieError | None = None
        self._overwrite = overwrite
        self._cards = Cards(directory, recursive)
        self._failures: dict[Path, Failure] = {}
        self._failures_written: Sequence[Failure] | None = None
        self._seen: object = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="mrc2movie page")

    @property
    def movies(self) -> int:
        """How many have a record."""
        return self._cards.count

    def failed(self, failure: Failure) -> None:
        """Show a failure from now on, even if it leaves no record; from any thread."""
        self._failures[failure.movie] = failure

    def succeeded(self, movie: Path) -> None:
        """Show no failure of a movie any more but what has left a record; from any thread."""
        self._failures.pop(movie, None)

    def __enter__(self) -> "LivePage":
        with suppress(RuntimeError):  # no memory for it: the page is written at the end
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        try:
            with about(self.path), saying("the page cannot be written"):
                if kind is None:
                    self._write_at_the_end()
                elif self._failures_written is not None:  # there may be no time to look again
                    self._write(live=False)
        except Mrc2movieError as problem:
            self.error = problem

    def _keep(self) -> None:
        wait = _FIRST_SECONDS
        while not self._ended.wait(wait):
            begin = time.monotonic()
            with suppress(Mrc2movieError, OSError):  # what lasts is said at the end
                self._look()
            wait = max(_PAUSE_SECONDS, _SHARE * (time.monotonic() - begin))

    def _look(self) -> None:
        """Write the page if there is something new, unless another run has just written it."""
        there = _stamp(self.path)
        if self._seen is not None and there != self._seen:
            self._seen = there
            return
        if self._cards.read(thorough=False) or self._failures_written != self._failures_now:
            self._write(live=True)

    def _write_at_the_end(self) -> None:
        """Write the page until it shows all records: other runs write some, and earlier states of the page."""
        _remove_unfinished(self.path.parent)
        for _ in range(_TIMES):
            self._cards.read()
            directories = {self.path.parent, *self._cards.directories}
            self._write(live=any(map(has_living_claims, directories)))
            if not self._cards.read():
                break

    @property
    def _failures_now(self) -> Sequence[Failure]:
        """Those that earlier runs and others have left, and those of this run."""
        left = {
            movie: Failure(source, movie, failure.why.partition(f"{source.name}: ")[2] or failure.why)
            for directory in self._cards.directories
            for failure in failures_in(directory)
            if (movie := directory / failure.movie) not in self._failures
            for source in (Path(os.path.normpath(directory / failure.source_path)),)
        }
        return (*left.values(), *self._failures.copy().values())

    def _write(self, live: bool) -> None:
        if not self._overwrite:
            refuse_foreign(self.path)
        failures = self._failures_now
        title = os.path.basename(os.path.realpath(self.path.parent)) or str(self.path.parent)  # noqa: PTH119
        _write_whole(self.path, page(title, self._cards.in_json(failures), live * _PAUSE_SECONDS, time.time()))
        self._seen, self._failures_written = _stamp(self.path), failures


def refuse_foreign(path: Path) -> None:
    """Refuse to replace a file that is no page of ours.

    Raises:
        OutputError: It is none.
    """
    if not os.path.lexists(path):
        return
    if path.is_symlink():
        raise OutputError("is a symbolic link, which is never written through", "remove it")
    if not path.is_file():
        raise OutputError("is where the page belongs, and no file", "rename it, or take another OUTPUT_DIR")
    with saying("the page cannot be read"), path.open("rb") as file:
        if GENERATOR.encode() in file.read(_HEAD_BYTES):
            return
    raise OutputError("is there and not ours", "--overwrite replaces it, or take another OUTPUT_DIR")


def _write_whole(path: Path, pieces: Iterable[str]) -> None:
    """Write the page beside the records, and give it its name in one step."""
    records = path.parent / RECORD_DIRECTORY
    if records.is_symlink():
        raise OutputError(f"{RECORD_DIRECTORY} is a symbolic link, which is never written through", "remove it")
    make_directory(records)
    hidden = records / f"{Owner.me()}-{next(_serial)}{_UNFINISHED}"
    try:
        with hidden.open("x", encoding="utf-8") as file:
            file.writelines(pieces)
        move_into_place(hidden, path, "the page")
    finally:
        hidden.unlink(missing_ok=True)


def _remove_unfinished(directory: Path) -> None:
    """Remove the pages that runs which have died left unfinished."""
    with suppress(OSError):
        for entry in entries_of(directory / RECORD_DIRECTORY):
            owner = Owner.of(entry.name) if entry.name.endswith(_UNFINISHED) else None
            if owner is None:
                continue
            alive = owner.is_alive()
            if alive is None:
                alive = time.time() - entry.stat(follow_symlinks=False).st_mtime < _OLD_SECONDS
            if not alive:
                Path(entry.path).unlink(missing_ok=True)


def _stamp(path: Path) -> object:
    """Changes whenever the page is written; None where there is none."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
