"""Which sections: one in N, planes along another axis, running means. References are plain NumPy."""

import bz2
import errno
import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import faulty, installed
from movies import Reads, description_of, ramp, reference, shown, write_mrc
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from mrc2movie import Settings, convert
from mrc2movie.conversion.preparation import selection_of
from mrc2movie.readers import resliced

rng = np.random.default_rng(2)


def pictures(planes: NDArray[Any]) -> list[NDArray[np.uint8]]:
    """Planes as the movie shows them, their minimum black and their maximum white."""
    return reference(planes, float(planes.min()), float(planes.max()))


def means(voxels: NDArray[Any], count: int) -> NDArray[np.float64]:
    """Running means along z: `(count - 1) // 2` before, `count // 2` after, fewer at the ends."""
    before, after = (count - 1) // 2, count // 2
    return np.stack([voxels[max(0, z - before) : z + after + 1].mean(axis=0, dtype=float) for z in range(len(voxels))])


# One in N


def test_every_third_section_is_shown_from_the_first_that_is_kept(tmp_path: Path) -> None:
    voxels = ramp(10)
    source = write_mrc(tmp_path / "in.mrc", voxels)
    assert_array_equal(shown(tmp_path, source, "--every", "3"), pictures(voxels[[0, 3, 6, 9]]))
    kept = voxels[[1, 4, 7]]
    assert_array_equal(shown(tmp_path, source, "--every", "3", "--discard_percentage", "0.1", "0.1"), pictures(kept))
    backward = shown(tmp_path, source, "--every", "3", "--playback", "backward")
    assert_array_equal(backward, pictures(voxels[[9, 6, 3, 0]]))


def test_every_counts_in_tilt_order(tmp_path: Path) -> None:
    voxels = ramp(5)
    source = write_mrc(tmp_path / "in.mrc", voxels)
    (tmp_path / "in.rawtlt").write_text("0\n3\n-3\n-6\n6\n")
    assert_array_equal(shown(tmp_path, source, "--every", "2"), pictures(voxels[[3, 0, 4]]))


def test_a_step_longer_than_the_volume_shows_its_first_section(tmp_path: Path) -> None:
    voxels = ramp()
    source = write_mrc(tmp_path / "in.mrc", voxels)
    assert_array_equal(shown(tmp_path, source, "--every", "99"), pictures(voxels[:1]))


# Axes


def planes(voxels: NDArray[Any], axis: str) -> NDArray[Any]:
    """(plane, z, x) along y, (plane, z, y) along x: `pictures` puts z = 0 at the bottom."""
    return voxels.transpose({"z": (0, 1, 2), "y": (1, 0, 2), "x": (2, 0, 1)}[axis])


