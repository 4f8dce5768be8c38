"""A collection as a volume: its images are the sections, whatever files they lie in."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError, about
from mrc2movie.readers.collections.classes import classes_of
from mrc2movie.readers.collections.collection import Collection, Finder
from mrc2movie.readers.collections.open_files import OpenFiles
from mrc2movie.readers.metadata import MOST_SECTIONS
from mrc2movie.readers.volume import (
    Description,
    ImageTable,
    Load,
    Optics,
    Section,
    SizeLearned,
    Tilts,
    Volume,
    VoxelSize,
)

OpenFile = Callable[[Path], Volume]

_SIZES_AGREE = 0.01
"""Relative to each other; what programs round is less, and what they bin is more."""
_A_PER_UM = 1e4
_DEFOCUS_UM = (0.1, 30.0)
_MOST_TOLD = 3


class CollectionVolume(Volume):
    """The images that a collection names, each a section.

    Every file is opened once to look at its header, so that nothing is begun that cannot be ended.

    Args:
        collection: Names them.
        image_dir: Where the files lie by their bare names; None where they lie as they are named.
        open_file: Opens a file of images.

    Raises:
        InputError: A file is missing, or cannot be read, or has not the image that a row names, or images differ in
            size; the message says which row it is.
    """

    def __init__(self, collection: Collection, image_dir: Path | None, open_file: OpenFile) -> None:
        self.path = collection.path
        with about(collection.path):
            files, unusable = _look(collection, image_dir, open_file)
            self._collection = collection.without_files(list(unusable)) if unusable else collection
            _check_images(self._collection, files)
            self._files = files
            self.description = _describe(self._collection, files, unusable)
        self.scratch_bytes = max(file.scratch_bytes for file in files.values())
        self.has_random_access = all(file.has_random_access for file in files.values())
        self._open = OpenFiles({place: file.path for place, file in files.items()}, open_file)

    def expect(self, numbers: Iterable[int], rising: bool) -> None:
        """Any order is as good as another."""

    def section(self, number: int) -> Load:
        """The way to load an image, from any thread."""
        place, index = int(self._collection.file_of[number]), int(self._collection.index[number])
        volume = self._open.take(place)
        try:
            load = volume.section(index)
        except BaseException as error:
            self._open.give_back(place)
            if isinstance(error, SizeLearned):
                row = self._collection.rows[number]
                raise InputError(f"row {row} names an image of {volume.path}, which is cut short") from error
            raise
        return partial(self._load, place, load)

    def _load(self, place: int, load: Load, scratch: NDArray[np.uint8]) -> Section:
        file = self._files[place]
        try:
            with about(file.path):
                section = load(scratch)
        finally:
            self._open.give_back(place)
        if file.row0_at_bottom != self.description.row0_at_bottom:
            section = section[::-1].copy()
        return section.astype(self.description.dtype, copy=False)

    def close(self) -> None:
        """Close all files."""
        self._open.close()


@dataclass(frozen=True)
class _File:
    """What is kept of each file's description, of which there may be ten thousand."""

    path: Path
    count: int
    section_shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    row0_at_bottom: bool
    pixel_size_A: float | None
    scratch_bytes: int
    has_random_access: bool
    warnings: tuple[str, ...]
    first: Description | None

    @classmethod
    def of(cls, volume: Volume, is_first: bool) -> "_File":
        description = volume.description
        size = description.voxel_size_A
        return cls(
            volume.path,
            description.shape[0],
            description.section_shape,
            description.dtype,
            description.row0_at_bottom,
            size[0] if size and not description.voxel_size_is_bare else None,
            volume.scratch_bytes,
            volume.has_random_access,
            description.warnings,
            description if is_first else None,
        )


Files = Mapping[int, _File]
"""By their places in the names of the collection, in this order."""


