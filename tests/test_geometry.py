"""Where a voxel lies in a frame: a bright voxel is found in the movie where the geometry puts it, and back."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from movies import LOSSLESS, description_of, frames, ramp, run, shown, write_mrc

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
    {"crop": (10, 3, 8, 9)},
    {"crop": (1, 2, 19, 10), "flip": "no", "bin": 2},
    {"crop": (2, 1, 17, 8), "axis": "y", "max_size": 8},
    {"min_size": 45},
]


def as_words(options: dict[str, Any]) -> list[str]:
    words: list[str] = []
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", *(map(str, value) if isinstance(value, tuple) else [str(value)])]
    return words


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
    assert run(source, tmp_path, *LOSSLESS, "--playback=forward", "--range=minmax", *as_words(options)) == 0
    geometry = geometry_of(options)
    made = np.stack(frames(tmp_path / "in.avi"))[:, : geometry.shape[0], : geometry.shape[1]]  # without the padding
    assert made.shape[1:] == geometry.shape
    found = geometry.to_pixel(x, y, z)
    inside = all(-0.5 <= place < side - 0.5 for place, side in zip(found[1:], geometry.shape[::-1], strict=True))
    assert inside is bool(np.ptp(made))  # what is cropped away leaves nothing to be seen
    if inside:
        brightest = np.argwhere(made == 255)
        assert set(brightest[:, 0]) == {found[0]}
        # The centre of the voxel lies within its pixels; where voxels were binned first, these are the bin's.
        _, row, column = brightest.mean(axis=0)
        size = max(1, *(1 / voxels for voxels in geometry.voxels_per_pixel))
        assert np.abs(np.subtract(found[1:], (column, row))).max() <= size * (0.75 if "bin" in options else 0.5)


@pytest.mark.parametrize("options", CHOICES, ids=str)
def test_the_way_back_from_a_pixel_is_the_voxel(options: dict[str, Any]) -> None:
    geometry = geometry_of(options)
    for voxel in ((0.0, 0.0, 0.0), (17.25, 4.0, 6.5), (3.0, 11.5, 2.0)):
        np.testing.assert_allclose(geometry.to_voxel(*geometry.to_pixel(*voxel)), voxel, atol=1e-9)


def test_a_cropped_plane_is_counted_from_its_first_voxel() -> None:
    geometry = Geometry((5, 8), voxels_per_pixel=(2.0, 2.0), row0_at_bottom=True, origin=(4, 6))
    assert geometry.to_pixel(6.5, 4.5, 3) == (3, 0.0, 4.0)  # the first pixel of the bottom row
    np.testing.assert_allclose(geometry.to_voxel(3, 7, 0), (6 + 14.5, 4 + 8.5, 3))


@pytest.mark.parametrize("flip", ["yes", "no"])
@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_a_crop_counts_from_the_lower_left_of_the_picture(tmp_path: Path, flip: str, axis: str) -> None:
    volume = ramp(10, 14, 20)
    source = write_mrc(tmp_path / "in.mrc", volume)
    options = (*LOSSLESS, "--flip", flip, "--axis", axis, "--playback", "forward", "--range", f"0,{volume.max()}")
    whole = shown(tmp_path, source, *options)
    rows = whole[0].shape[0]
    for frame, cropped in zip(whole, shown(tmp_path, source, *options, "--crop", "3", "2", "6", "4"), strict=True):
        np.testing.assert_array_equal(cropped, frame[rows - 2 - 4 : rows - 2, 3 : 3 + 6])


def test_a_crop_that_is_not_all_there_is_warned_of_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp(*SHAPE))
    assert shown(tmp_path, source, "--crop", "16", "10", "40", "2")[0].shape == (2, 4)
    said = "--crop 16 10 40 2 ends outside of the sections of 20 x 14: 4 x 2 are shown"
    assert said in capsys.readouterr().err
    assert run(source, tmp_path, "--crop", "20", "0", "4", "4") == 1
    assert "--crop 20 0 4 4 lies outside of its sections of 20 x 14; crop where" in capsys.readouterr().err
    assert run(source, tmp_path, "--crop", "1", "1", "0", "4") == 2
    assert "--crop 1 1 0 4: must be four whole numbers" in capsys.readouterr().err


def test_pictures_beside_a_cropped_movie_are_cropped_too(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp(3, 100, 200))
    assert run(source, tmp_path, "--crop", "10", "20", "90", "60", "--thumbnail", "90") == 0
    picture = cv2.imread(str(tmp_path / "in.png"))
    assert picture is not None
    assert picture.shape[:2] == (60, 90)
