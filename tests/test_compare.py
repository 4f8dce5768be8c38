"""Two volumes side by side: each is what its own movie is, and sections are matched by depth."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from movies import coloured_frames, run, shown, write_mrc
from numpy.typing import NDArray

GAP = 2
SHAPE = (8, 20, 28)
rng = np.random.default_rng(6)
OURS, THEIRS = rng.normal(0, 1, SHAPE).astype(np.float32), rng.normal(300, 40, SHAPE).astype(np.float32)


def write_theirs(tmp_path: Path, voxels: NDArray[Any], **header: Any) -> Path:
    """The volume that is compared with; its directory."""
    (tmp_path / "denoised").mkdir(exist_ok=True)
    write_mrc(tmp_path / "denoised" / "in.mrc", voxels, **header)
    return tmp_path / "denoised"


def halves(frame: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The panels of a frame."""
    columns = (frame.shape[1] - GAP) // 2
    assert not frame[:, columns : columns + GAP].any()
    return frame[:, :columns], frame[:, columns + GAP :]


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--flip", "no"),
        ("--axis", "y"),
        ("--axis", "x", "--average", "3"),
        ("--bin", "2"),
        ("--crop", "3", "5", "20", "11"),
        ("--min-size", "56"),
        ("--max-size", "20", "--average", "4", "--playback", "backward"),
        ("--every", "3", "--match-mean", "--invert"),
        ("--discard-range", "2", "4", "--smooth", "1"),
    ],
    ids=str,
)
def test_each_half_is_the_movie_of_its_own_volume(tmp_path: Path, options: tuple[str, ...]) -> None:
    directory = write_theirs(tmp_path, THEIRS)
    theirs = shown(tmp_path / "denoised", directory / "in.mrc", *options)
    ours = shown(tmp_path, OURS, *options)
    both = shown(tmp_path, OURS, *options, "--compare", str(directory))
    assert len(both) == len(ours) == len(theirs)
    for frame, left, right in zip(both, ours, theirs, strict=True):
        np.testing.assert_array_equal(halves(frame)[0], left)
        np.testing.assert_array_equal(halves(frame)[1], right)


