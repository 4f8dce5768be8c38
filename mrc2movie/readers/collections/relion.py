"""RELION's STAR files: particles, class averages, micrographs, tilt series.

Format: https://relion.readthedocs.io/en/latest/Reference/Conventions.html; versions 3.1 and later keep in a table
``optics`` what the images of a group share, 3.0 in every row; 5 has a table of tilt series, each with a star of its
own.
"""

import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError, about
from mrc2movie.readers.collections.collection import Collection, Finder, in_order
from mrc2movie.readers.source import Source
from mrc2movie.readers.star import Column, Names, Numbers, Table, Values, tables
from mrc2movie.readers.volume import VolumeKind

OpenSource = Callable[[Path], Source]

_IMAGES: Mapping[str, VolumeKind] = {
    "rlnImageName": "particle stack",
    "rlnReferenceImage": "particle stack",
    "rlnMicrographName": "image stack",
    "rlnMicrographMovieName": "image stack",
}
"""The columns that name images, the most wanted first."""

_NUMBERS: Mapping[str, Sequence[str]] = {
    "pixel_size_A": ("rlnImagePixelSize", "rlnMicrographPixelSize", "rlnTomoTiltSeriesPixelSize", "rlnPixelSize"),
    "tilt_degrees": ("rlnTomoNominalStageTiltAngle", "rlnTomoYTilt"),
    "defocus_u_A": ("rlnDefocusU",),
    "defocus_v_A": ("rlnDefocusV",),
    "defocus_angle_degrees": ("rlnDefocusAngle",),
    "phase_shift_degrees": ("rlnPhaseShift",),
    "voltage_kV": ("rlnVoltage",),
    "cs_mm": ("rlnSphericalAberration",),
    "amplitude_contrast": ("rlnAmplitudeContrast",),
    "class_number": ("rlnClassNumber",),
    "class_share": ("rlnClassDistribution",),
}
_DETECTOR, _MAGNIFICATION = "rlnDetectorPixelSize", "rlnMagnification"
_GROUP = "rlnOpticsGroup"
_SERIES, _SERIES_STAR = "rlnTomoName", "rlnTomoTiltSeriesStarFile"
_STACKS = (".mrcs", ".mrc", ".st")
_A_PER_UM = 1e4
_IMAGE_NUMBER = re.compile(rb"0*[1-9]\d{0,11}")
_HEADING = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s|#[^\n]*\n)*data_")


def is_star(head: bytes) -> bool:
    """Whether a file that begins so is a STAR file, or another one of its family."""
    return _HEADING.match(head) is not None


class _Places(Column):
    """Images as RELION names them: ``000001@stack.mrcs``, counted from 1, or a file alone.

    Attributes:
        index: Counted from 0; -1 where the row does not tell.
        files: The files.
    """

    def __init__(self) -> None:
        self.index = array("q")
        self.files = Names()

    def extend(self, values: Values, first_row: int) -> None:
        """Take more images."""
        parts = [value.partition(b"@") for value in values.tolist()]
        if not any(at for _, at, _ in parts):
            self.files.take([name for name, _, _ in parts])
            self.index.extend([-1] * len(parts))
            return
        try:
            index = array("q", [int(number) - 1 for number, _, _ in parts])
        except (ValueError, OverflowError):
            index = array("q", [-1])
        if min(index) < 0:
            bad = next(row for row, (number, _, _) in enumerate(parts) if not _IMAGE_NUMBER.fullmatch(number))
            shown = values[bad].decode("utf-8", "replace")
            raise InputError(f"row {first_row + bad} names {shown}: images are counted from 1", "is the file damaged?")
        self.index.extend(index)
        self.files.take([name for _, _, name in parts])


@dataclass(frozen=True)
class _Found:
    """What is known from tables beside that of the images."""

    shared: Mapping[str, float]
    optics: Mapping[str, NDArray[np.float64]]


def series_of(source: Source) -> Mapping[str, str]:
    """The tilt series of a star that has a table of them: their stars, by their names; empty for any other star.

    It is read no further than its first table of images.

    Raises:
        InputError: It is damaged, or two series have the same name.
    """
    for table in tables(source):
        if {_SERIES, _SERIES_STAR} <= set(table.columns):
            names, stars = Names(), Names()
            rows = table.read({_SERIES: names, _SERIES_STAR: stars})
            if len(names.names) < rows:
                raise InputError(f"two tilt series in its table {table.block} have the same name")
            texts = stars.texts()
            return dict(zip(names.texts(), (texts[place] for place in stars.places), strict=True))
        if any(name in table.columns for name in _IMAGES):
            break
    return {}


def read_star(
    source: Source, series: str, find: Finder, open_source: OpenSource, *, names_alone: bool = False
) -> Collection:
    """Read which images a star names.

    Args:
        source: The file.
        series: Of a star with a table of tilt series: which one.
        find: Finds the star of the series.
        open_source: Opens it.
        names_alone: Whether the numbers of the images are not wanted.

    Raises:
        InputError: It names none, or is damaged.
    """
    shared: dict[str, float] = {}
    optics: dict[str, NDArray[np.float64]] = {}
    rows_alone: dict[str, NDArray[np.float64]] = {}
    for table in tables(source):
        if {_SERIES, _SERIES_STAR} <= set(table.columns):
            return _of_series(source.path, table, series, find, open_source)
        if column := next((name for name in _IMAGES if name in table.columns), None):
            return _images(source.path, table, column, None if names_alone else _Found(shared, optics))
        if _GROUP in table.columns and table.block == "optics":
            groups = Numbers()
            numbers = _read_numbers(table, {_GROUP: groups})
            optics = {_GROUP: groups.as_array(), **numbers}
        elif any(name in table.columns for names in _NUMBERS.values() for name in names):
            numbers = _read_numbers(table, {})
            if max(map(len, numbers.values()), default=0) == 1:
                shared |= {name: float(values[0]) for name, values in numbers.items()}
            else:
                rows_alone = numbers
    return _stack_beside(source.path, rows_alone)


