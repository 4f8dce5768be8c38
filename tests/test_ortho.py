"""Three directions at once: each panel shows the voxels that lie there, and the crosshairs where the others are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from movies import Reads, coloured_frames, run, shown, write_mrc
from numpy.typing import NDArray

GAP = 2
PLANES, ROWS, COLUMNS = 8, 20, 28
VOXELS = np.random.default_rng(5).integers(0, 256, (PLANES, ROWS, COLUMNS)).astype(np.float32)
GREYS = ("--view", "ortho", "--range", "0,255")


def away(panel: NDArray[Any], row: int, column: int) -> NDArray[Any]:
    """A panel without its crosshairs: (n,)."""
    kept = np.ones(panel.shape, bool)
    kept[max(0, row - 1) : row + 2] = kept[:, max(0, column - 1) : column + 2] = False
    return panel[kept].astype(float)


def middle(side: int, thick: int) -> slice:
    first = (side - thick) // 2
    return slice(first, first + thick)


def check(frame: NDArray[np.uint8], volume: NDArray[Any], section: NDArray[Any], place: float, **how: Any) -> None:
    """Compare the panels of a frame with a volume, (planes, rows, columns) of pixels, row 0 at the bottom."""
    thick = how.get("thick", 1)
    planes, rows, columns = volume.shape
    assert frame.shape == (rows + GAP + planes, columns + GAP + planes)
    row, column = rows - 1 - (rows - 1) // 2, (columns - 1) // 2
    depth = round(place)
    below = volume[:, middle(rows, thick)].mean(axis=1)
    right = volume[:, :, middle(columns, thick)].mean(axis=2).T
    for panel, expected, at in (
        (frame[:rows, :columns], section[::-1], (row, column)),
        (frame[rows + GAP :, :columns], below[::-1], (planes - 1 - depth, column)),
        (frame[:rows, columns + GAP :], right[::-1], (row, depth)),
    ):
        np.testing.assert_allclose(away(panel, *at), away(expected, *at), atol=1)
        assert (panel[at[0]] == 255).all()
        assert (panel[:, at[1]] == 255).all()


@pytest.mark.parametrize("average", [1, 3])
def test_each_panel_shows_its_slab_and_where_the_others_lie(tmp_path: Path, average: int) -> None:
    frames = shown(tmp_path, VOXELS, *GREYS, "--average", str(average))
    assert len(frames) == PLANES
    for number, frame in enumerate(frames):
        slab = VOXELS[max(0, number - average // 2) : number + average // 2 + 1]
        check(frame, VOXELS, slab.mean(axis=0), number, thick=average)


@pytest.mark.parametrize(
    ("options", "volume"),
    [
        (("--axis", "y"), VOXELS.transpose(1, 0, 2)),
        (("--axis", "x"), VOXELS.transpose(2, 0, 1)),
        (("--crop", "3", "5", "20", "12"), VOXELS[:, 5:17, 3:23]),
    ],
    ids=["--axis y", "--axis x", "--crop"],
)
def test_the_directions_are_those_of_what_is_shown(
    tmp_path: Path, options: tuple[str, ...], volume: NDArray[Any]
) -> None:
    frames = shown(tmp_path, VOXELS, *GREYS, *options)
    assert len(frames) == len(volume)
    for number, frame in enumerate(frames):
        check(frame, volume, volume[number], number)


@pytest.mark.parametrize("option", ["--bin=2", "--max-size=14"])
def test_a_pixel_is_as_many_planes_as_it_is_columns(tmp_path: Path, option: str) -> None:
    smaller = VOXELS.reshape(PLANES, ROWS // 2, 2, COLUMNS // 2, 2).mean(axis=(2, 4))
    for number, frame in enumerate(shown(tmp_path, VOXELS, *GREYS, option)):
        check(frame, smaller.reshape(PLANES // 2, 2, *smaller.shape[1:]).mean(axis=1), smaller[number], number // 2)


def test_the_first_row_is_at_the_top_of_every_panel_where_that_is_asked_for(tmp_path: Path) -> None:
    row, column = (ROWS - 1) // 2, (COLUMNS - 1) // 2
    for number, frame in enumerate(shown(tmp_path, VOXELS, *GREYS, "--flip", "no")):
        right = VOXELS[:, :, column].T
        np.testing.assert_array_equal(
            away(frame[:ROWS, :COLUMNS], row, column), away(VOXELS[number].astype(float), row, column)
        )
        np.testing.assert_array_equal(away(frame[:ROWS, COLUMNS + GAP :], row, number), away(right, row, number))
        below = VOXELS[::-1, row]
        at = PLANES - 1 - number, column
        np.testing.assert_array_equal(away(frame[ROWS + GAP :, :COLUMNS], *at), away(below, *at))


@pytest.mark.parametrize(
    ("options", "sizes", "depth", "lines"),
    [
        (("--every", "2", "--playback", "backward"), (10, 10, 10), 8, [6.5, 4.5, 2.5, 0.5]),
        (("--only", "2:6"), (10, 10, 20), 8, [0.5, 2.5, 4.5, 6.5]),
        (("--min-size", "56"), (10, 10, 10), 16, [0.5 + 2 * number for number in range(PLANES)]),
    ],
    ids=str,
)
def test_lengths_are_the_same_in_all_directions(
    tmp_path: Path, options: tuple[str, ...], sizes: tuple[float, float, float], depth: int, lines: list[float]
) -> None:
    larger = 2 if "--min-size" in options else 1
    frames = shown(tmp_path, VOXELS, *GREYS, *options, voxel_size_A=sizes)
    for frame, line in zip(frames, lines, strict=True):
        below = frame[larger * ROWS + GAP :, : larger * COLUMNS]
        assert below.shape[0] == depth
        (at,) = np.flatnonzero((below == 255).all(axis=1))
        assert abs(depth - 1 - line - at) <= 0.5


@pytest.mark.parametrize("invert", [False, True])
def test_sections_that_are_left_out_are_black_from_the_side(tmp_path: Path, invert: bool) -> None:
    seen = 255 - VOXELS if invert else VOXELS
    side = seen.copy()
    side[2:4] = 0
    frames = shown(tmp_path, VOXELS, *GREYS, "--discard-range", "2", "4", *(["--invert"] if invert else []))
    for frame, number in zip(frames, (0, 1, 4, 5, 6, 7), strict=True):
        check(frame, side, seen[number], number)


def test_matched_means_are_matched_from_the_side_too(tmp_path: Path) -> None:
    darker = VOXELS / 4 + 100
    darker += (120 - darker.mean(axis=(1, 2)))[:, None, None]
    uneven = darker + 5 * np.arange(PLANES, dtype=np.float32)[:, None, None]
    expected = darker + 17.5
    for number, frame in enumerate(shown(tmp_path, uneven.astype(np.float32), *GREYS, "--match-mean")):
        check(frame, expected, expected[number], number)


def test_a_scale_bar_and_the_thickness_are_there_where_lengths_are_known(tmp_path: Path) -> None:
    large = ("--min-size", "560", "--average", "3")
    known = shown(tmp_path, VOXELS, *GREYS, *large, voxel_size_A=10)[0]
    silent = shown(tmp_path, VOXELS, *GREYS, *large, "--no-scale-bar", voxel_size_A=10)[0]
    unknown = shown(tmp_path, VOXELS, *GREYS, *large)[0]
    corner = slice(400, None), slice(560, None)
    assert known[corner].max() == 255
    assert silent[corner].max() == unknown[corner].max() == 0
    assert (silent[:40, :200] != unknown[:40, :200]).any()  # slab 3.0 nm


def test_points_are_drawn_on_the_section(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("x,y,z\n6,4,3\n")
    source = write_mrc(tmp_path / "in.mrc", VOXELS, voxel_size_A=10)
    options = ("--points", tmp_path / "points.csv", "--point-diameter", "40", "--playback", "forward")
    assert run(source, tmp_path / "out", *GREYS, "--codec", "FFV1", "--format", "mkv", *options) == 0
    frames = coloured_frames(tmp_path / "out" / "in.mkv")
    for number, frame in enumerate(frames):
        rows, columns = np.nonzero(np.ptp(frame.astype(int), axis=2) > 60)
        assert bool(len(rows)) is (abs(number - 3) < 2)
        if len(rows):
            assert (rows.min() + rows.max()) / 2 == ROWS - 1 - 4
            assert (columns.min() + columns.max()) / 2 == 6


@pytest.mark.parametrize("average", [1, 3])
def test_the_file_is_read_no_more_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, average: int) -> None:
    source = write_mrc(tmp_path / "in.mrc", VOXELS)
    times = []
    for view in ("section", "ortho"):
        reads = Reads(monkeypatch)
        assert run(source, tmp_path / view, "--view", view, "--average", average) == 0
        times.append(reads.of_sections(PLANES, ROWS * COLUMNS * 4))
        monkeypatch.undo()
    assert times[0] == times[1]


def test_images_that_are_no_volume_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_mrc(tmp_path / "TS.st", VOXELS)
    (tmp_path / "TS.rawtlt").write_text("".join(f"{angle}\n" for angle in range(-12, 12, 3)))
    assert run(source, tmp_path / "out", "--view", "ortho") == 1
    assert "TS.st: has no sides to show (tilt series); convert it without --view ortho" in capsys.readouterr().err