def depths(tmp_path: Path, theirs: int, sizes: tuple[float, float] = (0, 0), bin: int = 1) -> list[int]:
    """Which section of so many of another volume each of ours stands beside; -1 for none."""
    marked = np.zeros((theirs, 20 // bin, 28 // bin), np.float32)
    marked[:] = 10 * (1 + np.arange(theirs))[:, None, None]
    marked[:, 0, 0], marked[:, 0, 1] = 0, 255
    directory = write_theirs(tmp_path, marked, voxel_size_A=sizes[1])
    options = ("--range", "0,255", "--compare", str(directory))
    frames = shown(tmp_path, OURS + 100, *options, voxel_size_A=sizes[0])
    return [int(halves(frame)[1][5, 15]) // 10 - 1 for frame in frames]


def test_sections_of_binned_volumes_are_those_in_which_ours_lie(tmp_path: Path) -> None:
    assert depths(tmp_path, 4, bin=2) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert depths(tmp_path, 4, (10, 20), bin=2) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert depths(tmp_path, 4, (10, 10), bin=2) == [0, 0, 1, 1, 2, 2, 3, 3]  # a size that nobody brought up to date


def test_volumes_of_another_thickness_have_their_middle_in_common(tmp_path: Path) -> None:
    assert depths(tmp_path, 12, (10, 10)) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert depths(tmp_path, 4) == [-1, -1, 0, 1, 2, 3, -1, -1]


def test_what_lies_at_a_place_lies_there_in_the_scaled_one(tmp_path: Path) -> None:
    bright = np.zeros((8, 40, 56), np.float32)
    bright[4, 8:16, 20:30] = 1
    directory = write_theirs(tmp_path, bright.reshape(4, 2, 20, 2, 28, 2).mean(axis=(1, 3, 5)))
    frames = shown(tmp_path, bright, "--crop", "10", "4", "40", "20", "--range", "0,0.5", "--compare", str(directory))
    for number, frame in enumerate(frames):
        left, right = (np.argwhere(half > 127) for half in halves(frame))
        assert bool(len(right)) is (number in (4, 5))
        if number == 4:
            np.testing.assert_array_equal(left.min(axis=0), right.min(axis=0))
            np.testing.assert_array_equal(left.max(axis=0), right.max(axis=0))


def test_a_packed_volume_gives_its_sections_as_often_as_they_are_wanted(tmp_path: Path) -> None:
    ours = rng.normal(size=(6, 40, 56)).astype(np.float32)
    directory = write_theirs(tmp_path, ours.reshape(3, 2, 20, 2, 28, 2).mean(axis=(1, 3, 5)))
    expected = shown(tmp_path, ours, "--compare", str(directory))
    plain = directory / "in.mrc"
    (directory / "in.mrc.gz").write_bytes(gzip.compress(plain.read_bytes(), 1))
    plain.unlink()
    for frame, other in zip(shown(tmp_path, ours, "--compare", str(directory)), expected, strict=True):
        np.testing.assert_array_equal(frame, other)


def test_titles_tell_which_is_which_and_points_are_on_both(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("x,y,z\n6,4,3\n")
    directory = write_theirs(tmp_path, np.zeros(SHAPE, np.float32))
    source = write_mrc(tmp_path / "in.mrc", np.zeros(SHAPE, np.float32), voxel_size_A=10)
    marked = "--points", tmp_path / "points.csv", "--point-diameter", "40", "--min-size", "280"
    options = "--codec", "FFV1", "--format", "mkv", "--playback", "forward", "--only", "3:4"
    assert run(source, tmp_path / "out", *options, *marked, "--compare", directory) == 0
    (frame,) = coloured_frames(tmp_path / "out" / "in.mkv")
    coloured = np.ptp(frame.astype(int), axis=2) > 40
    np.testing.assert_array_equal(coloured[:, :280], coloured[:, 282:])
    assert coloured[:, :280].any()
    corners = frame[:30, 140:280], frame[:30, 282 + 140 :]
    assert all(corner.max() == 255 for corner in corners)
    assert (corners[0] != corners[1]).any()


@pytest.mark.parametrize(
    "options", [("--format", "mp4"), ("--max-mb", "0.05"), ("--format", "mp4", "--small")], ids=str
)
def test_the_quality_is_found_from_both(tmp_path: Path, options: tuple[str, ...]) -> None:
    directory = write_theirs(tmp_path, rng.normal(size=(8, 64, 96)).astype(np.float32))
    source = write_mrc(tmp_path / "in.mrc", rng.normal(size=(8, 64, 96)).astype(np.float32))
    assert run(source, tmp_path / "out", *options, "--compare", directory) == 0


def test_directories_below_are_compared_with_those_of_the_same_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("day1", 100), ("day2", 200)):
        (tmp_path / "in" / name).mkdir(parents=True)
        write_mrc(tmp_path / "in" / name / "a.mrc", OURS)
        (tmp_path / "denoised" / name).mkdir(parents=True)
        theirs = np.full(SHAPE, value, np.float32)
        theirs[:, 0, :2] = 0, 255
        write_mrc(tmp_path / "denoised" / name / "a.mrc", theirs)
    options = ("--recursive", "--range", "0,255", "--clip-limit", "0", "--codec", "FFV1", "--compare")
    assert run(tmp_path / "in", tmp_path / "out", *options, tmp_path / "denoised") == 0, capsys.readouterr().err
    for name, value in (("day1", 100), ("day2", 200)):
        first = coloured_frames(tmp_path / "out" / name / "a.avi")[0]
        assert halves(first)[1][10, 10].tolist() == [value] * 3


def test_what_cannot_be_compared_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_mrc(tmp_path / "in.mrc", OURS)
    directory = write_theirs(tmp_path, np.zeros((8, 20, 20), np.float32))
    assert run(source, tmp_path / "out", "--compare", directory) == 1
    assert "in.mrc: has sections of 20 x 20 and not of the form of 28 x 20" in capsys.readouterr().err
    (directory / "in.mrc").rename(directory / "other.mrc")
    assert run(source, tmp_path / "out", "--compare", directory) == 1
    assert f"nothing is of its name in {directory}" in capsys.readouterr().err
    assert run(source, tmp_path / "out", "--compare", tmp_path / "nowhere") == 2
    assert run(source, tmp_path / "out", "--compare", directory, "--view", "ortho") == 2
    assert "cannot be combined" in capsys.readouterr().err


def test_another_volume_that_changes_makes_the_movie_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_mrc(tmp_path / "in.mrc", OURS)
    for voxels, outcome in ((THEIRS, "1 converted"), (None, "1 up to date"), (OURS, "1 converted")):
        if voxels is not None:
            write_theirs(tmp_path, voxels.astype(np.float32 if voxels is OURS else np.int16))
        assert run(source, tmp_path / "out", "--compare", tmp_path / "denoised") == 0
        assert outcome in capsys.readouterr().err
