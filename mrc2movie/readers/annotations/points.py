"""Points that were picked in a volume, as their files have them: places, and what these count.

Formats: RELION's STAR files (https://relion.readthedocs.io/en/latest/Reference/Conventions.html), Dynamo's tables
(https://www.dynamo-em.org/w/index.php?title=Table), models of IMOD, the JSON lines of the cryoET data portal, EMAN's
``.box`` and ``.json``, and numbers in columns.
"""

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError, about
from mrc2movie.readers.annotations.files import content_of, is_named, text_of
from mrc2movie.readers.annotations.imod import is_model, read_model
from mrc2movie.readers.source import InputFile
from mrc2movie.readers.star import Names, tables

Places: TypeAlias = NDArray[np.float64]
"""(n, 3): x, y, z of each; z is NaN where a point has none, and lies in every section."""


@dataclass(frozen=True)
class Unit:
    """What coordinates count.

    Attributes:
        pixel_A: Pixels of this size in Å; voxels of the volume where None.
        origin: Where they count from: the middle of the first voxel, half of the volume's sides (n/2), or the voxel in
            the middle (n//2).
        first: The coordinates of the middle of the first voxel, where they count from there.
        order: Which of the three coordinates in the file are x, y and z.
    """

    pixel_A: float | None = None
    origin: Literal["first", "half", "middle"] = "first"
    first: tuple[float, float, float] = (0.0, 0.0, 0.0)
    order: tuple[int, int, int] = (0, 1, 2)

    @property
    def in_words(self) -> str:
        """For messages."""
        what = "voxels" if self.pixel_A is None else "Å" if self.pixel_A == 1 else f"pixels of {self.pixel_A:.4g} Å"
        return f"{what}{'' if self.origin == 'first' else ' from the middle'}{', z first' if self.order[0] else ''}"


@dataclass(frozen=True)
class Picks:
    """Points of one file.

    Attributes:
        places: Of their centres, in `unit`, shifts apart.
        unit: What they count.
        shifts_A: (n, 3), what is to be added to the places, in Å; None for nothing.
        classes: The class of each, (n,) of text; empty text where they have none.
        volumes: The volume that each lies in, (n,) of text; None where the file does not tell.
        diameters: Of each, (n,), in `unit`; NaN where the file does not tell.
    """

    places: Places
    unit: Unit
    classes: NDArray[np.str_]
    diameters: NDArray[np.float64]
    shifts_A: Places | None = None
    volumes: NDArray[np.str_] | None = None

    @classmethod
    def of(
        cls,
        places: Places,
        unit: Unit | None = None,
        classes: Sequence[str] | None = None,
        diameters: Sequence[float] | float = math.nan,
        shifts_A: Places | None = None,
        volumes: Sequence[str] | None = None,
    ) -> "Picks":
        """Picks of which only this is known; places may be (n, 2).

        Raises:
            InputError: A place is not finite.
        """
        if places.shape[1] == 2:
            places = np.column_stack([places, np.full(len(places), np.nan)])
        elif not np.isfinite(places[:, 2]).all():
            raise InputError("has points whose z is no number", "is the file whole?")
        if not np.isfinite(places[:, :2]).all():
            raise InputError("has points whose place is no number", "is the file whole?")
        return cls(
            places,
            unit or Unit(),
            np.array(classes if classes is not None else [""] * len(places), np.str_),
            np.broadcast_to(np.asarray(diameters, np.float64), len(places)),
            shifts_A,
            None if volumes is None else np.array(volumes, np.str_),
        )

    def of_volume(self, name: str) -> "Picks":
        """Those in the volume of this name."""
        if self.volumes is None:
            return self
        entries, number = np.unique(self.volumes, return_inverse=True)
        meant = [entry for entry in entries.tolist() if is_named(entry, name)]
        longest = max(map(len, meant), default=0)  # TS_1 and TS_1_2: the file TS_1_2.mrc is the latter
        wanted = np.array([entry in meant and len(entry) == longest for entry in entries.tolist()], bool)
        chosen = wanted[number]
        return replace(
            self,
            places=self.places[chosen],
            classes=self.classes[chosen],
            diameters=self.diameters[chosen],
            shifts_A=None if self.shifts_A is None else self.shifts_A[chosen],
            volumes=self.volumes[chosen],
        )