def _of_series(path: Path, table: Table, wanted: str, find: Finder, open_source: OpenSource) -> Collection:
    names, stars = Names(), Names()
    numbers = _read_numbers(table, {_SERIES: names, _SERIES_STAR: stars})
    texts = names.texts()
    if not wanted and len(texts) == 1:
        wanted = texts[0]
    if wanted not in texts:
        shown = ", ".join(texts[:3]) + (", …" if len(texts) > 3 else "")
        advice = "name a directory for the movies" if len(texts) > 1 else ""
        raise InputError(f"has {len(texts)} tilt series ({shown}), each a movie of its own", advice)
    row = texts.index(wanted)
    star = stars.texts()[stars.places[row]]
    found = find.find(star)
    if found is None:
        raise InputError(f"row {row + 1} names {star}, which is not there", "is the project in one piece?")
    with about(found), open_source(found) as source:
        images = read_star(source, "", find, open_source)
    shared = {name: np.full(len(images), values[row]) for name, values in numbers.items()}
    return replace(images, path=found, storage="RELION star of tilt series", numbers={**shared, **images.numbers})


def _read_numbers(table: Table, others: Mapping[str, Column]) -> dict[str, NDArray[np.float64]]:
    """The columns of `_NUMBERS` that a table has, by our names, and other columns in the same pass."""
    wanted = [name for names in (*_NUMBERS.values(), (_DETECTOR, _MAGNIFICATION)) for name in names]
    read = {name: Numbers() for name in wanted if name in table.columns}
    table.read({**read, **others})
    found = {
        ours: read[name].as_array() for ours, names in _NUMBERS.items() if (name := _first_in(names, read)) is not None
    }
    if _DETECTOR in read and _MAGNIFICATION in read:
        with np.errstate(divide="ignore", invalid="ignore"):
            size = read[_DETECTOR].as_array() * _A_PER_UM / read[_MAGNIFICATION].as_array()
        found.setdefault("pixel_size_A", size)
    return found


def _first_in(names: Sequence[str], there: Mapping[str, object]) -> str | None:
    return next((name for name in names if name in there), None)


def _images(path: Path, table: Table, column: str, found: _Found | None) -> Collection:
    """The images of a table; without their numbers where what was found before is not wanted."""
    places, groups = _Places(), Numbers()
    others: dict[str, Column] = {column: places}
    if found and found.optics and _GROUP in table.columns:
        others[_GROUP] = groups
    numbers: dict[str, NDArray[np.float64]] = {}
    if found is None:
        table.read(others)
    else:
        numbers = _read_numbers(table, others)
    file_of = places.files.as_array()
    if not len(file_of):
        raise InputError(f"its table {table.block} has no rows", "was anything selected?")
    index = np.frombuffer(places.index, np.int64)
    if (index < 0).any() and (index >= 0).any():
        row = int(np.argmax((index < 0) != (index[0] < 0))) + 1
        raise InputError(f"row {row} names an image in another way than row 1", "is the file damaged?")
    are_whole = bool(index[0] < 0)
    count = len(file_of)
    if found:
        shared = {name: np.full(count, value) for name, value in found.shared.items()}
        numbers = {**shared, **_of_groups(groups, found.optics), **numbers}
    tilted = "tilt_degrees" in numbers and column != "rlnImageName"
    if column == "rlnReferenceImage":
        numbers["class_number"] = (index + 1).astype(np.float64)
    return Collection(
        path=path,
        storage=f"RELION star, {column}",
        kind="tilt series" if tilted else _IMAGES[column],
        names=places.files.texts(),
        file_of=file_of,
        index=in_order(file_of) if are_whole else index,
        rows=np.arange(1, count + 1),
        numbers=numbers,
        are_whole=are_whole,
        are_averages=column == "rlnReferenceImage",
        may_miss_some=column.startswith("rlnMicrograph"),
    )


def _of_groups(groups: Numbers, optics: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """What the images of an optics group share, for each image; NaN for a group that is not in the table."""
    if not groups.values:
        return {}
    known, of_image = optics[_GROUP], groups.as_array()
    order = np.argsort(known)
    at = np.minimum(np.searchsorted(known[order], of_image), len(known) - 1)
    there = known[order][at] == of_image
    return {name: np.where(there, values[order][at], np.nan) for name, values in optics.items() if name != _GROUP}


def _stack_beside(path: Path, numbers: Mapping[str, NDArray[np.float64]]) -> Collection:
    """The images of the stack that has the star's own name, one a row, where the rows name none."""
    stack = next((stack for suffix in _STACKS if (stack := path.with_suffix(suffix)).is_file()), None)
    count = len(next(iter(numbers.values()), ()))
    if not count or stack is None:
        raise InputError("names no images", f"it needs a column of {', '.join(_IMAGES)}")
    return Collection(
        path=path,
        storage="star of one stack",
        kind="particle stack",
        names=(stack.name,),
        file_of=np.zeros(count, np.int32),
        index=np.arange(count),
        rows=np.arange(1, count + 1),
        numbers=numbers,
        are_whole=True,
    )
