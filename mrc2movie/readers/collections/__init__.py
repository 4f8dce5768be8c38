"""Files that name images in other files: collections of particles, class averages, micrographs and tilts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mrc2movie.readers.collections.classes import classes_beside
from mrc2movie.readers.collections.collection import Collection, Finder
from mrc2movie.readers.collections.cryosparc import cs_of_job, is_cs, read_cs
from mrc2movie.readers.collections.iterations import IterationsVolume, iterations_of
from mrc2movie.readers.collections.relion import is_star, read_star, series_of
from mrc2movie.readers.collections.tilts import is_mdoc, read_tilts
from mrc2movie.readers.collections.volume import CollectionVolume, OpenFile
from mrc2movie.readers.source import Source

__all__ = [
    "SUFFIXES",
    "classes_beside",
    "cs_of_job",
    "is_collection",
    "open_collection",
    "open_iterations",
    "series_of",
]

SUFFIXES = frozenset((".star", ".cs", ".mdoc"))
"""The names under which the field keeps collections; any case."""


def is_collection(path: Path, head: bytes) -> bool:
    """Whether a file of this name that begins so names images in other files."""
    return is_star(head) or is_cs(path, head) or is_mdoc(path, head)


def open_collection(
    source: Source,
    head: bytes,
    series: str,
    image_dir: Path | None,
    open_file: OpenFile,
    open_source: Callable[[Path], Source],
) -> CollectionVolume:
    """Open the images that a collection names.

    Args:
        source: The collection, which stays the caller's.
        head: Its first bytes.
        series: Of a star with several tilt series: which one.
        image_dir: Where the files lie by their bare names; None where they lie as they are named.
        open_file: Opens a file of images.
        open_source: Opens another star.

    Raises:
        InputError: It names no images, or they cannot be used.
    """
    collection = _read(source, head, series, lambda path: _count(path, open_file), open_source, names_alone=False)
    return CollectionVolume(collection, image_dir, open_file)


def names_in_collection(source: Source, head: bytes, series: str, open_source: Callable[[Path], Source]) -> Collection:
    """The names in a collection, without its rows.

    Args:
        source: The collection, which stays the caller's.
        head: Its first bytes.
        series: Of a star with several tilt series: which one.
        open_source: Opens another star.

    Raises:
        InputError: It names no images.
    """
    return _read(source, head, series, lambda path: 0, open_source, names_alone=True).without_rows()


def _read(
    source: Source,
    head: bytes,
    series: str,
    count_of: Callable[[Path], int],
    open_source: Callable[[Path], Source],
    *,
    names_alone: bool,
) -> Collection:
    if is_star(head):
        return read_star(source, series, Finder(source.path, None), open_source, names_alone=names_alone)
    return read_cs(source, count_of, names_alone=names_alone) if is_cs(source.path, head) else read_tilts(source)


def open_iterations(path: Path, open_file: OpenFile, open_source: Callable[[Path], Source]) -> IterationsVolume:
    """Open the iterations of a classification up to that of one of its files, the largest class first.

    Raises:
        InputError: It is no such file, or the class averages cannot be used.
    """
    iterations = iterations_of(path)
    _, last = iterations[-1]
    classes = classes_beside(last, None, _count(last, open_file), open_source)
    order = None if classes is None else np.argsort(-classes.shares, kind="stable").tolist()
    return IterationsVolume(path, iterations, order, open_file)


def _count(path: Path, open_file: OpenFile) -> int:
    with open_file(path) as volume:
        return volume.description.shape[0]