def read_points(path: Path) -> Picks:
    """Read a file of points, by its name and content.

    Raises:
        InputError: It cannot be read, or is none; the message says why.
    """
    with about(path):
        reader = _READERS.get(path.suffix.lower())
        return reader(path) if reader else _of_model(path) if is_model(path) else _of_columns(path)


def _text(path: Path) -> str:
    return text_of(content_of(path))


def _of_model(path: Path) -> Picks:
    model = read_model(path)
    several = len(model.objects) > 1
    called = [
        each.name or (f"object {number}" if several else "") for number, each in enumerate(model.objects, start=1)
    ]
    parts = [
        (each, name, contour) for each, name in zip(model.objects, called, strict=True) for contour in each.contours
    ]
    if not parts:
        return Picks.of(np.empty((0, 3)))
    places = np.concatenate([contour.points for _, _, contour in parts])
    radii = np.concatenate([contour.radii_of(each.radius) for each, _, contour in parts])
    names = [name for _, name, contour in parts for _ in contour.points]
    return Picks.of(places, Unit(model.pixel_A), names, np.where(radii > 0, 2 * radii, np.nan).tolist())


# STAR


def _of_star(path: Path) -> Picks:
    """RELION 3: voxels of the tomogram; RELION 4: unbinned pixels; RELION 5: Å from the middle; shifts taken away."""
    found = _columns_of_star(path)
    optics = found.get("optics", {})
    for table in found.values():
        for labels, in_angstrom in ((_CENTRED, True), (_COORDINATES, False)):
            if all(label in table for label in labels[:2]):
                return _of_particles(table, optics, [label for label in labels if label in table], in_angstrom)
    raise InputError("has no coordinates (rlnCoordinateX, rlnCenteredCoordinateXAngst)", "name another file of points")


Columns: TypeAlias = Mapping[str, Sequence[str]]
"""The values of the columns of a table, each a text, by their names."""


def _columns_of_star(path: Path) -> Mapping[str, Columns]:
    """What is wanted of the tables of a STAR file, by the names of their blocks; of several with one name, the last.

    Raises:
        InputError: It cannot be read, or has none.
    """
    found: dict[str, Columns] = {}
    with InputFile(path) as source:
        for table in tables(source):
            columns = {label: Names() for label in table.columns if label in _LABELS}
            table.read(columns)
            found[table.block] = {label: column.of_rows() for label, column in columns.items()}
    if not found:
        raise InputError("has no data block, and so is no STAR file", "name another")
    return found


_COORDINATES = ("rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ")
_CENTRED = ("rlnCenteredCoordinateXAngst", "rlnCenteredCoordinateYAngst", "rlnCenteredCoordinateZAngst")
_ORIGINS = ("rlnOriginX", "rlnOriginY", "rlnOriginZ")
_ORIGINS_A = ("rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst")
_TURNS = ("rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi")
_VOLUMES = ("rlnTomoName", "rlnMicrographName")
_PIXEL_SIZES = (
    "rlnTomoTiltSeriesPixelSize",
    "rlnMicrographPixelSize",
    "rlnMicrographOriginalPixelSize",
    "rlnPixelSize",
)
_DETECTOR, _MAGNIFICATION, _CLASS = "rlnDetectorPixelSize", "rlnMagnification", "rlnClassNumber"
_LABELS = frozenset((*_COORDINATES, *_CENTRED, *_ORIGINS, *_ORIGINS_A, *_TURNS, *_VOLUMES, *_PIXEL_SIZES)) | {
    _DETECTOR,
    _MAGNIFICATION,
    _CLASS,
}


