"""Models of IMOD: points, contours and meshes in the voxels of a volume.

Format: https://bio3d.colorado.edu/imod/doc/binspec.html; numbers are big-endian. In x and y the middle of the first
voxel is at 0.5, in z at 0.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError, about
from mrc2movie.readers.annotations.files import content_of

Vertices: TypeAlias = NDArray[np.float64]
"""(n, 3): x, y, z in voxels; whole numbers are the middles of voxels."""

_MODEL_BYTES, _OBJECT_BYTES = 232, 176
_FIRST = np.array([0.5, 0.5, 0.0])
_Y_AND_Z_FLIPPED, _HAS_ORIGIN = 1 << 16, 1 << 14
_OFF, _OPEN, _SCATTERED = 1 << 1, 1 << 3, 1 << 9
_CONTOUR_OPEN = 1 << 3
_ANGSTROM = {1: 1e10, -2: 1e8, -3: 1e7, -6: 1e4, -9: 10.0, -10: 1.0, -12: 0.01}
"""By the unit of the pixel size: m, cm, mm, µm, nm, Å, pm."""
_RESOLUTION_SHIFT, _RESOLUTION_BITS = 20, 15
_TRIANGLES, _TRIANGLES_WITH_NORMALS, _END = -25, -23, -22
_LARGEST = 1e9


@dataclass(frozen=True)
class Contour:
    """A line of points, or points that are not connected.

    Attributes:
        points: In order.
        is_open: Whether the last is not connected with the first.
        radii: Of spheres around the points, in voxels, (n,); None where they have none of their own.
    """

    points: Vertices
    is_open: bool = False
    radii: NDArray[np.float64] | None = None

    def radii_of(self, otherwise: float) -> NDArray[np.float64]:
        """The radius of each point, its object's where it has none of its own."""
        if self.radii is None:
            return np.full(len(self.points), otherwise)
        return np.where(self.radii >= 0, self.radii, otherwise)


@dataclass
class ModelObject:
    """Contours and meshes of one kind.

    Attributes:
        name: As its file has it; may be empty.
        colour: Red, green, blue.
        is_shown: Whether it is switched on.
        is_scattered: Whether its points are spheres, and not connected.
        radius: Of its points, in voxels; 0 for none.
        contours: Its contours.
        triangles: (n, 3, 3): the corners of the triangles of its meshes, each (x, y, z) in voxels.
    """

    name: str
    colour: tuple[int, int, int]
    is_shown: bool = True
    is_scattered: bool = False
    radius: float = 0.0
    contours: list[Contour] = field(default_factory=list)
    triangles: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3, 3)))


@dataclass(frozen=True)
class Model:
    """A model.

    Attributes:
        objects: In the order of the file.
        pixel_A: The voxels that it counts have this size in Å; None where it does not tell.
    """

    objects: list[ModelObject]
    pixel_A: float | None


def is_model(path: Path) -> bool:
    """Whether a file begins as a model does."""
    return content_of(path)[:4] == b"IMOD"


def read_model(path: Path) -> Model:
    """Read a model.

    Raises:
        InputError: It cannot be read, is none, or is not whole.
    """
    with about(path):
        content = content_of(path)
        if content[:8] != b"IMODV1.2":
            if content[:5].lower() == b"imod ":
                raise InputError("is a model of IMOD in text, and not binary", "imodtrans makes it binary")
            raise InputError("is no model of IMOD of version 1.2", "name another file")
        try:
            return _model(content)
        except (struct.error, ValueError) as error:
            raise InputError("ends within the model, or is damaged", "copy it again") from error


