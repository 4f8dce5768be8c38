"""Deconvolution, the automatic grey range, and where local contrast applies."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from mrc2movie.picture.auto_range import auto_range
from mrc2movie.picture.deconvolution import Deconvolution
from mrc2movie.picture.local_contrast import LocalContrast, tiles

rng = np.random.default_rng(11)


def mirrored(section: NDArray[Any], deconvolution: Deconvolution) -> NDArray[np.float64]:
    """The reference: the filter of the section and its mirror images, with complex numbers in double precision."""
    whole = np.pad(section.astype(float), [(side, side) for side in section.shape], "symmetric")
    down, across = (
        np.fft.fftfreq(side, pixel) for side, pixel in zip(whole.shape, deconvolution.pixel_size_A, strict=True)
    )
    k = np.hypot(down[:, None], across)
    wavelength = 0.0196875  # of 300 kV
    phase = np.pi * wavelength * k**2 * (deconvolution.defocus_um * 1e4 - 0.5 * 2.7e7 * wavelength**2 * k**2)
    ctf = np.sqrt(1 - 0.07**2) * np.sin(phase) + 0.07 * np.cos(phase)
    with np.errstate(divide="ignore"):
        noise = 1 / (1000 * np.exp(-200 * k) * (1 - np.cos(np.pi * np.minimum(1, 300 * k))))
    waves = np.fft.ifft2(np.fft.fft2(whole - section.mean()) * ctf / (ctf**2 + noise)).real
    rows, columns = section.shape
    return np.asarray(waves[rows : 2 * rows, columns : 2 * columns] + section.mean())


def test_deconvolution_is_the_wiener_filter_of_warp_and_isonet_with_pixels_of_any_shape() -> None:
    section = rng.normal(7, 1, (108, 80)).astype(np.float32)
    for pixel_size in ((10.0, 10.0), (5.0, 10.0)):
        deconvolution = Deconvolution(pixel_size, 4.0)
        expected = mirrored(section, deconvolution)
        found = deconvolution(section)
        assert found.dtype == np.float32
        middle = np.s_[30:-30, 30:-30]  # the edges depend on where a mirror image ends
        assert_allclose(found[middle], expected[middle], atol=0.05 * expected.std())


def test_deconvolution_keeps_dark_matter_dark_and_sharpens_what_defocus_blurs() -> None:
    matter = np.zeros((128, 128))
    cv2.circle(matter, (64, 64), 8, -1, -1)
    deconvolution = Deconvolution((10.0, 10.0), 4.0)
    k = np.hypot(np.fft.fftfreq(128, 10)[:, None], np.fft.fftfreq(128, 10))
    phase = np.pi * 0.0196875 * 4e4 * k**2
    blurred = np.fft.ifft2(np.fft.fft2(matter) * np.sin(phase + 0.07)).real
    found = deconvolution(blurred.astype(np.float32))
    assert found[64, 64] < found[100, 20] - 3 * found[90:, :40].std()
    assert np.corrcoef(found.ravel(), matter.ravel())[0, 1] > 0.9 > np.corrcoef(blurred.ravel(), matter.ravel())[0, 1]


def test_deconvolution_leaves_out_what_is_not_finite() -> None:
    section = rng.normal(5, 1, (64, 64)).astype(np.float32)
    deconvolution = Deconvolution((10.0, 10.0), 4.0)
    holes = section.copy()
    holes[3, 4:7] = np.nan, np.inf, -np.inf
    filled = np.where(np.isfinite(holes), holes, holes[np.isfinite(holes)].mean(dtype=float).astype(np.float32))
    found = deconvolution(holes)
    assert_array_equal(found[3, 4:7], holes[3, 4:7])
    assert_allclose(found[np.isfinite(holes)], deconvolution(filled)[np.isfinite(holes)], atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 3.7, np.nan])
def test_deconvolution_keeps_a_section_without_contrast(value: float) -> None:
    section = np.full((16, 20), value, np.float32)
    assert_array_equal(Deconvolution((10.0, 10.0), 4.0)(section), section)


def test_deconvolution_of_the_largest_floats_does_not_overflow() -> None:
    section = rng.normal(0, 1, (64, 64)).astype(np.float32)
    deconvolution = Deconvolution((10.0, 10.0), 4.0)
    expected = deconvolution(section)
    assert_allclose(deconvolution(section * np.float32(1e36)) / np.float32(1e36), expected, atol=1e-4)
    assert_allclose(deconvolution((section * 1000).round().astype(np.int32)) / 1000, expected, atol=0.01)


def test_deconvolution_does_not_carry_one_edge_to_the_other() -> None:
    section = rng.normal(0, 1, (128, 128)).astype(np.float32)
    bright = section.copy()
    bright[:, :2] += 50
    deconvolution = Deconvolution((10.0, 10.0), 4.0)
    change = deconvolution(bright) - deconvolution(section)
    change -= change.mean()
    assert np.abs(change[:, -20:]).max() < 0.03 * np.abs(change[:, :20]).max()


def ranged(voxels: NDArray[Any]) -> tuple[float, float]:
    """The automatic grey range of all these voxels."""
    low, high, why = auto_range(np.sort(voxels, axis=None), float(voxels.min()), float(voxels.max()))
    assert bool(why) == (low > voxels.min() or high < voxels.max())
    return low, high


def spread(voxels: NDArray[Any]) -> float:
    """The standard deviation of the greys."""
    low, high = ranged(voxels)
    return float(255 * np.std(voxels.astype(float).clip(low, high)) / (high - low))


def noise(count: int = 400_000) -> NDArray[np.float32]:
    """Of a micrograph."""
    return rng.normal(1000, 100, count).astype(np.float32)


def test_noise_is_shown_between_the_percentiles_that_leave_out_one_in_a_thousand_at_each_end() -> None:
    voxels = noise()
    assert_allclose(ranged(voxels), np.percentile(voxels, (0.1, 99.9)), atol=1)
    assert 40 < spread(voxels) < 42


@pytest.mark.parametrize("value", [5000, 1e6, 1e30])
def test_hot_pixels_do_not_stretch_the_range(value: float) -> None:
    voxels = noise()
    voxels[:100] = value * rng.uniform(0.5, 1, 100)
    assert_allclose(ranged(voxels), np.percentile(noise(), (0.1, 99.9)), atol=20)


@pytest.mark.parametrize("share", [0.0005, 0.002, 0.01, 0.03])
@pytest.mark.parametrize("darkness", [6, 12, 20])
def test_gold_leaves_the_greys_of_everything_else_their_spread(share: float, darkness: float) -> None:
    voxels = noise()
    beads = voxels[: round(share * voxels.size)]
    beads -= (100 * darkness * np.sqrt(rng.uniform(0, 1, beads.size))).astype(np.float32)
    assert spread(voxels) >= 30


def test_dead_corners_of_one_value_do_not_stretch_the_range() -> None:
    voxels = noise()
    voxels[:80_000] = 0
    assert_allclose(ranged(voxels), np.percentile(noise(), (0.1, 99.9)), atol=10)


def labels(share: float, most: int) -> NDArray[np.int16]:
    """A segmentation."""
    voxels = np.zeros(400_000, np.int16)
    voxels[: round(share * voxels.size)] = rng.integers(1, most + 1, round(share * voxels.size))
    return voxels


@pytest.mark.parametrize(
    "voxels",
    [
        labels(0.01, 50),
        labels(0.3, 7),
        labels(0.0001, 1),
        labels(0.75, 1),
        rng.choice(np.array([0.1, 0.2, 0.7], np.float32), 100_000),
        rng.choice(np.array([0.1, 0.2, 0.7], np.float32), 100_000, p=[0.9, 0.0999, 0.0001]),
        np.concatenate([[5.0], np.full(99_999, 3.0)]),
        np.concatenate([rng.normal(1, 0.1, 800), rng.normal(0, 0.01, 399_200)]),
    ],
    ids=["labels 1 %", "labels 30 %", "mask 0.01 %", "mask 75 %", "few", "few and rare", "one", "points on weak noise"],
)
def test_what_is_sparse_or_has_few_values_is_shown_whole(voxels: NDArray[Any]) -> None:
    assert ranged(voxels) == (voxels.min(), voxels.max())


def test_one_label_far_above_the_others_leaves_them_visible() -> None:
    voxels = labels(0.01, 1)
    voxels[:5] = 30_000
    low, high = ranged(voxels)
    assert low == 0
    assert 2 <= high <= 8


def test_a_diffraction_pattern_shows_most_of_its_peaks_on_a_dark_ground() -> None:
    voxels = rng.poisson(10, 400_000).astype(np.float32)
    peaks = voxels[:2000]
    peaks += 100 * (1 + rng.pareto(1, peaks.size)).astype(np.float32)
    low, high = ranged(voxels)
    greys = 255 * (voxels.astype(float).clip(low, high) - low) / (high - low)
    assert greys[2000:].mean() < 16
    assert np.median(greys[:2000]) > 40
    assert np.mean(greys[:2000] == 255) < 0.3


@pytest.mark.parametrize("electrons", [0.2, 1.0, 3.0])
def test_counted_electrons_are_shown_in_spite_of_hot_pixels(electrons: float) -> None:
    voxels = rng.poisson(electrons, 400_000).astype(np.int16)
    voxels[:5] = 2000
    assert spread(voxels) > 25


def test_tiles_of_local_contrast_have_64_pixels_a_side_and_none_where_no_two_fit() -> None:
    assert tiles((1024, 2048), 8) == (8, 8)
    assert tiles((300, 150), 8) == (2, 4)
    assert tiles((128, 128, 3), 8) == (2, 2)
    assert tiles((127, 900), 8) is None
    assert tiles((96, 96), 8) is None
    assert tiles((900, 900), 1) == (1, 1)


def equalised(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """With local contrast, constant areas kept."""
    contrasted = np.empty_like(frame)
    LocalContrast(2, (8, 8)).apply(frame, contrasted)
    return contrasted


@pytest.mark.parametrize("ground", [0, 60, 128, 255])
def test_a_constant_area_keeps_its_grey_under_local_contrast(ground: int) -> None:
    frame = rng.normal(128, 30, (512, 512)).clip(0, 255).astype(np.uint8)
    frame[100:300, 150:420] = ground
    inside = np.s_[112:288, 162:408]
    before = np.asarray(cv2.createCLAHE(2, (8, 8)).apply(frame), np.uint8)[inside]
    assert np.abs(before.astype(int) - ground).max() > 2 or ground == 255
    assert_array_equal(equalised(frame)[inside], ground)


def test_local_contrast_of_noise_stays_what_it_is() -> None:
    frame = rng.normal(128, 30, (512, 512)).clip(0, 255).astype(np.uint8)
    assert_array_equal(equalised(frame), cv2.createCLAHE(2, (8, 8)).apply(frame))


def test_what_is_not_near_a_constant_area_has_its_local_contrast() -> None:
    frame = rng.normal(128, 30, (512, 512)).clip(0, 255).astype(np.uint8)
    frame[100:300, 150:420] = 40
    contrasted = np.asarray(cv2.createCLAHE(2, (8, 8)).apply(frame), np.uint8)
    far = np.ones(frame.shape, bool)
    far[88:312, 138:432] = False
    assert_array_equal(equalised(frame)[far], contrasted[far])
