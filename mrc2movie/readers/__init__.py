"""Readers: one room for each kind of file, told apart by what is in it."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mrc2movie.errors import InputError, about
from mrc2movie.readers import dm, em, hdf5, imagic, mrc, ser, spider, tiff
from mrc2movie.readers.collections import SUFFIXES as COLLECTION_SUFFIXES
from mrc2movie.readers.collections import (
    classes_beside,
    cs_of_job,
    is_collection,
    open_collection,
    open_iterations,
    series_of,
)
from mrc2movie.readers.collections.stamps import stamps_of
from mrc2movie.readers.compressed import MAGIC_BYTES, DecompressedStream, compression_of
from mrc2movie.readers.scans.direct_electron import files_beside
from mrc2movie.readers.source import Asked, InputFile, Source, closed_on_error
from mrc2movie.readers.suffixes import split_name
from mrc2movie.readers.volume import Volume
from mrc2movie.readers.voxels import Sign
from mrc2movie.store.files import FileStamp

_HEAD_BYTES = 1024


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    Attributes:
        name: What it is, in a word.
        suffixes: The names under which such files are taken from a directory, in lower case.
        recognises: Whether a file that begins with these bytes, at most 1024, is one.
        open: Opens one that begins so; closes the source with the volume, and not when it raises.
    """

    name: str
    suffixes: frozenset[str]
    recognises: Callable[[Source, bytes], bool]
    open: Callable[[Source, bytes, Asked], Volume]


READERS = (
    Reader("TIFF", tiff.SUFFIXES, tiff.recognises, tiff.open_tiff),
    Reader("DM3 or DM4", dm.SUFFIXES, dm.recognises, dm.open_dm),
    Reader("HDF5", hdf5.SUFFIXES, hdf5.recognises, hdf5.open_hdf5),
    Reader("SER", ser.SUFFIXES, ser.recognises, ser.open_ser),
    Reader("IMAGIC", imagic.SUFFIXES, imagic.recognises, imagic.open_imagic),
    Reader("SPIDER", spider.SUFFIXES, spider.recognises, spider.open_spider),
    Reader("EM", em.SUFFIXES, em.recognises, em.open_em),
    Reader("MRC", mrc.SUFFIXES, lambda source, head: True, mrc.open_mrc),
)
"""In the order in which they are asked; MRC comes last, since its old files have no magic number."""

PLAIN_SUFFIXES = frozenset().union(*(reader.suffixes for reader in READERS))
COMPRESSION_SUFFIXES = frozenset([".gz", ".bz2", ".xz", ".zst"])


def stem_of(name: str) -> str:
    """``a`` for ``a.mrc``, ``a.mrc.gz`` and ``a.mrc.mdoc``; ``a.b`` stays, as no file that is read is named so."""
    stem, suffix = split_name(_unpacked(name))
    if suffix in COLLECTION_SUFFIXES:
        return stem_of(stem)
    return stem if suffix in PLAIN_SUFFIXES else name


def is_named_like_input(name: str) -> bool:
    """Whether a file of this name is taken from a directory, unless the user gave a pattern."""
    return split_name(_unpacked(name))[1] in PLAIN_SUFFIXES


def _unpacked(name: str) -> str:
    stem, suffix = split_name(name)
    return stem if suffix in COMPRESSION_SUFFIXES else name


def open_volume(
    path: Path,
    mode0: Sign = "auto",
    spool_directory: Path | None = None,
    image_dir: Path | None = None,
    series: str = "",
    iterations: bool = False,
    dataset: str | None = None,
) -> Volume:
    """Open a file by what its content is, whatever its name.

    Args:
        path: The file, or a job folder of cryoSPARC with numbered stacks.
        mode0: Whether 8-bit integers are signed; ``auto`` as the file tells.
        spool_directory: Where a compressed file may keep what it unpacked, should its sections be wanted in another
            order than its own; the system's directory for temporary files where None.
        image_dir: Where the images of a collection lie by their bare names; None where they lie as they are named.
        series: Of a collection with several tilt series: which one.
        iterations: Whether the file stands for the classification that it belongs to, a section an iteration.
        dataset: Which data set of an HDF5 file is shown, or what is shown below this path; None where it may choose.

    Raises:
        InputError: It cannot be read as a stack of sections; the message says why.
    """
    asked = Asked(mode0, dataset)
    open_file = partial(_open_images, asked, spool_directory)
    with about(path):
        if iterations:
            return open_iterations(path, open_file, open_source)
        source = _source(as_file(path) or path, spool_directory)
        with closed_on_error(source):
            head = source.read(0, _HEAD_BYTES)
            if not is_collection(source.path, head):
                return _with_classes(_opened(source, head, asked))
        with source:
            return _with_classes(open_collection(source, head, series, image_dir, open_file, open_source))


def open_source(path: Path) -> Source:
    """Open the bytes of a file, unpacked where it is compressed.

    Raises:
        InputError: It cannot be read.
    """
    return _source(path, None)


def _with_classes(volume: Volume) -> Volume:
    """A volume that knows the classes of its images where they are class averages, and a file beside them tells."""
    if volume.has_random_access:
        known, count = volume.description.classes, volume.description.shape[0]
        classes = classes_beside(volume.path, known, count, open_source)
        volume.description = replace(volume.description, classes=classes)
    return volume


def other_stamps(
    path: Path, image_dir: Path | None = None, series: str = "", iterations: bool = False
) -> tuple[FileStamp, ...]:
    """The other files that an input consists of, as they are now: where one changes, the movie is made anew.

    Args: see `open_volume`.
    """
    beside: list[FileStamp] = []
    for file in files_beside(path):
        with suppress(OSError):  # a sidecar that is stamped as such is stamped twice, which does no harm
            beside.append(FileStamp.of(file))
    return (*stamps_of(path, series, image_dir, iterations, open_source, imagic.other_file(path)), *beside)


def as_file(path: Path) -> Path | None:
    """The file that stands for a job folder of cryoSPARC with numbered stacks; None for any other path."""
    # os.path, since it raises nothing: what cannot be looked at is said when it is opened.
    return cs_of_job(path) if os.path.isdir(path) else None  # noqa: PTH112


def tilt_series(path: Path) -> Sequence[str]:
    """The tilt series that a file lists, each a movie of its own; none where it lists none, or cannot be read."""
    if ".star" not in (suffix.lower() for suffix in path.suffixes):
        return ()
    with suppress(InputError), open_source(path) as source:
        return tuple(series_of(source))
    return ()


def _open_images(asked: Asked, spool_directory: Path | None, path: Path) -> Volume:
    """Open a file that a collection names."""
    with about(path):
        source = _source(path, spool_directory)
        with closed_on_error(source):
            return _opened(source, source.read(0, _HEAD_BYTES), asked)


def _opened(source: Source, head: bytes, asked: Asked) -> Volume:
    reader = next(reader for reader in READERS if reader.recognises(source, head))
    if source.container and reader is not READERS[-1]:
        raise InputError(f"is a {reader.name} file inside {source.container}", "unpack it first")
    return reader.open(source, head, asked)


def _source(path: Path, spool_directory: Path | None) -> Source:
    file = InputFile(path)
    with closed_on_error(file):
        compression = compression_of(file.read(0, MAGIC_BYTES))
        return DecompressedStream(file, compression, spool_directory) if compression else file
