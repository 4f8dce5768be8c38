"""Models of IMOD for tests, written from the description of their format."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIRST = np.array([0.5, 0.5, 0])
"""Where IMOD has the middle of the first voxel."""

OFF, OPEN, SCATTERED = 1 << 1, 1 << 3, 1 << 9
FLIPPED, HAS_ORIGIN = 1 << 16, 1 << 14


@dataclass(frozen=True)
class Thing:
    """An object: contours in voxels whose middles are whole numbers, triangles (n, 3, 3) so as well."""

    contours: Sequence[Any] = ()
    triangles: Any = ()
    name: str = ""
    colour: tuple[float, float, float] = (1.0, 0.0, 0.0)
    flags: int = 0
    radius: int = 0
    contour_flags: Sequence[int] = ()
    sizes: Sequence[float] = ()
    with_normals: bool = False


def imod(
    *things: Thing, flags: int = 0, extra: bytes = b"", pixel: tuple[float, int] = (0, 0), order: Any = (0, 1, 2)
) -> bytes:
    """A model.

    Args:
        things: Its objects.
        flags: Of the model.
        extra: Chunks behind the objects.
        pixel: Its size and unit: (0.8, -9) is 0.8 nm.
        order: How x, y and z are stored.
    """
    head = b"IMODV1.2" + b"model".ljust(128, b"\0")
    head += struct.pack(">3i i I 4i", 0, 0, 0, len(things), flags, 1, 0, 0, 255)
    head += struct.pack(">6f 3i f i f i i 3f", *[0, 0, 0, 1, 1, 1], 0, 0, 0, 3.0, 0, *pixel, 0, 0, 0, 0)
    assert len(head) == 240
    parts = [head]

    def stored(places: Any) -> bytes:
        return bytes((np.asarray(places, float) + FIRST)[:, list(order)].astype(">f4").tobytes())

    for thing in things:
        meshes = 1 if len(thing.triangles) else 0
        data = b"OBJT" + thing.name.encode().ljust(64, b"\0") + bytes(64)
        data += struct.pack(
            ">i I i i 3f i 8B i i",
            len(thing.contours),
            thing.flags,
            0,
            0,
            *thing.colour,
            thing.radius,
            *[0] * 8,
            meshes,
            0,
        )
        assert len(data) == 180
        for number, contour in enumerate(thing.contours):
            of_contour = thing.contour_flags[number] if thing.contour_flags else 0
            data += b"CONT" + struct.pack(">i I i i", len(contour), of_contour, 0, 0) + stored(contour)
            if thing.sizes:
                data += b"SIZE" + struct.pack(f">i {len(thing.sizes)}f", 4 * len(thing.sizes), *thing.sizes)
        if meshes:
            data += mesh(np.asarray(thing.triangles, float), stored, thing.with_normals)
        parts.append(data)
    return b"".join([*parts, extra, b"IEOF"])


def mesh(triangles: NDArray[np.float64], stored: Any, with_normals: bool = False, flags: int = 0) -> bytes:
    """A mesh chunk: each vertex is followed by its normal, as imodmesh writes them."""
    vertices = triangles.reshape(-1, 3)
    both = np.stack([vertices, np.zeros_like(vertices)], axis=1).reshape(-1, 3)
    at = 2 * np.arange(len(vertices))
    listed = [-23, *np.stack([at + 1, at], axis=1).ravel(), -22, -1] if with_normals else [-25, *at, -22, -1]
    head = b"MESH" + struct.pack(">iiIhh", len(both), len(listed), flags, 0, 0)
    return bytes(head + stored(both) + np.array(listed, ">i4").tobytes())


def ball(centre: tuple[float, float, float], radius: float, steps: int = 24) -> NDArray[np.float64]:
    """The triangles, (n, 3, 3), of a sphere."""
    turn, tilt = np.meshgrid(np.linspace(0, 2 * np.pi, 2 * steps + 1), np.linspace(0, np.pi, steps + 1))
    places = np.stack([np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt)], axis=-1)
    corners = places[:-1, :-1], places[:-1, 1:], places[1:, :-1], places[1:, 1:]
    halves = [np.stack([corners[0], corners[1], corners[2]], -2), np.stack([corners[1], corners[3], corners[2]], -2)]
    return np.asarray(centre) + radius * np.concatenate([half.reshape(-1, 3, 3) for half in halves])
