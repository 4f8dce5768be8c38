"""The picture: grey values, orientation, outliers, holes."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from movies import LOSSLESS, frames, ramp, reference, run, write_mrc
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from mrc2movie import Settings, convert
from mrc2movie.picture.greys import SAMPLE_VOXELS, Sampling

rng = np.random.default_rng(1)


def shown(tmp_path: Path, voxels: NDArray[Any], *options: str, **header: Any) -> list[NDArray[np.uint8]]:
    """The frames of the way forward, decoded from a lossless movie."""
    source = write_mrc(tmp_path / "in.mrc", voxels, **header)
    assert run(source, tmp_path / "out", *LOSSLESS, "--playback", "forward", "--overwrite", *options) == 0
    return frames(tmp_path / "out" / "in.avi")


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


def test_auto_is_minimum_and_maximum_where_nothing_stretches_them(tmp_path: Path) -> None:
    voxels = rng.normal(100, 20, (4, 64, 64)).astype(np.float32)
    assert_array_equal(shown(tmp_path, voxels), reference(voxels, voxels.min(), voxels.max()))


def test_auto_ignores_a_hot_pixel_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    voxels = rng.normal(100, 20, (4, 64, 64)).astype(np.float32)
    voxels[2, 5, 5] = 40000
    low, high = np.percentile(voxels, [0.1, 99.9])
    margin = 0.25 * (high - low)
    expected = reference(voxels, max(float(voxels.min()), low - margin), high + margin)
    # The percentiles of the code are nearest voxels, those of this test interpolated ones.
    assert np.abs(np.subtract(shown(tmp_path, voxels), expected, dtype=int)).max() <= 1
    assert "outliers stretch the values to" in capsys.readouterr().err


@pytest.mark.parametrize(("times", "acts"), [(2.9, False), (3.1, True)])
def test_auto_acts_when_the_extremes_are_three_times_as_far_apart_as_the_central_voxels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], times: float, acts: bool
) -> None:
    voxels = np.linspace(-1, 1, 10_000).astype(np.float32).reshape(1, 100, 100)
    voxels[0, 0, 0] = -1 + 2 * 0.998 * times
    found = shown(tmp_path, voxels)
    assert ("outliers stretch" in capsys.readouterr().err) is acts
    assert bool(found[0][0].max() > 200) is acts  # the largest of the others, in the top row


def test_auto_keeps_minimum_and_maximum_where_nearly_all_voxels_are_equal(tmp_path: Path) -> None:
    voxels = np.zeros((2, 64, 64), np.int16)
    voxels[1, 3, 4] = 200
    assert_array_equal(shown(tmp_path, voxels), reference(voxels, 0, 200))


def test_auto_goes_beyond_neither_minimum_nor_maximum(tmp_path: Path) -> None:
    """Outliers on one side only: the margin on the other would lie outside the values, and take greys from them."""
    voxels = rng.uniform(0, 1000, (4, 50, 50)).astype(np.float32)
    for sign in (1, -1):
        voxels[0, 0, 0], voxels[0, 0, 1], voxels[0, 0, 2] = 1e5, 0, 1000
        source = write_mrc(tmp_path / "in.mrc", sign * voxels)
        grey_range = convert(source, tmp_path / "in.avi").record.grey_range
        assert (sign * grey_range[0] if sign > 0 else grey_range[1]) == 0
        assert max(abs(end) for end in grey_range) == pytest.approx(1250, rel=0.01)


@pytest.mark.parametrize("rule", ["minmax", "percentile:3,98"])
@pytest.mark.parametrize("offset", [1e6, 1e7, -1e7])
def test_float32_far_from_zero_keeps_its_greys(tmp_path: Path, offset: float, rule: str) -> None:
    voxels = (np.arange(256).reshape(1, 16, 16) % 52 + offset).astype(np.float32)
    (frame,) = shown(tmp_path, voxels, "--range", rule)
    low, high = (0, 51) if rule == "minmax" else (1, 50)
    assert_array_equal(frame, reference(voxels.astype(np.float64) - offset, low, high)[0])
    assert len(np.unique(frame)) == high - low + 1


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
    found = shown(tmp_path, voxels, "--clip_limit", "3", "--tile_grid_size", "4")
    assert_array_equal(found, [clahe.apply(picture) for picture in pictures])


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
    (found,) = shown(tmp_path, stored)  # 9 columns, and one repeated to make them even
    amplitude = np.log1p(np.abs(np.fft.fftshift(stored, axes=1)))
    assert_array_equal([found[:, :9]], reference(amplitude, amplitude.min(), amplitude.max()))
    assert found[7, 0] == 255  # the origin, in row 8 of 16 from the bottom
    imod_order = np.fft.fftshift(stored, axes=1)
    assert_array_equal(shown(tmp_path, imod_order), [found])


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