@pytest.mark.parametrize("axis", ["y", "x"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f4", "f2", ">i2"])
def test_planes_along_x_and_y_have_z_going_up(tmp_path: Path, axis: str, dtype: str) -> None:
    voxels = ramp(4, 6, 10).astype(dtype)
    source = write_mrc(tmp_path / "in.mrc", voxels)
    assert_array_equal(shown(tmp_path, source, "--axis", axis), pictures(planes(voxels, axis)))


def test_flip_puts_z_0_at_the_top_of_such_a_plane(tmp_path: Path) -> None:
    voxels = ramp()
    source = write_mrc(tmp_path / "in.mrc", voxels)
    expected = [np.flipud(picture) for picture in pictures(planes(voxels, "y"))]
    assert_array_equal(shown(tmp_path, source, "--axis", "y", "--flip", "no"), expected)


@pytest.mark.parametrize("axis", ["y", "x"])
def test_discards_steps_and_direction_count_planes(tmp_path: Path, axis: str) -> None:
    voxels = planes(ramp(4, 12, 12), "z")
    source = write_mrc(tmp_path / "in.mrc", voxels)
    options = ("--axis", axis, "--discard_range", "2", "4", "--every", "3", "--playback", "backward")
    assert_array_equal(
        shown(tmp_path, source, *options, "--range", "0,575"), reference(planes(voxels, axis)[[11, 8, 5, 0]], 0, 575)
    )


@pytest.mark.parametrize("piece_bytes", [1, 60, 1 << 20])
@pytest.mark.parametrize("axis", ["y", "x"])
def test_planes_do_not_depend_on_how_many_sections_are_turned_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axis: str, piece_bytes: int
) -> None:
    monkeypatch.setattr(resliced, "_PIECE_BYTES", piece_bytes)
    voxels = rng.integers(-99, 99, (8, 6, 10)).astype(np.int16)
    source = write_mrc(tmp_path / "in.mrc", voxels)
    assert_array_equal(shown(tmp_path, source, "--axis", axis), pictures(planes(voxels, axis)))


@pytest.mark.parametrize("axis", ["y", "x"])
def test_colour_and_compressed_volumes_are_turned_too(tmp_path: Path, axis: str) -> None:
    voxels = rng.integers(0, 255, (6, 6, 10)).astype(np.int16)
    packed = tmp_path / "packed.mrc.gz"
    packed.write_bytes(gzip.compress(write_mrc(tmp_path / "in.mrc", voxels).read_bytes()))
    assert_array_equal(shown(tmp_path, packed, "--axis", axis), pictures(planes(voxels, axis)))
    raw = bytearray(write_mrc(tmp_path / "in.mrc", np.zeros((6, 6, 10), np.int8)).read_bytes()[:1024])
    raw[12:16] = (16).to_bytes(4, "little")
    grey = np.repeat(voxels.astype(np.uint8)[..., None], 3, axis=3)
    (tmp_path / "colour.mrc").write_bytes(bytes(raw) + grey.tobytes())
    (tmp_path / "out" / "packed.avi").unlink()
    found = shown(tmp_path, tmp_path / "colour.mrc", "--axis", axis, "--range", "0,255", "--codec", "FFV1")
    assert_array_equal(found, reference(planes(voxels, axis), 0, 255))


def test_a_stream_that_ends_early_is_turned_as_far_as_it_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voxels = rng.integers(0, 255, (9, 64, 48)).astype(np.int16)
    whole = write_mrc(tmp_path / "in.mrc", voxels).read_bytes()
    (tmp_path / "cut.mrc.bz2").write_bytes(bz2.compress(whole[: 1024 + 6 * voxels[0].nbytes + 7]))
    assert_array_equal(shown(tmp_path, tmp_path / "cut.mrc.bz2", "--axis", "y"), pictures(planes(voxels[:6], "y")))
    assert "6 of 9 sections are there" in capsys.readouterr().err


@pytest.mark.parametrize("axis", ["y", "x"])
def test_each_byte_of_the_file_is_read_once_for_another_axis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axis: str
) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp(5, 6, 10))
    reads = Reads(monkeypatch)
    shown(tmp_path, source, "--axis", axis, "--average", "3")
    assert reads.of_sections(5, 120) == [1] * 5


def test_no_room_for_the_planes_fails_with_advice(tmp_path: Path) -> None:
    source, out = write_mrc(tmp_path / "in.mrc", ramp()), tmp_path / "out"
    full = faulty("write", " (deleted)", error=errno.ENOSPC)  # as files without a name are called
    result = installed(source, out, "--axis", "x", env=full)
    assert result.returncode == 1
    assert "cannot be kept (No space left on device); make room, or show fewer planes (--every" in result.stderr
    assert sorted(path.name for path in out.iterdir()) == [".mrc2movie", "mrc2movie.log"]


def test_planes_are_kept_where_there_is_no_positioned_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    voxels = ramp()
    source = write_mrc(tmp_path / "in.mrc", voxels)
    for name in ("pwrite", "preadv"):
        monkeypatch.delattr(os, name)
    assert_array_equal(shown(tmp_path, source, "--axis", "x"), pictures(planes(voxels, "x")))


def test_tilts_belong_to_sections_along_z_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voxels = ramp(4, 4, 4)
    source = write_mrc(tmp_path / "in.mrc", voxels)
    (tmp_path / "in.rawtlt").write_text("6\n3\n-3\n0\n")
    assert_array_equal(shown(tmp_path, source, "--axis", "y"), pictures(planes(voxels, "y")))
    assert shown(tmp_path, source, "--axis", "y", "--order", "tilt", "--label", "tilt")
    said = capsys.readouterr().err
    assert "--order tilt: no tilt angle is known" in said
    assert "--label tilt: no tilt angle is known" in said


def test_turning_is_told_to_the_listener(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp(3, 6, 10))
    heard: list[tuple[str, int, int]] = []
    convert(source, tmp_path / "x.avi", Settings(axis="y"), progress=lambda *what: heard.append(what))
    assert [what for what in heard if what[0] == "turning"] == [("turning", done, 3) for done in (1, 2, 3)]
    assert heard[-1] == ("converting", 6, 6)


