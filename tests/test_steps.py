"""What is done to each section before it is measured, and to its greys. References are plain NumPy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from movies import LOSSLESS, coloured_frames, description_of, frames, ramp, reference, run, shown, write_mrc
from mrc_bytes import header, mrc, write
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from mrc2movie import Settings, convert
from mrc2movie.conversion.preparation import preparation
from mrc2movie.picture.deconvolution import Deconvolution
from mrc2movie.picture.filters import HALF_AMPLITUDE, Bin, Lowpass, Shrink, Step

rng = np.random.default_rng(3)


def binned(voxels: NDArray[Any], n: int) -> NDArray[np.float64]:
    """Means of n x n voxels; what fills no such square at the end of rows and columns is left out."""
    z, y, x = voxels.shape
    whole = voxels[:, : y // n * n, : x // n * n].astype(float)
    return np.asarray(whole.reshape(z, y // n, n, x // n, n).mean(axis=(2, 4)))


def done(step: Step, section: NDArray[Any]) -> NDArray[np.float64]:
    """What a step makes of a section."""
    return np.asarray(step(section), np.float64)


def lowpassed(section: NDArray[Any], resolution: float) -> NDArray[np.float64]:
    """Through the Fourier transform of the section mirrored at its edges; half amplitude at so many pixels."""
    mirrored = np.block([[section, section[:, ::-1]], [section[::-1], section[::-1, ::-1]]])
    frequency = np.hypot(np.fft.fftfreq(mirrored.shape[0])[:, None], np.fft.fftfreq(mirrored.shape[1])[None])
    smooth = np.fft.ifft2(np.fft.fft2(mirrored) * 0.5 ** ((frequency * resolution) ** 2)).real
    return np.asarray(smooth[: section.shape[0], : section.shape[1]])


@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "f2"])
@pytest.mark.parametrize("n", [2, 3])
def test_bin_shows_area_means_measured_after_binning(tmp_path: Path, dtype: str, n: int) -> None:
    voxels = rng.integers(-100, 100, (3, 13, 20)).astype(dtype)
    expected = binned(voxels, n)
    found = shown(tmp_path, voxels, "--bin", str(n), "--range", "minmax")
    difference = np.subtract(found, reference(expected, expected.min(), expected.max()), dtype=int)
    assert np.abs(difference).max() <= 1  # halves may round either way
    assert {0, 255} <= set(np.unique(found))


def test_a_bin_larger_than_the_section_is_its_mean() -> None:
    section = ramp(1, 3, 8)[0]
    assert_allclose(done(Bin(4), section), [[section[:, :4].mean(), section[:, 4:].mean()]])


def test_max_size_keeps_the_aspect_and_never_enlarges(tmp_path: Path) -> None:
    voxels = rng.normal(0, 1, (2, 40, 60)).astype(np.float32)
    assert shown(tmp_path, voxels, "--max-size", "30")[0].shape == (20, 30)
    assert shown(tmp_path, voxels, "--max-size", "100")[0].shape == (40, 60)
    assert_allclose(done(Shrink(30), voxels[0]), binned(voxels[:1], 2)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--bin", "2"), "made smaller from 60 x 40 to 30 x 20 (--bin)"),
        (("--max-size", "30"), "made smaller from 60 x 40 to 30 x 20 (--max-size)"),
        (("--bin", "2", "--max-size", "15"), "made smaller from 60 x 40 to 15 x 10 (--bin --max-size)"),
    ],
)
def test_what_makes_sections_smaller_is_told(tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    assert shown(tmp_path, ramp(2, 40, 60), *options)
    assert told in (tmp_path / "out" / "mrc2movie.log").read_text()


@pytest.mark.parametrize("resolution", [2.0, 3.0, 4.0, 7.5, 30.0])
def test_lowpass_is_the_gaussian_of_the_fourier_transform(resolution: float) -> None:
    section = rng.normal(5, 1, (64, 96)).astype(np.float32)
    found = done(Lowpass((HALF_AMPLITUDE * resolution,) * 2), section)
    assert_allclose(found, lowpassed(section, resolution), atol=0.05)


@pytest.mark.parametrize("period", [4, 8, 20])
def test_lowpass_leaves_half_of_the_amplitude_at_its_resolution(period: int) -> None:
    wave = np.broadcast_to(np.cos(2 * np.pi * np.arange(320) / period), (320, 320)).astype(np.float32)
    for section in (wave, np.ascontiguousarray(wave.T)):
        ratio = np.abs(done(Lowpass((HALF_AMPLITUDE * period,) * 2), section))[100:220, 100:220].max()
        assert ratio == pytest.approx(0.5, rel=0.02)


def test_lowpass_counts_in_angstrom_of_the_picture_shown(tmp_path: Path) -> None:
    voxels = rng.normal(0, 1, (1, 64, 64)).astype(np.float32)
    expected = lowpassed(binned(voxels, 2)[0], 80 / 20)
    for options, size in ((("--pixel-size", "10"), 0), ((), 10), (("--pixel-size", "10"), 77)):
        found = shown(tmp_path, voxels, "--bin=2", "--lowpass=80", "--range=minmax", *options, voxel_size_A=size)
        difference = np.subtract(found, reference(expected[None], expected.min(), expected.max()), dtype=int)
        assert np.abs(difference).max() <= 2


def test_lowpass_without_a_voxel_size_fails_with_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp())
    assert run(source, tmp_path / "out", "--lowpass", "40") == 1
    assert "has no voxel size, which --lowpass needs; give it with --pixel-size" in capsys.readouterr().err


def test_a_lowpass_coarser_than_the_picture_is_bounded_by_it_and_warned_of() -> None:
    coarsest = preparation(description_of(1, 20, 40, (2.0, 2.0, 2.0)), Settings(lowpass=80))
    coarser = preparation(description_of(1, 20, 40, (2.0, 2.0, 2.0)), Settings(lowpass=1_000_000))
    assert coarser.steps == coarsest.steps
    assert not coarsest.warnings
    (warning,) = coarser.warnings
    assert warning.startswith("--lowpass 1e+06 is coarser than the whole picture of 80 Å")


def test_a_lowpass_finer_than_the_voxels_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown(tmp_path, ramp(), "--lowpass", "15", voxel_size_A=10)
    assert "finer than two pixels of 10" in capsys.readouterr().err


def test_lowpass_leaves_holes_as_they_are_and_their_surroundings_finite() -> None:
    section = np.full((40, 40), 3, np.float32)
    section[20, 11], section[5, 30] = np.nan, np.inf
    found = done(Lowpass((2.0, 2.0)), section)
    assert np.isnan(found[20, 11])
    assert np.isposinf(found[5, 30])
    assert_allclose(found[np.isfinite(found)], 3, rtol=1e-5)
    assert np.isfinite(found).sum() == 1598


def test_voxels_that_are_not_square_are_smoothed_by_length() -> None:
    (step,) = preparation(description_of(1, 8, 8, (10.0, 20.0, 5.0)), Settings(lowpass=100)).steps
    assert step == Lowpass((HALF_AMPLITUDE * 5, HALF_AMPLITUDE * 10))


def test_match_mean_shifts_every_section_to_the_common_mean(tmp_path: Path) -> None:
    voxels = (
        rng.integers(-100, 100, (5, 16, 16)).astype(np.int16) + np.array([0, 500, -70, 900, 3], np.int16)[:, None, None]
    )
    shifted = voxels - voxels.mean(axis=(1, 2), keepdims=True) + voxels.mean()
    expected = reference(shifted, shifted.min(), shifted.max())
    found = shown(tmp_path, voxels, "--match-mean", "--range=minmax")
    assert np.abs(np.subtract(found, expected, dtype=int)).max() <= 1
    assert {0, 255} <= set(np.unique(found))
    assert np.ptp([frame.mean() for frame in found]) < 1


def test_match_mean_keeps_sections_without_contrast_mid_grey(tmp_path: Path) -> None:
    voxels = np.empty((3, 8, 8), np.float32)
    voxels[...] = np.array([0.1, 0.2, 0.4], np.float32)[:, None, None]
    assert_array_equal(shown(tmp_path, voxels, "--match-mean"), 128)


def test_match_mean_ignores_holes(tmp_path: Path) -> None:
    voxels = rng.normal(0, 1, (3, 16, 16)).astype(np.float32)
    voxels[1] += 50
    voxels[1, 4, 4], voxels[0] = np.nan, np.nan
    found = shown(tmp_path, voxels, "--match-mean")
    assert_array_equal(found[0], 0)
    assert abs(found[1].mean() - found[2].mean()) < 2


def test_invert_is_the_negative_but_for_holes(tmp_path: Path) -> None:
    voxels = rng.normal(0, 1, (2, 16, 16)).astype(np.float32)
    for options in ((), ("--clip-limit", "3")):
        plain, negative = (shown(tmp_path, voxels, *options, *more) for more in ((), ("--invert",)))
        assert_array_equal(negative, [255 - frame for frame in plain])
    voxels[0, 0, 5] = np.nan
    assert shown(tmp_path, voxels, "--invert")[0][-1, 5] == 0


def test_the_grey_range_of_a_binned_movie_does_not_inherit_the_noise(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", rng.normal(0, 100, (4, 64, 64)).astype(np.float32))
    ranges = [convert(source, tmp_path / "x.avi", Settings(bin=n)).record.grey_range for n in (1, 4)]
    assert ranges[0][1] - ranges[0][0] > 3 * (ranges[1][1] - ranges[1][0])


# Together


def test_all_steps_together_in_their_order(tmp_path: Path) -> None:
    voxels = (rng.normal(0, 30, (14, 48, 96)) + 40 * np.arange(14)[:, None, None]).astype(np.int16)
    small = binned(binned(voxels[2:-3], 2), 3)  # --bin 2 gives 48 pixels a row, --max-size 16 a third of them
    smooth = np.stack([lowpassed(section, 240 / 60) for section in small])
    means = np.stack([smooth[max(0, z - 1) : z + 2].mean(axis=0) for z in range(0, len(smooth), 2)])
    level = means - means.mean(axis=(1, 2), keepdims=True) + means.mean()
    expected = [255 - frame for frame in reference(level, level.min(), level.max())]
    steps = ("--bin", "2", "--max-size", "16", "--lowpass", "240", "--average", "3", "--every", "2")
    options = (*steps, "--match-mean", "--invert", "--range", "minmax", "--pixel-size", "10")
    found = shown(tmp_path, voxels, *options, "--discard_range", "0", "2")
    assert len(found) == 6
    found = shown(tmp_path, voxels[2:-3], *options)
    assert np.abs(np.subtract(found, expected, dtype=int)).max() <= 4  # the low-pass is exact to 0.04


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 7), (2, 5, 1), (3, 2, 2)])
@pytest.mark.parametrize(
    "options",
    [
        ("--average", "5"),
        ("--bin", "4"),
        ("--max-size", "1"),
        ("--lowpass", "400", "--pixel-size", "10"),
        ("--match-mean",),
        ("--axis", "x"),
        ("--axis", "y"),
        ("--every", "2"),
        ("--label", "section,depth", "--scale-bar", "--pixel-size", "10"),
        ("--thumbnail", "--contact-sheet"),
        ("--preset", "tilt"),
        ("--preset", "tomogram"),
    ],
    ids=" ".join,
)
def test_volumes_of_few_voxels_become_movies(
    tmp_path: Path, shape: tuple[int, int, int], options: tuple[str, ...]
) -> None:
    assert shown(tmp_path, ramp(*shape), "--format", "avi", *options)


@pytest.mark.parametrize("options", [("--bin", "2"), ("--max-size", "8"), ("--average", "2")])
def test_what_holds_a_voxel_that_is_not_finite_is_black(tmp_path: Path, options: tuple[str, ...]) -> None:
    voxels = rng.normal(5, 1, (3, 16, 16)).astype(np.float32)
    voxels[1, 3, 8] = np.nan
    found = shown(tmp_path, voxels, *options, "--range", "0,8")
    rows, columns = found[0].shape
    row, column = rows - 1 - 3 * rows // 16, 8 * columns // 16
    holes = [0, 1] if options[0] == "--average" else [1]
    assert [bool(frame[row, column] == 0) for frame in found] == [z in holes for z in range(3)]
    assert [int(np.sum(frame == 0)) for frame in found] == [z in holes for z in range(3)]


@pytest.mark.parametrize(("mode", "scale"), [(6, 60000), (7, 2**30), (8, 2**31), (0, 100)])
def test_integers_of_any_size_keep_their_digits_through_all_steps(tmp_path: Path, mode: int, scale: int) -> None:
    voxels = scale + rng.integers(0, 27, (3, 8, 8))
    source = write(tmp_path / "in.mrc", mrc(voxels, mode))
    options = ("--average", "3", "--bin", "2", "--range", "minmax", "--playback", "forward")
    assert run(source, tmp_path / "out", *LOSSLESS, *options) == 0
    small = binned(voxels, 2)
    means = np.stack([small[max(0, z - 1) : z + 2].mean(axis=0) for z in range(3)])
    expected = reference(means, means.min(), means.max())
    assert np.abs(np.subtract(frames(tmp_path / "out/in.avi"), expected, dtype=int)).max() <= 1


def colour(path: Path, pictures: NDArray[np.uint8]) -> Path:
    """An MRC file of (z, y, x, 3) red, green, blue."""
    sections, rows, columns, _ = pictures.shape
    return write(path, header(columns, rows, sections, 16) + pictures.tobytes())


def test_colours_are_averaged_binned_and_smoothed_each_for_itself(tmp_path: Path) -> None:
    pictures = rng.integers(0, 255, (3, 8, 12, 3)).astype(np.uint8)
    source = colour(tmp_path / "in.mrc", pictures)
    options = ("--average", "3", "--bin", "2", "--range", "0,255", "--playback", "forward")
    assert run(source, tmp_path / "out", *LOSSLESS, *options) == 0
    found = np.stack(coloured_frames(tmp_path / "out/in.avi"))[..., ::-1]
    for channel in range(3):
        small = binned(pictures[..., channel], 2)
        means = np.stack([small[max(0, z - 1) : z + 2].mean(axis=0) for z in range(3)])
        assert np.abs(np.subtract(found[..., channel], reference(means, 0, 255), dtype=int)).max() <= 3  # through YUV
    section = pictures[0].astype(np.float32)
    smooth = done(Lowpass((1.0, 1.0)), section)
    for channel in range(3):
        assert_allclose(smooth[..., channel], done(Lowpass((1.0, 1.0)), section[..., channel]), rtol=1e-5)


def test_transforms_take_the_same_steps_but_no_scale_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waves = rng.normal(0, 1, (3, 64, 33)).astype(np.complex64)
    source = write_mrc(tmp_path / "in.mrc", waves)
    options = ("--average", "3", "--bin", "2", "--scale-bar", "--label", "section", "--match-mean")
    assert run(source, tmp_path / "out", *LOSSLESS, *options) == 0
    assert frames(tmp_path / "out/in.avi")[0].shape == (32, 16)
    assert "--scale-bar: a transform has no length" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        {"average": 5},
        {"average": 100},
        {"max_size": 40},
        {"bin": 2, "average": 3},
        {"lowpass": 50, "pixel_size": 5},
        {"lowpass": 300, "pixel_size": 5, "match_mean": True},
        {"average": 5, "axis": "y"},
    ],
)
def test_rounding_is_not_shown_as_contrast(tmp_path: Path, options: dict[str, Any]) -> None:
    for value in (0.1, 123.456, -7.7, 1_000_000.3):
        source = write_mrc(tmp_path / "in.mrc", np.full((120, 61, 83), value, np.float32))
        made = convert(source, tmp_path / "in.avi", Settings(playback="forward", quality=100, **options))
        assert any("there is no contrast to show" in warning for warning in made.record.warnings)
        assert np.ptp(frames(tmp_path / "in.avi")) == 0
        assert abs(int(frames(tmp_path / "in.avi")[0][0, 0]) - 128) <= 1


def test_small_contrast_on_a_large_offset_is_shown(tmp_path: Path) -> None:
    voxels = 1_000_000 + np.linspace(0, 8, 12 * 40 * 50, dtype=np.float32).reshape(12, 40, 50)
    made = convert(write_mrc(tmp_path / "in.mrc", voxels), tmp_path / "in.avi", Settings(average=5))
    low, high = made.record.grey_range
    assert high - low > 5


def test_smooth_is_a_gaussian_in_pixels_of_the_smaller_picture(tmp_path: Path) -> None:
    voxels = rng.normal(0, 1, (1, 64, 64)).astype(np.float32)
    expected = lowpassed(binned(voxels, 2)[0], 1.5 / HALF_AMPLITUDE)
    found = shown(tmp_path, voxels, "--bin=2", "--smooth=1.5", "--range=minmax")
    assert np.abs(np.subtract(found, reference(expected[None], expected.min(), expected.max()), dtype=int)).max() <= 2


def test_smooth_and_lowpass_together_are_one_gaussian() -> None:
    (step,) = preparation(description_of(1, 64, 64, (10.0, 10.0, 5.0)), Settings(lowpass=100, smooth=3)).steps
    assert isinstance(step, Lowpass)
    assert_allclose(step.deviations, np.hypot(HALF_AMPLITUDE * 10, 3))


def test_deconv_takes_the_defocus_that_is_given_else_that_of_the_sidecar_else_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voxels = rng.normal(0, 1, (2, 64, 64)).astype(np.float32)
    for options, mdoc, defocus, origin in (
        ((), "", 4.0, "assumed"),
        ((), "TargetDefocus = -3\nDefocus = 0.2\n", 3.0, "in.mrc.mdoc"),
        (("--defocus=2.5",), "TargetDefocus = -3\n", 2.5, "--defocus"),
    ):
        (tmp_path / "in.mrc.mdoc").write_text("".join(f"[ZValue = {z}]\nTiltAngle = 0\n{mdoc}" for z in range(2)))
        found = shown(tmp_path, voxels, "--deconv", "--range=minmax", *options, voxel_size_A=8)
        step = Deconvolution((8.0, 8.0), defocus)
        expected = np.stack([np.asarray(step(section)) for section in voxels])
        assert np.abs(np.subtract(found, reference(expected, expected.min(), expected.max()), dtype=int)).max() <= 1
        assert f"deconvolved at {defocus:g} µm defocus ({origin}), 300 kV and Cs 2.7 mm" in capsys.readouterr().err


def test_deconv_without_a_voxel_size_fails_with_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(write_mrc(tmp_path / "in.mrc", ramp()), tmp_path / "out", "--deconv") == 1
    assert "has no voxel size, which --deconv needs; give it with --pixel-size" in capsys.readouterr().err
