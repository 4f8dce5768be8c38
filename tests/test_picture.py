"""The picture: grey values, orientation, outliers, holes."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from movies import frames, ramp, reference, run, shown, write_mrc
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from mrc2movie import Settings, convert
from mrc2movie.picture.greys import (
    SAMPLE_VOXELS,
    Sampling,
    collect,
    collect_with_matched_means,
    section_statistics,
)
from mrc2movie.workers import Workers

rng = np.random.default_rng(1)


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f4", "f2"])
def test_minimum_and_maximum_of_all_sections_become_black_and_white(
    tmp_path: Path, dtype: str, byte_order: str
) -> None:
    voxels = (ramp(3, 6, 10).astype(np.float32) / 2 - 40).astype(byte_order + dtype)
    expected = reference(voxels, float(voxels.min()), float(voxels.max()))
    assert_array_equal(shown(tmp_path, voxels), expected)


def test_row_0_is_the_bottom_of_the_picture_unless_told_otherwise(tmp_path: Path) -> None:
    voxels = ramp()
    upright = shown(tmp_path, voxels)
    assert upright[0][-1, 0] == 0
    assert_array_equal(shown(tmp_path, voxels, "--flip", "yes"), upright)
    assert_array_equal(shown(tmp_path, voxels, "--flip", "no"), [np.flipud(frame) for frame in upright])


@pytest.mark.parametrize(("version", "row0_at_top"), [(20140, True), (20141, False)])
def test_thermo_fisher_files_of_version_20140_have_row_0_at_the_top(
    tmp_path: Path, version: int, row0_at_top: bool
) -> None:
    first = shown(tmp_path, ramp(), exttyp=b"FEI1", nversion=version)[0]
    assert bool(first[0, 0] == 0) is row0_at_top


def test_stale_header_statistics_are_not_believed(tmp_path: Path) -> None:
    voxels = ramp()
    assert_array_equal(shown(tmp_path, voxels, dmin=-5.0, dmax=1e38, dmean=0.0), shown(tmp_path, voxels))


def test_nan_and_infinity_are_black_and_spoil_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voxels = ramp(dtype="float32")
    clean = shown(tmp_path, voxels)
    holes = voxels.copy()
    holes[1, 2, 3:6] = np.nan, np.inf, -np.inf
    expected = [frame.copy() for frame in clean]
    expected[1][-3, 3:6] = 0
    with_holes = shown(tmp_path, holes)
    assert_array_equal(with_holes, expected)
    assert "3 voxels are NaN or infinite and shown black" in capsys.readouterr().err
    assert_array_equal(shown(tmp_path, holes, "--clip-limit", "4")[1][-3, 3:6], 0)


def test_a_section_of_nothing_but_nan_is_black(tmp_path: Path) -> None:
    voxels = ramp(dtype="float32")
    voxels[2] = np.nan
    assert_array_equal(shown(tmp_path, voxels)[2], 0)


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_data_without_contrast_are_mid_grey_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    (frame,) = shown(tmp_path, np.full((1, 4, 4), value, np.float32), "--clip-limit", "2")
    assert_array_equal(frame, 0 if np.isnan(value) else 128)
    assert "there is no contrast to show" in capsys.readouterr().err


@pytest.mark.parametrize("clip_limit", ["0", "2"])
def test_constant_sections_have_the_grey_that_a_range_gives_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], clip_limit: str
) -> None:
    frames = shown(tmp_path, np.full((3, 20, 28), 51, np.float32), "--range=0,255", "--clip-limit", clip_limit)
    assert {value for frame in frames for value in np.unique(frame)} == {51}
    assert "there is no contrast to show" in capsys.readouterr().err


def test_auto_leaves_out_one_voxel_in_a_thousand_at_each_end_of_noise_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voxels = rng.normal(100, 20, (4, 64, 64)).astype(np.float32)
    found = shown(tmp_path, voxels)
    # The percentiles of the code are nearest voxels, those of this test interpolated ones.
    expected = reference(voxels, *np.percentile(voxels, [0.1, 99.9]))
    assert np.abs(np.subtract(found, expected, dtype=int)).max() <= 1
    assert np.std(found) >= 30
    assert "99.8 % of the voxels (--range minmax shows all)" in capsys.readouterr().err


def test_hot_pixels_do_not_change_what_auto_shows(tmp_path: Path) -> None:
    voxels = rng.normal(100, 20, (4, 64, 64)).astype(np.float32)
    expected = shown(tmp_path, voxels)
    voxels[2, 5, 5] = 40000
    found = shown(tmp_path, voxels)
    assert found[2][58, 5] == 255
    found[2][58, 5] = expected[2][58, 5]
    assert np.abs(np.subtract(found, expected, dtype=int)).max() <= 2


def test_auto_keeps_minimum_and_maximum_where_nearly_all_voxels_are_equal(tmp_path: Path) -> None:
    voxels = np.zeros((2, 64, 64), np.int16)
    voxels[1, 3, 4] = 200
    assert_array_equal(shown(tmp_path, voxels), reference(voxels, 0, 200))


@pytest.mark.parametrize("rule", ["minmax", "percentile:3,98"])
@pytest.mark.parametrize("offset", [1e6, 1e7, -1e7])
def test_float32_far_from_zero_keeps_its_greys(tmp_path: Path, offset: float, rule: str) -> None:
    voxels = (np.arange(256).reshape(1, 16, 16) % 52 + offset).astype(np.float32)
    (frame,) = shown(tmp_path, voxels, "--range", rule)
    low, high = (0, 51) if rule == "minmax" else (1, 50)
    assert_array_equal(frame, reference(voxels.astype(np.float64) - offset, low, high)[0])
    assert len(np.unique(frame)) == high - low + 1


@pytest.mark.parametrize("dtype", ["i2", "u2", "f4"])
@pytest.mark.parametrize(
    "limits",
    [
        (-20000.5, 30000.5),
        (-100, 700),
        (-100.7, 411.2),
        (10.6, 80),
        (3.5, 3),
        (-90000, -50000),
        (50000, 90000),
        (-1e6, 1e6),
    ],
    ids=str,
)
def test_all_numbers_of_16_bits_are_right_in_any_range(tmp_path: Path, dtype: str, limits: tuple[float, float]) -> None:
    low, high = sorted(limits)
    least = 0 if dtype == "u2" else -32768
    voxels = np.arange(least, least + 65536).astype(dtype).reshape(1, 256, 256)
    (frame,) = shown(tmp_path, voxels, f"--range={low},{high}")
    exact = np.flipud(((voxels[0].astype(np.float64) - low) / (high - low)).clip(0, 1) * 255)
    assert np.abs(frame - exact).max() < 0.501


def test_each_range_rule_gives_its_own_limits(tmp_path: Path) -> None:
    voxels = rng.gamma(2, 50, (3, 50, 42)).astype(np.float32)
    mean, deviation, median = voxels.mean(), voxels.std(), np.median(voxels)
    robust = 1.4826 * np.median(np.abs(voxels - median))
    limits = {
        "minmax": (voxels.min(), voxels.max()),
        "percentile:5,90": tuple(np.percentile(voxels, [5, 90])),
        "sigma:1.5": (mean - 1.5 * deviation, mean + 1.5 * deviation),
        "mad:2": (median - 2 * robust, median + 2 * robust),
        "-20,150.5": (-20, 150.5),
    }
    for rule, (low, high) in limits.items():
        found = shown(tmp_path, voxels, f"--range={rule}")
        difference = np.abs(np.subtract(found, reference(voxels, low, high), dtype=int))
        assert difference.max() <= (0 if rule in ("minmax", "-20,150.5") else 1), rule


def test_a_rule_without_width_falls_back_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voxels = np.zeros((1, 64, 64), np.int16)
    voxels[0, 0, 0] = 9
    assert_array_equal(shown(tmp_path, voxels, "--range", "percentile:1,50"), reference(voxels, 0, 9))
    assert "finds no width" in capsys.readouterr().err


def test_local_contrast_is_opencvs_clahe_of_the_upright_picture(tmp_path: Path) -> None:
    voxels = rng.normal(0, 1, (2, 50, 70)).astype(np.float32)
    pictures = reference(voxels, voxels.min(), voxels.max())
    clahe = cv2.createCLAHE(3.0, (4, 4))
    found = shown(tmp_path, voxels, "--range=minmax", "--clip_limit", "3", "--tile_grid_size", "4")
    assert_array_equal(found, [clahe.apply(picture) for picture in pictures])


@pytest.mark.parametrize(("side", "tiles"), [(24, None), (127, None), (128, 2), (200, 3), (512, 8), (700, 8)])
def test_tiles_of_local_contrast_are_never_smaller_than_64_pixels(tmp_path: Path, side: int, tiles: int | None) -> None:
    """A small frame without tiles stays as it is: of a ramp of 24 x 24 CLAHE would make noise."""
    ramps = np.linspace(0, 255, side * side).reshape(1, side, side).astype(np.float32)
    noisy = (ramps + rng.normal(0, 9, ramps.shape)).astype(np.float32) if tiles else ramps
    (picture,) = reference(noisy, 0, 255)
    (found,) = frames_of_default(tmp_path, noisy)
    expected = picture if tiles is None else cv2.createCLAHE(2.0, (tiles, tiles)).apply(picture)
    assert np.mean(found[:side, :side] != expected) < 0.02  # the saturated corners are constant, and stay so


@pytest.mark.parametrize("ground", [0, 100])
def test_a_constant_area_keeps_its_grey_within_2(tmp_path: Path, ground: int) -> None:
    voxels = np.full((1, 256, 256), ground, np.float32)
    voxels[0, 100:140, 100:140] = rng.uniform(150, 255, (40, 40))
    (found,) = frames_of_default(tmp_path, voxels)
    assert np.abs(found[200:, :].astype(int) - ground).max() <= 2
    assert np.abs(found[:, 200:].astype(int) - ground).max() <= 2


def frames_of_default(tmp_path: Path, voxels: NDArray[Any]) -> list[NDArray[np.uint8]]:
    """The frames with all that is default but the grey range, lossless."""
    source = write_mrc(tmp_path / "in.mrc", voxels)
    words = ("--codec=FFV1", "--playback=forward", "--range=0,255", "--overwrite")
    assert run(source, tmp_path / "default", *words) == 0
    return frames(tmp_path / "default" / "in.avi")


def test_min_size_enlarges_by_a_whole_factor_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voxels = ramp(2, 24, 20)
    plain = shown(tmp_path, voxels)
    large = shown(tmp_path, voxels, "--min-size", "100")
    assert_array_equal(large, [frame.repeat(5, axis=0).repeat(5, axis=1) for frame in plain])
    assert "enlarged 5 times from 20 x 24 to 100 x 120 (--min-size 100)" in capsys.readouterr().err
    assert shown(tmp_path, voxels, "--min-size", "24")[0].shape == (24, 20)
    assert shown(tmp_path, voxels, "--min-size", "100", "--max-size", "110")[0].shape == (96, 80)


def test_half_precision_sums_do_not_overflow(tmp_path: Path) -> None:
    voxels = rng.normal(30000, 3000, (2, 64, 64)).astype(np.float16)
    wide = voxels.astype(np.float64)
    expected = reference(voxels, wide.mean() - 2 * wide.std(), wide.mean() + 2 * wide.std())
    assert np.abs(np.subtract(shown(tmp_path, voxels, "--range", "sigma:2"), expected, dtype=int)).max() <= 1


def test_the_ends_of_float32_are_shown(tmp_path: Path) -> None:
    for scale in (1e-40, 3e38):
        voxels = np.linspace(-scale, scale, 24).astype(np.float32).reshape(1, 4, 6)
        (found,) = shown(tmp_path, voxels)
        expected = np.flipud(np.linspace(0, 255, 24).reshape(4, 6))
        assert np.abs(found - expected).max() <= 1


def test_a_transform_is_shown_as_centred_log_amplitude(tmp_path: Path) -> None:
    image = rng.normal(10, 1, (1, 16, 16)) + 5 * np.sin(2 * np.pi * np.arange(16) / 4)[:, None]
    stored = np.fft.rfft2(image).astype(np.complex64)
    (found,) = shown(tmp_path, stored, "--range=minmax")  # 9 columns, and one repeated to make them even
    amplitude = np.log1p(np.abs(np.fft.fftshift(stored, axes=1)))
    assert_array_equal([found[:, :9]], reference(amplitude, amplitude.min(), amplitude.max()))
    assert found[7, 0] == 255  # the origin, in row 8 of 16 from the bottom
    imod_order = np.fft.fftshift(stored, axes=1)
    assert_array_equal(shown(tmp_path, imod_order, "--range=minmax"), [found])


def test_quality_90_is_35_db_or_better_on_noise(tmp_path: Path) -> None:
    voxels = rng.normal(0, 1, (2, 256, 256)).astype(np.float32)
    source = write_mrc(tmp_path / "in.mrc", voxels)
    convert(source, tmp_path / "in.avi", Settings(clip_limit=0, playback="forward", range="sigma:6"))
    pictures = reference(voxels, voxels.mean() - 6 * voxels.std(), voxels.mean() + 6 * voxels.std())
    for frame, picture in zip(frames(tmp_path / "in.avi"), pictures, strict=True):
        assert cv2.PSNR(frame, picture) >= 35


def test_the_sample_is_regular_over_all_sections_and_large_enough() -> None:
    for sections, shape in ((300, (1024, 1024)), (1000, (1000, 64)), (2_000_000, (3, 3)), (10, (5, 5))):
        sampling = Sampling.of(sections, shape)
        voxels = shape[0] * shape[1]
        near = range(0, min(sections, 500))
        taken = [n * voxels + i for n in near for i in range(*sampling.slice(n).indices(voxels))]
        assert taken == list(range(0, near.stop * voxels, sampling.step))
        assert sections * voxels // sampling.step >= min(SAMPLE_VOXELS, sections * voxels)
        assert np.gcd(sampling.step, shape[1]) == 1


@pytest.mark.parametrize("columns", [960, 5760, 4096, 1, 27720])
def test_the_sample_is_less_than_twice_as_large_as_it_must_be(columns: int) -> None:
    """No step below 7 is coprime to 960."""
    for sections in range(1, 60):
        step = Sampling.of(sections, (928, columns)).step
        voxels = sections * 928 * columns
        assert voxels // step >= min(SAMPLE_VOXELS, voxels)
        assert step == 1 or voxels / step < 2 * SAMPLE_VOXELS * (1 + 1 / step)


def _noise(kind: str) -> NDArray[np.generic]:
    """(z, y, x), more voxels than are sorted."""
    normal = np.random.default_rng(5).standard_normal((9, 256, 256), np.float32)
    match kind:
        case "of 16 bits":
            return (300 * normal).astype(np.int16)
        case "of 16 bits, unsigned":
            return (300 * normal + 5000).astype(np.uint16)
        case "of 8 bits":
            return (20 * normal).clip(-128, 127).astype(np.int8)
        case "of 32 bits":
            return (3e8 * normal).clip(-2e9, 2e9).astype(np.int32)
        case "far from zero":
            return normal + np.float32(30000)
        case "near the smallest numbers":
            return normal * np.float32(1e-40)
        case "near the largest numbers":
            return normal * np.float32(3e37)
        case "with hot pixels":
            normal[:, 7, ::40] = 1e9
            return normal
        case "mostly zero":
            return np.where(normal > 2, normal, 0)
        case "nearly all zero":
            return np.where(normal > 2.9, normal, 0)
    return normal


_KINDS = (
    *("normal", "of 16 bits", "of 16 bits, unsigned", "of 8 bits", "of 32 bits", "far from zero", "with hot pixels"),
    *("near the smallest numbers", "near the largest numbers", "mostly zero", "nearly all zero"),
)


@pytest.mark.parametrize("kind", _KINDS)
def test_counting_a_large_sample_finds_what_sorting_it_finds(kind: str) -> None:
    voxels = _noise(kind)
    found = collect(section_statistics(section, slice(None)) for section in voxels).sample
    ascending = np.sort(voxels, axis=None)
    assert found.dtype == voxels.dtype and len(found) < len(ascending)
    assert (np.diff(found.astype(float)) >= 0).all()
    low, high = (float(ascending[round(share * (len(ascending) - 1))]) for share in (0.001, 0.999))
    for share in (0, 0.001, 0.003, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.997, 0.999, 1):
        ours, exact = (float(all_[round(share * (len(all_) - 1))]) for all_ in (found, ascending))
        assert abs(ours - exact) <= 0.001 * (high - low), share


def test_matched_means_of_a_large_sample_are_counted_too() -> None:
    voxels = np.asarray(_noise("normal"), np.float32)
    steps = np.arange(len(voxels), dtype=np.float32)[:, None, None]
    parts = [section_statistics(section, slice(None), with_mean=True) for section in np.add(voxels, 10 * steps)]
    found, shifts = collect_with_matched_means(parts)
    matched = np.sort(voxels - voxels.mean(axis=(1, 2), keepdims=True), axis=None)
    matched += np.float32(voxels.mean() + 10 * steps.mean())
    for share in (0.001, 0.01, 0.5, 0.99, 0.999):
        ours, exact = (float(all_[round(share * (len(all_) - 1))]) for all_ in (found.sample, matched))
        assert ours == pytest.approx(exact, abs=0.006)
    assert np.diff(shifts) == pytest.approx([-10] * 8, abs=0.05)


def test_threads_count_what_one_counts() -> None:
    parts = [section_statistics(section, slice(None)) for section in _noise("normal")]
    with Workers(3) as workers, workers.share() as share:
        counted = collect(parts, lambda function, items: share.map(lambda: function, items))
    np.testing.assert_array_equal(counted.sample, collect(parts).sample)