def _model(content: bytes) -> Model:
    flags = struct.unpack_from(">I", content, 8 + 144)[0]
    pixel, unit = struct.unpack_from(">fi", content, 8 + 208)
    pixel_A = pixel * _ANGSTROM[unit] if unit in _ANGSTROM and 0 < pixel < _LARGEST else None
    offset = np.zeros(3)
    objects: list[ModelObject] = []
    meshes: list[list[tuple[int, NDArray[np.float64]]]] = []
    defaults_to_open = False
    for kind, start, size in _chunks(content):
        if kind == b"OBJT":
            objects.append(_object(content, start))
            meshes.append([])
            defaults_to_open = bool(struct.unpack_from(">I", content, start + 132)[0] & _OPEN)
        elif kind == b"CONT" and objects:
            count, contour_flags = struct.unpack_from(">iI", content, start)
            is_open = defaults_to_open or bool(contour_flags & _CONTOUR_OPEN)
            objects[-1].contours.append(Contour(_points(content, start + 16, count), is_open))
        elif kind == b"SIZE" and objects and objects[-1].contours:
            contour = objects[-1].contours.pop()
            radii = _floats(content, start, len(contour.points))
            radii = np.where(np.abs(radii) < _LARGEST, radii, -1)
            objects[-1].contours.append(Contour(contour.points, contour.is_open, radii))
        elif kind == b"MESH" and objects:
            meshes[-1].append(_mesh(content, start))
        elif kind == b"MINX" and size >= 72:
            numbers = _floats(content, start, 18).reshape(6, 3)
            before, scale, now = numbers[1], numbers[3], numbers[4]
            if flags & _HAS_ORIGIN and np.isfinite(numbers).all() and (scale > 0).all():
                offset = (before - now) / scale  # from the part that was loaded to the whole volume
    order = [0, 2, 1] if flags & _Y_AND_Z_FLIPPED else [0, 1, 2]
    for each, parts in zip(objects, meshes, strict=True):
        each.contours = [
            Contour(contour.points[:, order] + offset - _FIRST, contour.is_open, contour.radii)
            for contour in each.contours
        ]
        finest = min((resolution for resolution, _ in parts), default=0)
        triangles = [corners for resolution, corners in parts if resolution == finest]
        if triangles:
            each.triangles = np.concatenate(triangles)[..., order] + offset - _FIRST
    return Model(objects, pixel_A)


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind of each chunk, where its data begin, and how long they are."""
    place = 8 + _MODEL_BYTES
    while place + 4 <= len(content):
        kind = content[place : place + 4]
        start = place + 4
        if kind == b"IEOF":
            return
        if kind == b"OBJT":
            size = _OBJECT_BYTES
        elif kind == b"CONT":
            size = 16 + 12 * _count(content, start)
        elif kind == b"MESH":
            size = 16 + 12 * _count(content, start) + 4 * _count(content, start + 4)
        else:
            size = _count(content, start)
            start += 4
        if start + size > len(content):
            raise ValueError
        yield kind, start, size
        place = start + size


def _count(content: bytes, place: int) -> int:
    (count,) = struct.unpack_from(">i", content, place)
    if count < 0:
        raise ValueError
    return int(count)


def _object(content: bytes, start: int) -> ModelObject:
    name = content[start : start + 64].partition(b"\0")[0].decode("latin-1").strip()
    flags, _, _, red, green, blue, radius = struct.unpack_from(">Iii3fi", content, start + 132)
    shown = [round(255 * min(max(part, 0.0), 1.0)) if part == part else 255 for part in (red, green, blue)]
    return ModelObject(
        name=name,
        colour=(shown[0], shown[1], shown[2]),
        is_shown=not flags & _OFF,
        is_scattered=bool(flags & _SCATTERED),
        radius=float(max(0, radius)),
    )


def _floats(content: bytes, start: int, count: int) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.frombuffer(content, ">f4", count, start).astype(np.float64)


def _points(content: bytes, start: int, count: int) -> Vertices:
    points = _floats(content, start, 3 * count).reshape(count, 3)
    if not (np.abs(points) < _LARGEST).all():
        raise ValueError
    return points


def _mesh(content: bytes, start: int) -> tuple[int, NDArray[np.float64]]:
    """How coarse a mesh is, and its triangles, (n, 3, 3)."""
    vertices, entries, flags = struct.unpack_from(">iiI", content, start)
    corners = _points(content, start + 16, vertices)
    listed = np.frombuffer(content, ">i4", entries, start + 16 + 12 * vertices)
    found = [np.empty((0, 3), np.int64)]
    begins = np.flatnonzero((listed == _TRIANGLES) | (listed == _TRIANGLES_WITH_NORMALS))
    ends = np.flatnonzero(listed == _END)
    for begin in begins.tolist():
        after = np.searchsorted(ends, begin)
        end = int(ends[after]) if after < len(ends) else entries
        indices = listed[begin + 1 : end].astype(np.int64)
        if listed[begin] == _TRIANGLES_WITH_NORMALS:  # a normal before each vertex
            indices = indices[1::2]
        found.append(indices[: len(indices) // 3 * 3].reshape(-1, 3))
    triangles = np.concatenate(found)
    if triangles.size and not (triangles.min() >= 0 and triangles.max() < vertices):
        raise ValueError
    return flags >> _RESOLUTION_SHIFT & _RESOLUTION_BITS, corners[triangles]
