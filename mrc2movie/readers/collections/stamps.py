"""Whether the files that make up an input are still those that a movie was made of: one stamp for all of them."""

import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from mrc2movie.errors import InputError
from mrc2movie.readers.collections import SUFFIXES, names_in_collection
from mrc2movie.readers.collections.classes import file_of_classes
from mrc2movie.readers.collections.collection import Collection, Finder
from mrc2movie.readers.collections.iterations import iterations_of
from mrc2movie.readers.collections.volume import find_image
from mrc2movie.readers.source import Source
from mrc2movie.store.files import FileStamp

OpenSource = Callable[[Path], Source]

_HEAD_BYTES = 1024


def stamps_of(
    path: Path,
    series: str,
    image_dir: Path | None,
    iterations: bool,
    open_source: OpenSource,
    other_file: Path | None = None,
) -> tuple[FileStamp, ...]:
    """One stamp for all other files that an input consists of, as they are now; none for a file that stands alone.

    Ten thousand stamps would make the record of a movie longer than the movie. So a digest of all names, sizes and
    times stands for them, in the place of a time.

    Args:
        path: The input.
        series: Of a star with several tilt series: which one.
        image_dir: Where the files lie by their bare names; None where they lie as they are named.
        iterations: Whether it stands for a classification.
        open_source: Opens a file.
        other_file: That the input consists of, beside what it names.
    """
    with suppress(InputError, OSError):
        files: list[Path | None] = [other_file] if other_file else []
        if iterations:
            files += [stack for _, stack in iterations_of(path)]
        elif SUFFIXES.intersection(suffix.lower() for suffix in path.suffixes):
            files += _images(path, series, image_dir, open_source)
        if beside := file_of_classes(path):
            files.append(beside)
        return (_stamp(files),) if files else ()
    return ()


def _images(path: Path, series: str, image_dir: Path | None, open_source: OpenSource) -> Iterable[Path | None]:
    """The star that a collection names its images by, and these; None for one that is not there."""
    # Which numbered stacks a job folder has, its .cs file does not tell.
    names = _names.__wrapped__ if ".cs" in path.suffixes else _names
    collection = names(path, FileStamp.of(path), series, open_source)
    finder = Finder(collection.path, image_dir)
    return [collection.path, *(find_image(collection, name, finder) for name in collection.names)]


def _stamp(files: Iterable[Path | None]) -> FileStamp:
    digest, total = hashlib.sha256(), 0
    for each in files:
        status = each.stat() if each else None
        size, changed = (status.st_size, status.st_mtime_ns) if status else (0, 0)
        digest.update(os.fsencode(f"{each and each.name}\0{size}\0{changed}\0"))
        total += size
    return FileStamp("an image", total, int.from_bytes(digest.digest()[:6], "big"))


@lru_cache(4)
def _names(path: Path, stamp: FileStamp, series: str, open_source: OpenSource) -> Collection:
    """The names in a collection, which are read once as long as its stamp is the same."""
    with open_source(path) as source:
        return names_in_collection(source, source.read(0, _HEAD_BYTES), series, open_source)