def _look(
    collection: Collection, image_dir: Path | None, open_file: OpenFile
) -> tuple[Files, Mapping[int, InputError]]:
    """Look at every file, and what is wrong with those that are left out."""
    finder = Finder(collection.path, image_dir)
    files: dict[int, _File] = {}
    unusable: dict[int, InputError] = {}
    for place, name in enumerate(collection.names):
        try:
            path = _found(collection, place, name, finder)
            with open_file(path) as volume:
                files[place] = _File.of(volume, is_first=not files)
        except InputError as error:
            row = collection.first_rows[place]
            named = error if error.path is None else _of_row(row, error)
            if not collection.may_miss_some:
                raise named from error
            unusable[place] = named
    if 2 * len(files) < len(collection.names):
        first = next(iter(unusable.values()))
        what = f"{len(unusable)} of its {len(collection.names)} images cannot be used: {first.message}"
        raise InputError(what, first.advice)
    return files, unusable


def _found(collection: Collection, place: int, name: str, finder: Finder) -> Path:
    """The file of a place.

    Raises:
        InputError: It is not there.
    """
    if path := find_image(collection, name, finder):
        return path
    what = f"row {collection.first_rows[place]} names {name}, which is not there"
    raise InputError(what, "--image-dir DIR names the directory of the images")


def find_image(collection: Collection, name: str, finder: Finder) -> Path | None:
    """The file that a name of a collection means; None where it is not there."""
    others = (finder.find(other) for other in collection.other_names.get(name, ()))
    return next(filter(None, others), None) or finder.find(name)


def _of_row(row: int, error: InputError) -> InputError:
    """What is wrong with a file, and the row that names it."""
    return InputError(f"row {row} names {error.path}: it {error.message}", error.advice)


def _check_images(collection: Collection, files: Files) -> None:
    """Refuse images that are not there, or differ in size.

    Raises:
        InputError: They are.
    """
    count = np.zeros(len(collection.names), np.int64)
    count[list(files)] = [file.count for file in files.values()]
    if collection.are_whole:
        named = np.bincount(collection.file_of, minlength=len(count))
        for place in np.flatnonzero(named != count)[:1]:
            images = f"{count[place]} image{'s' if count[place] > 1 else ''}"
            what = f"row {collection.first_rows[place]} names {files[place].path} without a number, and it has {images}"
            raise InputError(what, "--image-dir DIR names the directory of the single images")
    beyond = np.flatnonzero((collection.index < 0) | (collection.index >= count[collection.file_of]))
    for image in beyond[:1]:
        place, number = collection.file_of[image], collection.index[image] + collection.counted_from
        last = count[place] - 1 + collection.counted_from
        raise InputError(
            f"row {collection.rows[image]} names image {number} of {files[place].path}, whose last is {last}",
            "is it the stack that the row means?",
        )
    first = next(iter(files))
    for place, file in files.items():
        if file.section_shape != files[first].section_shape:
            raise InputError(
                f"row {collection.first_rows[place]} names {file.path}, whose images are {_in_words(file)}, and "
                f"those of row {collection.first_rows[first]} are {_in_words(files[first])}",
                "a movie has frames of one size",
            )


def _in_words(file: _File) -> str:
    rows, columns, *colours = file.section_shape
    return f"{columns} x {rows}{' in colour' if colours else ''}"


def _describe(collection: Collection, files: Files, unusable: Mapping[int, InputError]) -> Description:
    file = next(iter(files.values()))
    first = file.first
    assert first is not None
    size = _size(collection, files, first)
    lost = list(unusable.values())
    warnings = [f"{error.message}: left out" for error in lost[:_MOST_TOLD]]
    if lost[_MOST_TOLD:]:
        warnings.append(f"{len(lost) - _MOST_TOLD} more images are left out")
    told = [f"{each.path.name}: {warning}" for each in files.values() for warning in each.warnings]
    warnings += told[:_MOST_TOLD]
    return Description(
        shape=(len(collection), *first.shape[1:]),
        dtype=_dtype(files),
        row0_at_bottom=first.row0_at_bottom,
        voxel_size_A=size.voxel_size_A,
        voxel_size_is_bare=size.is_bare,
        pixel_size_told_by=size.told_by,
        header={
            "collection": collection.storage,
            "images": len(collection),
            "files": len(files),
            "first_file": file.path.name,
            "header_of_first_file": first.header,
        },
        kind=collection.kind,
        kind_by_name=True,
        images=_images(collection, files),
        classes=classes_of(collection),
        tilts=_tilts(collection),
        optics=_optics(collection),
        colour=first.colour,
        storage={"collection": f"{collection.storage}, {len(files)} files", **first.storage},
        warnings=(*collection.warnings, *warnings, *size.warnings),
    )


