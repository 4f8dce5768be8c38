"""Where a voxel lies in a frame: a bright voxel is found in the movie where the geometry puts it, and back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from movies import LOSSLESS, description_of, frames, run, write_mrc

from mrc2movie import Settings
from mrc2movie.conversion.preparation import preparation
from mrc2movie.picture.geometry import Geometry

SHAPE = (9, 14, 20)  # sections, rows, columns

CHOICES: list[dict[str, Any]] = [
    {},
    {"flip": "no"},
    {"axis": "y"},
    {"axis": "x"},
    {"axis": "x", "flip": "no"},
    {"bin": 2},
    {"bin": 3, "axis": "y"},
    {"max_size": 10},
    {"max_size": 7, "flip": "no"},
    {"bin": 2, "max_size": 5, "axis": "x"},
]


def geometry_of(options: dict[str, Any]) -> Geometry:
    sections, rows, columns = SHAPE
    axis = options.get("axis", "z")
    seen = {"z": (sections, rows, columns), "y": (rows, sections, columns), "x": (columns, sections, rows)}[axis]
    return preparation(description_of(*seen), Settings(**options)).geometry


@pytest.mark.parametrize("options", CHOICES, ids=str)
@pytest.mark.parametrize("voxel", [(0, 0, 0), (17, 4, 6), (11, 11, 2)], ids=str)
def test_a_bright_voxel_is_seen_where_the_geometry_puts_it(
    tmp_path: Path, options: dict[str, Any], voxel: tuple[int, int, int]
) -> None:
    x, y, z = voxel
    voxels = np.zeros(SHAPE, np.float32)
    voxels[z, y, x] = 1
    source = write_mrc(tmp_path / "in.mrc", voxels)
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    assert run(source, tmp_path, *LOSSLESS, "--playback=forward", "--range=minmax", *words) == 0
    made = np.stack(frames(tmp_path / "in.avi"))
    plane, row, column = np.unravel_index(made.argmax(), made.shape)
    assert made[plane, row, column] == 255
    found = geometry_of(options).to_pixel(x, y, z)
    assert found[0] == plane
    # The centre of the voxel lies within the pixel; where voxels were binned first, the brightest pixel is the bin's.
    assert np.abs(np.subtract(found[1:], (column, row))).max() <= (0.75 if "bin" in options else 0.5)


@pytest.mark.parametrize("options", CHOICES, ids=str)
def test_the_way_back_from_a_pixel_is_the_voxel(options: dict[str, Any]) -> None:
    geometry = geometry_of(options)
    for voxel in ((0.0, 0.0, 0.0), (17.25, 4.0, 6.5), (3.0, 11.5, 2.0)):
        np.testing.assert_allclose(geometry.to_voxel(*geometry.to_pixel(*voxel)), voxel, atol=1e-9)


def test_a_cropped_plane_is_counted_from_its_first_voxel() -> None:
    geometry = Geometry((5, 8), voxels_per_pixel=(2.0, 2.0), row0_at_bottom=True, origin=(4, 6))
    assert geometry.to_pixel(6.5, 4.5, 3) == (3, 0.0, 4.0)  # the first pixel of the bottom row
    np.testing.assert_allclose(geometry.to_voxel(3, 7, 0), (6 + 14.5, 4 + 8.5, 3))