# Running means


@pytest.mark.parametrize("count", [2, 3, 4, 5, 99])
@pytest.mark.parametrize("dtype", ["i1", "i2", "f4"])
def test_running_means_shrink_at_the_ends(tmp_path: Path, count: int, dtype: str) -> None:
    voxels = rng.integers(-100, 100, (8, 6, 10)).astype(dtype)
    source = write_mrc(tmp_path / "in.mrc", voxels)
    expected = pictures(means(voxels, count))
    found = shown(tmp_path, source, "--average", str(count))
    assert np.abs(np.subtract(found, expected, dtype=int)).max() <= 1
    assert np.mean(np.not_equal(found, expected)) < 0.05  # halves may round either way


def test_the_grey_range_of_means_is_that_of_the_means(tmp_path: Path) -> None:
    voxels = rng.normal(0, 100, (9, 16, 16)).astype(np.float32)
    source = write_mrc(tmp_path / "in.mrc", voxels)
    made = convert(source, tmp_path / "x.avi", Settings(average=5, range="minmax"))
    expected = means(voxels, 5)
    assert made.record.grey_range == pytest.approx((expected.min(), expected.max()), rel=1e-5)


def test_means_backward_are_those_forward_in_reverse(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", rng.integers(-99, 99, (8, 6, 10)).astype(np.int16))
    options = ("--average", "4", "--every", "3")
    forward = shown(tmp_path, source, *options)
    assert_array_equal(shown(tmp_path, source, *options, "--playback", "backward"), forward[::-1])


def test_means_are_of_neighbours_that_are_kept_in_the_order_shown_whatever_the_step(tmp_path: Path) -> None:
    voxels = rng.integers(-99, 99, (9, 6, 10)).astype(np.int16)
    source = write_mrc(tmp_path / "in.mrc", voxels)
    (tmp_path / "in.rawtlt").write_text("0\n3\n-3\n-6\n6\n9\n-9\n-12\n12\n")
    by_tilt = voxels[[7, 6, 3, 2, 0, 1, 4, 5, 8]]
    expected = pictures(means(by_tilt[1:], 3)[::3])
    options = ("--average", "3", "--every", "3", "--discard_range", "0", "1")
    assert np.abs(np.subtract(shown(tmp_path, source, *options), expected, dtype=int)).max() <= 1


def test_sections_of_means_are_read_once_a_pass_and_only_where_a_mean_needs_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp(12, 6, 10))
    reads = Reads(monkeypatch)
    shown(tmp_path, source, "--average", "3", "--every", "5")
    #                                     0  1  .  .  4  5  6  .  .  9 10 11
    assert reads.of_sections(12, 120) == [2, 2, 0, 0, 2, 2, 2, 0, 0, 2, 2, 2]


def test_a_hole_and_rounding_stay_within_the_means_that_hold_them(tmp_path: Path) -> None:
    voxels = rng.normal(0, 1, (12, 6, 10)).astype(np.float32)
    voxels[2, 1, 4] = np.nan
    voxels[3] += 1e9  # leaves nothing behind in a sum that is added up anew
    source = write_mrc(tmp_path / "in.mrc", voxels)
    found = shown(tmp_path, source, "--average", "3", "--range=-2,2")
    expected = reference(means(voxels[5:], 3)[1:], -2, 2)
    assert np.abs(np.subtract(found[6:], expected, dtype=int)).max() <= 1
    assert [frame[-2, 4] == 0 for frame in found[:4]] == [voxels[0:2, 1, 4].mean() < -2, True, True, True]


def test_means_of_planes_are_of_neighbouring_planes(tmp_path: Path) -> None:
    voxels = rng.integers(-99, 99, (4, 6, 10)).astype(np.int16)
    source = write_mrc(tmp_path / "in.mrc", voxels)
    expected = pictures(means(planes(voxels, "x"), 3))
    found = shown(tmp_path, source, "--axis", "x", "--average", "3")
    assert np.abs(np.subtract(found, expected, dtype=int)).max() <= 1


def test_sections_to_read_are_each_named_once() -> None:
    for settings in (Settings(average=4, every=3), Settings(average=7, playback="backward"), Settings(every=2)):
        read = list(selection_of(description_of(20, 4, 4), settings).read())
        assert len(read) == len(set(read))