def _of_particles(table: Columns, optics: Columns, labels: Sequence[str], centred: bool) -> Picks:
    places = _numbers(table, labels)
    shifts = None
    if all(label in table for label in _ORIGINS[: len(labels)]):
        places = places - _numbers(table, _ORIGINS[: len(labels)])
    if all(label in table for label in _ORIGINS_A[: len(labels)]):
        shifts = -_numbers(table, _ORIGINS_A[: len(labels)])
        if len(labels) == 2:
            shifts = np.column_stack([shifts, np.zeros(len(shifts))])
        elif all(label in table for label in _TURNS):  # they are those of a subtomogram that was turned
            shifts = np.einsum("nij,nj->ni", _turned(np.deg2rad(_numbers(table, _TURNS))), shifts)
    numbers = table.get(_CLASS, ())
    classes = [f"class {number}" for number in numbers] if len(set(numbers)) > 1 else None
    volumes = next((table[label] for label in _VOLUMES if label in table), None)
    unit = Unit(1.0, "half") if centred else Unit(_pixel_size(table, optics))
    return Picks.of(places, unit, classes, shifts_A=shifts, volumes=volumes)


def _turned(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrices, (n, 3, 3), of RELION's Euler angles rot, tilt and psi, (n, 3) in radians, inverted.

    Formula: Heymann, Chagoyen and Belnap, J. Struct. Biol. 151 (2005) 196; RELION's shifts are in the turned frame.
    """
    (ca, cb, cg), (sa, sb, sg) = np.cos(angles).T, np.sin(angles).T
    rows = [
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ]
    matrices: NDArray[np.float64] = np.array(rows).transpose(2, 1, 0)
    return matrices


def _pixel_size(table: Columns, optics: Columns) -> float | None:
    """The size of the pixels that coordinates count, in Å, where the file tells one."""
    for each in (table, optics):
        for label in _PIXEL_SIZES:
            if each.get(label):
                return _one(each, label)
        if each.get(_DETECTOR) and each.get(_MAGNIFICATION):
            return 1e4 * _one(each, _DETECTOR) / _one(each, _MAGNIFICATION)
    return None


def _one(table: Columns, label: str) -> float:
    """The positive value that all rows share.

    Raises:
        InputError: They do not, or it is none.
    """
    values = set(table[label])
    sizes = [_number(value) for value in values]
    if len(sizes) > 1 and max(sizes) > 1.001 * min(sizes):
        raise InputError(f"has points of several {label}", "give each pixel size a file of its own")
    if not sizes[0] > 0:
        raise InputError(f"has a {label} of {values.pop()}", "correct it")
    return sizes[0]


def _numbers(table: Columns, labels: Sequence[str]) -> NDArray[np.float64]:
    """Some columns as numbers, (n, columns)."""
    columns = [[_number(value) for value in table[label]] for label in labels]
    return np.array(columns, np.float64).reshape(len(labels), -1).T


def _number(text: str) -> float:
    """NaN for what is none: Python would take 1_0 for 10."""
    try:
        return float(text) if "_" not in text else math.nan
    except ValueError:
        return math.nan


# Columns of numbers


def _of_dynamo_table(path: Path) -> Picks:
    """Columns 24 to 26 are the place, counted from 1, 4 to 6 its shift, 20 the tomogram, 22 the class."""
    rows = _rows_of_numbers(path, at_least=26)
    places = rows[:, 23:26] + rows[:, 3:6]
    classes = [f"class {number:g}" for number in rows[:, 21]] if len(set(rows[:, 21].tolist())) > 1 else None
    volumes = None
    if len(set(rows[:, 19].tolist())) > 1:
        names = _dynamo_names(path)
        volumes = [names.get(f"{number:g}", f"{number:g}") for number in rows[:, 19]]
    return Picks.of(places, Unit(first=(1.0, 1.0, 1.0)), classes, volumes=volumes)


def _dynamo_names(table: Path) -> Mapping[str, str]:
    """The volumes of the numbers in a table: in Dynamo's file beside it, a number and a path a line."""
    for name in (table.with_suffix(".doc"), *sorted(table.parent.glob("*.doc"))):
        if name.is_file():
            lines = (line.split(maxsplit=1) for line in text_of(content_of(name)).splitlines())
            return {f"{_number(line[0]):g}": line[1].strip() for line in lines if len(line) == 2}
    return {}


def _of_box(path: Path) -> Picks:
    """EMAN's boxes: x and y of a corner, width and height; in a tomogram x, y and z of the centre."""
    rows = _rows_of_numbers(path, at_least=3)
    if rows.shape[1] == 3:
        return Picks.of(rows)
    return Picks.of(rows[:, :2] + rows[:, 2:4] / 2, diameters=rows[:, 2].tolist())


def _of_columns(path: Path) -> Picks:
    """Names of columns in the first line, or the first three numbers of each line."""
    lines = [line for line in _text(path).splitlines() if line.strip()]
    if not lines:
        raise InputError("is empty", "name another file of points")
    head = lines[0].lstrip("#% ").strip()
    delimiter = next((mark for mark in ",;\t" if mark in head), None)
    names = [name.strip(" \"'").lower() for name in (head.split(delimiter) if delimiter else head.split())]
    chosen = _coordinate_names(names)
    if chosen is None:
        rows = _rows_of_numbers(path, at_least=2)
        return Picks.of(rows[:, :3])
    try:
        table = list(csv.reader(lines[1:], delimiter=delimiter)) if delimiter else [line.split() for line in lines[1:]]
    except csv.Error as error:
        raise InputError("has lines that are no table", "is it a file of points?") from error
    if short := [number for number, row in enumerate(table, start=2) if len(row) < len(names)]:
        raise InputError(f"line {short[0]} has fewer values than there are names of columns", "is the file whole?")

    def column(known: Sequence[str]) -> list[str] | None:
        place = next((names.index(name) for name in known if name in names), None)
        return None if place is None else [row[place].strip() for row in table]

    places = np.array([[_number(row[names.index(name)]) for name in chosen] for row in table], np.float64)
    in_angstrom = any("ang" in name or "(å)" in name or "(a)" in name for name in chosen)
    return Picks.of(
        places.reshape(-1, len(chosen)),
        Unit(1.0) if in_angstrom else None,
        column(_CLASS_NAMES),
        volumes=column(_VOLUME_NAMES),
    )


_CLASS_NAMES = ("particle_type", "class", "class_name", "type", "label", "object_name", "object", "rlnclassnumber")
_VOLUME_NAMES = (
    "tomo_name",
    "tomogram",
    "tomo",
    "tomo_id",
    "run_name",
    "experiment",
    "run",
    "volume",
    "micrograph_name",
)


def _coordinate_names(names: Sequence[str]) -> Sequence[str] | None:
    """Those of x, y and z, or of x and y, among the names of columns; None where they are none."""
    for form in _COORDINATE_FORMS:
        found = [form.format(axis) for axis in "xyz" if form.format(axis) in names]
        if len(found) >= 2:
            return found
    return ("axis-2", "axis-1", "axis-0") if {"axis-0", "axis-1", "axis-2"} <= set(names) else None  # napari's


_COORDINATE_FORMS = (
    *(
        "{}",
        "pos_{}",
        "{}_pos",
        "coord_{}",
        "coordinate_{}",
        "center_{}",
        "centre_{}",
        "{}_voxel",
        "{}_px",
        "location_{}",
    ),
    *("{}_angstrom", "{}_angst", "{} (å)", "{} (a)", "{}_a", "rlncoordinate{}"),
)


def _rows_of_numbers(path: Path, at_least: int) -> NDArray[np.float64]:
    """The numbers of each line, (n, columns), as many as the shortest line has; a line of words in front is left out.

    Raises:
        InputError: A line has no numbers, or too few.
    """
    rows: list[list[float]] = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        words = line.replace(",", " ").replace(";", " ").split()
        if not words or words[0].startswith(("#", "%")):
            continue
        values: list[float] = []
        for word in words:
            if not math.isfinite(value := _number(word)):
                break
            values.append(value)
        if len(values) < at_least:
            if not rows and not values:
                continue  # names of the columns
            raise InputError(f"line {number} has no {at_least} numbers", "is it a file of points?")
        rows.append(values)
    if not rows:
        raise InputError("has no lines of numbers", "is it a file of points?")
    shortest = min(map(len, rows))
    return np.array([row[:shortest] for row in rows], np.float64)


# JSON


def _of_json_lines(path: Path) -> Picks:
    """The cryoET data portal's: an object a line, with a location in voxels."""
    places = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if line.strip():
            location = _object(_json(line, f"line {number}")).get("location")
            places.append([_real(_object(location).get(axis), f"line {number}") for axis in "xyz"])
    return Picks.of(np.array(places, np.float64).reshape(-1, 3))


def _of_json(path: Path) -> Picks:
    """EMAN2's information of a tomogram or micrograph; of the portal's JSON lines, those of one line."""
    document = _object(_json(_text(path), "it"))
    if "location" in document:
        return _of_json_lines(path)
    if "boxes_3d" in document:
        return _of_eman(document)
    if "boxes" in document:
        return Picks.of(_table([_list(box) for box in _list(document["boxes"])], 2, "boxes"))
    raise InputError("has neither boxes_3d nor boxes, as EMAN2 writes them", "name another file of points")


def _of_eman(document: Mapping[str, Any]) -> Picks:
    """Since 2018 unbinned pixels from the middle, whose size is ``apix_unbin``; before, voxels."""
    boxes = [_list(box) for box in _list(document["boxes_3d"])]
    known = {str(number): _object(each) for number, each in _object(document.get("class_list", {})).items()}
    numbers = [f"{_real(box[5], 'boxes_3d'):g}" if len(box) > 5 else "0" for box in boxes]
    size = document.get("apix_unbin")
    return Picks.of(
        _table(boxes, 3, "boxes_3d"),
        Unit() if size is None else Unit(_real(size, "apix_unbin"), "middle"),
        [str(known.get(number, {}).get("name", f"class {number}")) for number in numbers],
        [_real(known.get(number, {}).get("boxsize", math.nan), "boxsize") for number in numbers],
    )


def _table(rows: Sequence[Sequence[object]], columns: int, where: str) -> NDArray[np.float64]:
    if any(len(row) < columns for row in rows):
        raise InputError(f"has places of less than {columns} numbers ({where})", "name another file of points")
    return np.array([[_real(value, where) for value in row[:columns]] for row in rows], np.float64).reshape(-1, columns)


def _json(text: str, what: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} is no JSON", "is the file whole?") from error


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError("has something else where a JSON object belongs", "name another file of points")
    return value


def _list(value: object) -> Sequence[Any]:
    if not isinstance(value, list):
        raise InputError("has something else where a JSON list belongs", "name another file of points")
    return value


def _real(value: object, where: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if abs(value) < 1e300 or value != value else math.nan
    if isinstance(value, str):
        return _number(value)
    raise InputError(f"has something else than a number ({where})", "name another file of points")


_READERS: Mapping[str, Callable[[Path], Picks]] = {
    ".mod": _of_model,
    ".star": _of_star,
    ".tbl": _of_dynamo_table,
    ".box": _of_box,
    ".ndjson": _of_json_lines,
    ".json": _of_json,
}
"""By the suffix; all others are columns of numbers."""
