"""An input that must not change while it is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from mrc2movie.conversion.annotations import annotation_stamps
from mrc2movie.conversion.compare import compared_stamps
from mrc2movie.conversion.opening import open_input, stamps_of_parts
from mrc2movie.errors import InputError
from mrc2movie.options.settings import Settings
from mrc2movie.readers.array import ArrayVolume
from mrc2movie.readers.sidecars import sidecar_stamps
from mrc2movie.store.files import FileStamp, identity_of


def other_files(path: Path, settings: Settings, series: str = "") -> tuple[FileStamp, ...]:
    """The other files that a movie is made of, as they are now: images, sidecars, what is drawn or compared.

    Raises:
        OSError: A file of annotations cannot be looked at.
    """
    return stamps_of_parts(path, settings, series) + _beside(path, settings)


def _beside(path: Path, settings: Settings) -> tuple[FileStamp, ...]:
    return sidecar_stamps(path) + annotation_stamps(path, settings) + compared_stamps(path, settings)


class _InMemory:
    """An array, of which there is no file to look at."""

    def __init__(self, volume: ArrayVolume, settings: Settings) -> None:
        self.stamp = FileStamp(volume.path.name, volume.stored_bytes, 0)
        self.others = annotation_stamps(volume.path, settings) + compared_stamps(volume.path, settings)

    def check(self) -> None:
        """Whether the array was changed is not seen."""


class _Read:
    """A file, and those beside it, as they were before they were read."""

    def __init__(self, path: Path, settings: Settings, series: str) -> None:
        self._path = path
        self._images_now = partial(stamps_of_parts, path, settings, series)
        self._images = self._images_now()
        self.others = self._images + _beside(path, settings)
        self._file, self.stamp, self._changed_ns = _file_as_it_is(path)

    def check(self) -> None:
        """Refuse what was read if it is no longer what is there.

        Raises:
            InputError: It is not.
        """
        try:
            file, stamp, changed_ns = _file_as_it_is(self._path)
        except OSError as error:
            raise InputError(f"was removed while it was read ({error.strerror})", "bring it back") from error
        if file != self._file:
            what = "was replaced by another file"
        elif stamp.size != self.stamp.size:
            what = f"became {'longer' if stamp.size > self.stamp.size else 'shorter'}"
        elif stamp != self.stamp:
            what = "was written to"
        elif changed_ns != self._changed_ns:
            what = "was written to, or its attributes were changed,"
        elif self._images_now() != self._images:
            what = "names an image that was changed"
        else:
            return
        raise InputError(f"{what} while it was read", "convert it again when nothing writes to it")


def _file_as_it_is(path: Path) -> tuple[tuple[int, int], FileStamp, int]:
    """Which file it is, its stamp, and its ctime: programs such as rsync set the mtime back, but never the ctime."""
    status = path.stat()
    stamp = FileStamp(path.name, status.st_size, status.st_mtime_ns)
    return identity_of(path), stamp, status.st_ctime_ns


@contextmanager
def unchanging(path: Path | ArrayVolume, settings: Settings, series: str) -> Iterator[_Read | _InMemory]:
    """Say of a file that could not be read well that it has changed meanwhile, if it has."""
    if isinstance(path, ArrayVolume):
        yield _InMemory(path, settings)
        return
    try:
        read = _Read(path, settings, series)
    except (OSError, ValueError):
        with open_input(path, settings):  # which says why
            raise
    try:
        yield read
    except InputError:
        read.check()
        raise