def _images(collection: Collection, files: Files) -> ImageTable:
    paths = [files[place].path if place in files else Path(name) for place, name in enumerate(collection.names)]
    return ImageTable(paths, collection.file_of, collection.index, collection.numbers)


def _dtype(files: Files) -> np.dtype[np.generic]:
    """One that all images can be shown in."""
    kinds = {file.dtype for file in files.values()}
    if len(kinds) == 1:
        return kinds.pop()
    common = np.result_type(*kinds)
    return common if common.itemsize <= 4 else np.dtype(np.float32)


@dataclass(frozen=True)
class _Size:
    """The voxel size, and what is to be said of it; see `Description`."""

    voxel_size_A: VoxelSize | None
    is_bare: bool = False
    told_by: str = ""
    warnings: tuple[str, ...] = ()


def _size(collection: Collection, files: Files, first: Description) -> _Size:
    """The pixel size of all images: the collection's, or that of their headers; none where they differ."""
    own = collection.numbers.get("pixel_size_A", np.empty(0))
    in_rows = [(float(own[image]), f"row {collection.rows[image]}") for image in _ends(own)]
    in_headers = [
        (file.pixel_size_A, f"{file.path.name} (row {collection.first_rows[place]})")
        for place, file in files.items()
        if file.pixel_size_A
    ]
    believed, others = (in_rows, in_headers) if collection.knows_pixel_size else (in_headers, in_rows)
    if not believed:
        believed, others = others, []
    if not believed:
        return _Size(first.voxel_size_A, first.voxel_size_is_bare)
    size, where = believed[0]
    if other := _other_than(size, believed):
        what = f"pixel sizes differ: {size:.4g} Å in {where}, {other[0]:.4g} Å in {other[1]}"
        return _Size(None, warnings=(f"{what}: none is taken (--pixel-size gives one)",))
    told_by = f"{collection.path.name}, {where}" if collection.knows_pixel_size and in_rows else ""
    if other := _other_than(size, others):
        what = f"pixel sizes disagree: {size:.4g} Å in {where}, {other[0]:.4g} Å in {other[1]}"
        return _Size((size, size, None), told_by=told_by, warnings=(f"{what}: the former is taken",))
    return _Size((size, size, None), told_by=told_by)


def _ends(sizes: NDArray[np.float64]) -> Sequence[int]:
    """The first image with a size, and those with the least and the largest one."""
    known = np.flatnonzero(sizes > 0)
    if not len(known):
        return ()
    return int(known[0]), int(known[np.argmin(sizes[known])]), int(known[np.argmax(sizes[known])])


def _other_than(size: float, told: Sequence[tuple[float, str]]) -> tuple[float, str] | None:
    return next((each for each in told if abs(each[0] / size - 1) > _SIZES_AGREE), None)


def _tilts(collection: Collection) -> Tilts | None:
    angles = collection.known("tilt_degrees")
    if collection.kind != "tilt series" or not len(angles) == len(collection) <= MOST_SECTIONS:
        return None
    return Tilts(tuple(angles.tolist()), collection.path.name)


def _optics(collection: Collection) -> Optics:
    """The middle value of all images."""
    u, v = (collection.numbers.get(name) for name in ("defocus_u_A", "defocus_v_A"))
    defocus_um = _middle((u if v is None else (u + v) / 2) / _A_PER_UM) if u is not None else None
    if defocus_um is not None and not _DEFOCUS_UM[0] <= defocus_um <= _DEFOCUS_UM[1]:
        defocus_um = None
    return Optics(
        defocus_um=defocus_um,
        voltage_kV=_middle(collection.known("voltage_kV")),
        cs_mm=_middle(collection.known("cs_mm")),
        origin=collection.path.name,
    )


def _middle(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return abs(float(np.median(known))) if len(known) else None
