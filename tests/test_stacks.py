"""Stacks beside the movie: which images they hold, in which form, and what is told of each; read by other programs."""

import math
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import gemmi
import mrcfile
import numpy as np
import pytest
from collected import images, particles, write_cs, write_stack, write_tilts
from faults import installed
from movies import run, write_mrc
from mrc_bytes import described, header, read, write
from numpy.typing import NDArray

from mrc2movie.writers.stacks import stack_starts

rng = np.random.default_rng(11)


def project(directory: Path, counts: Sequence[int] = (7, 2, 6)) -> tuple[Path, NDArray[np.int16]]:
    """Write stacks of so many images of noise, and a star that names all; returns it and the images."""
    voxels = rng.integers(-500, 500, (sum(counts), 12, 16)).astype(np.int16)
    names, first = [], 0
    for number, count in enumerate(counts):
        write_stack(directory / f"Extract/{number}.mrcs", voxels[first : first + count], voxel_size_A=1.5)
        names += [f"{image:06d}@Extract/{number}.mrcs" for image in range(1, count + 1)]
        first += count
    rows = range(len(names))
    return (
        particles(
            directory / "particles.star",
            names,
            rlnDefocusU=[10000 + row for row in rows],
            rlnDefocusV=[9000 + row for row in rows],
            rlnDefocusAngle=[30 + row for row in rows],
            rlnPhaseShift=[90 for _ in rows],
            rlnClassNumber=[1 + row % 3 for row in rows],
        ),
        voxels,
    )


def restacked(source: Path, *options: str) -> Path:
    """The directory of stacks that a run makes beside the movie."""
    output = source.parent / "out"
    assert run(source, output, "--stacks", "--clip-limit=0", *options) == 0
    (directory,) = output.glob("*.stacks")
    return directory


def by_mrcfile(path: Path) -> NDArray[Any]:
    """The images of a stack, (z, y, x), which must be a valid stack of images."""
    assert mrcfile.validate(path)
    with mrcfile.open(path) as mrc:
        assert mrc.is_image_stack() or mrc.is_single_image()
        return np.array(mrc.data).reshape(-1, *mrc.data.shape[-2:])


def sizes(directory: Path) -> list[int]:
    return [len(by_mrcfile(path)) for path in sorted(directory.glob("*.mrcs"))]


class TestWhichImages:
    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (["--batch-size=10"], [10, 5]),
            (["--batch-size=5", "--no-combine"], [5, 2, 2, 5, 1]),
            (["--batch-size=15"], [15]),
            (["--batch-size=4", "--max-stacks=2"], [4, 4]),
        ],
    )
    def test_stacks_go_across_files_unless_they_are_not_to_be_combined(
        self, tmp_path: Path, options: list[str], expected: list[int]
    ) -> None:
        star, voxels = project(tmp_path)
        directory = restacked(star, *options)
        assert sizes(directory) == expected
        stacks = sorted(directory.glob("*.mrcs"))
        assert [path.name for path in stacks] == [f"stack_{number:06d}.mrcs" for number in range(len(expected))]
        np.testing.assert_array_equal(np.concatenate([by_mrcfile(path) for path in stacks]), voxels[: sum(expected)])

    def test_a_million_images_are_planned_at_once(self) -> None:
        file_of = np.repeat(np.arange(10_000), 100)
        assert len(stack_starts(file_of, 1000, combine=True, at_most=None)) == 1001
        apart = stack_starts(file_of, 70, combine=False, at_most=None)
        assert np.diff(apart).tolist() == [70, 30] * 10_000

    @pytest.mark.parametrize("options", [(), ("--playback=backward",), ("--jobs=1",)])
    def test_the_images_are_in_order_whatever_the_direction_of_the_movie(
        self, tmp_path: Path, options: tuple[str, ...]
    ) -> None:
        star, voxels = project(tmp_path)
        directory = restacked(star, "--batch-size=4", "--only=2:13", *options)
        found = [by_mrcfile(path) for path in sorted(directory.glob("*.mrcs"))]
        np.testing.assert_array_equal(np.concatenate(found), voxels[2:13])

    def test_a_plain_file_is_restacked_too_the_right_side_up(self, tmp_path: Path) -> None:
        voxels = rng.integers(0, 99, (3, 6, 8)).astype(np.int16)
        source = write_mrc(tmp_path / "a.mrc", voxels, voxel_size_A=2.0, exttyp=b"FEI1", nversion=20140)
        assert not described(source).row0_at_bottom
        directory = restacked(source)
        np.testing.assert_array_equal(by_mrcfile(directory / "stack_000000.mrcs"), voxels[:, ::-1])
        told = np.load(directory / "stack_000000.npz")
        assert told["source"].tolist() == [str(source).encode()]
        assert told["index"].tolist() == [0, 1, 2]
        assert told["pixel_size_A"].tolist() == [2.0] * 3


class TestImages:
    def test_they_are_bit_by_bit_those_of_the_file_with_its_pixel_size(self, tmp_path: Path) -> None:
        star, voxels = project(tmp_path)
        stack = restacked(star) / "stack_000000.mrcs"
        with mrcfile.open(stack) as mrc:
            assert mrc.data.dtype == np.int16
            assert mrc.voxel_size.x == mrc.voxel_size.y == pytest.approx(1.5)
            assert (mrc.header.dmin, mrc.header.dmax) == (voxels.min(), voxels.max())
            assert mrc.header.dmean == pytest.approx(voxels.mean(), rel=1e-5)
            assert mrc.header.rms == pytest.approx(voxels.std(), rel=1e-5)

    @pytest.mark.parametrize("method", ["mean", "max"])
    def test_binned_images_are_the_mean_or_the_largest_of_their_voxels(self, tmp_path: Path, method: str) -> None:
        star, voxels = project(tmp_path)
        directory = restacked(star, "--bin=4", f"--bin-method={method}")
        blocks = voxels.reshape(15, 3, 4, 4, 4).astype(np.float64)
        wanted = blocks.mean(axis=(2, 4)) if method == "mean" else blocks.max(axis=(2, 4))
        found = by_mrcfile(directory / "stack_000000.mrcs")
        assert found.dtype == (np.float32 if method == "mean" else np.int16)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)
        assert described(directory / "stack_000000.mrcs").voxel_size_A == (6, 6, None)
        assert np.load(directory / "stack_000000.npz")["pixel_size_A"].tolist() == [6.0] * 15

    def test_normalised_images_have_mean_0_and_deviation_1_outside_a_disc(self, tmp_path: Path) -> None:
        star, voxels = project(tmp_path)
        found = by_mrcfile(restacked(star, "--normalize-each") / "stack_000000.mrcs")
        assert found.dtype == np.float32
        for image, normal in zip(voxels.tolist(), found, strict=True):
            outside = [
                image[row][column]
                for row in range(12)
                for column in range(16)
                if math.hypot(row - 6, column - 8) > 0.375 * 12
            ]
            mean = sum(outside) / len(outside)
            deviation = math.sqrt(sum((value - mean) ** 2 for value in outside) / len(outside))
            np.testing.assert_allclose(normal, (np.array(image) - mean) / deviation, rtol=1e-4, atol=1e-5)

    def test_what_does_not_vary_is_not_divided_by_nothing(self, tmp_path: Path) -> None:
        flat = np.full((2, 12, 16), 7, np.float32)
        flat[1, 6, 8] = 9
        flat[1, 0, 0] = np.nan
        found = read(restacked(write_mrc(tmp_path / "a.mrcs", flat), "--normalize-each") / "stack_000000.mrcs")
        assert not found[0].any()
        assert (found[1, 6, 8], found[1, 1, 1]) == (2, 0)
        assert np.isnan(found[1, 0, 0])

    def test_fourier_space_is_centred_and_unitary(self, tmp_path: Path) -> None:
        star, voxels = project(tmp_path, (3, 2))
        directory = restacked(star, "--fourier", "--batch-size=3")
        transforms = [np.load(path) for path in sorted(directory.glob("*_fourier.npy"))]
        assert [each.shape for each in transforms] == [(3, 12, 16), (2, 12, 16)]
        assert transforms[0].dtype == np.complex64
        # The definition, with the origin of both at [6, 8].
        y, x = np.arange(12) - 6, np.arange(16) - 8
        down = np.exp(-2j * np.pi * np.outer(y, y) / 12)
        across = np.exp(-2j * np.pi * np.outer(x, x) / 16)
        for image, transform in zip(voxels, np.concatenate(transforms), strict=True):
            wanted = down @ image @ across / math.sqrt(12 * 16)
            np.testing.assert_allclose(transform, wanted, atol=0.02)
            assert np.sum(np.abs(transform) ** 2) == pytest.approx(np.sum(image.astype(float) ** 2), rel=1e-5)


class TestWhatIsTold:
    def test_a_star_in_degrees_and_arrays_in_radians(self, tmp_path: Path) -> None:
        star, _ = project(tmp_path)
        directory = restacked(star, "--batch-size=10")
        told = np.load(directory / "stack_000001.npz")
        rows = np.arange(10, 15)
        np.testing.assert_allclose(told["defocus_u_A"], 10000 + rows)
        np.testing.assert_allclose(told["defocus_v_A"], 9000 + rows)
        np.testing.assert_allclose(told["defocus_angle_rad"], (30 + rows) * math.pi / 180)
        np.testing.assert_allclose(told["phase_shift_rad"], math.pi / 2)
        assert (told["voltage_kV"][0], told["cs_mm"][0], told["pixel_size_A"][0]) == (300, 2.7, 1.5)
        assert told["index"].tolist() == [1, 2, 3, 4, 5]
        assert [Path(path.decode()).name for path in told["source"][told["source_of"]]] == ["2.mrcs"] * 5
        document = gemmi.cif.read(str(directory / "stack_000001.star"))
        optics, table = document["optics"], document["particles"]
        assert list(optics.find_values("_rlnVoltage")) == ["300.000000"]
        assert list(optics.find_values("_rlnImagePixelSize")) == ["1.500000"]
        assert (optics.find_values("_rlnImageSize")[0], optics.find_values("_rlnImageDimensionality")[0]) == ("16", "2")
        assert list(table.find_values("_rlnImageName"))[:2] == ["000001@stack_000001.mrcs", "000002@stack_000001.mrcs"]
        assert table.find_values("_rlnImageOriginalName")[0] == f"000002@{tmp_path}/Extract/2.mrcs"
        assert [float(value) for value in table.find_values("_rlnDefocusAngle")] == [40, 41, 42, 43, 44]
        assert [float(value) for value in table.find_values("_rlnPhaseShift")] == [90] * 5
        assert list(table.find_values("_rlnClassNumber")) == ["2", "3", "1", "2", "3"]

    def test_the_pixel_size_is_the_one_that_is_believed(self, tmp_path: Path) -> None:
        for angle in (0, 3):
            write_stack(tmp_path / f"{angle}.mrc", images(1), voxel_size_A=2.0)
        mdoc = write_tilts(tmp_path / "x.mdoc", {angle: rf"D:\{angle}.mrc" for angle in (0, 3)}, pixel_size_A=1.0)
        directory = restacked(mdoc)
        assert np.load(directory / "stack_000000.npz")["pixel_size_A"].tolist() == [2, 2]
        assert described(directory / "stack_000000.mrcs").voxel_size_A == (2, 2, None)

    def test_cryosparc_tells_in_radians(self, tmp_path: Path) -> None:
        write_stack(tmp_path / "J1/a.mrcs", images(2))
        cs = write_cs(
            tmp_path / "J1/x.cs",
            blob__path=[b"J1/a.mrcs"] * 2,
            blob__idx=[0, 1],
            blob__psize_A=[1.1, 2.2],
            ctf__df1_A=[1e4, 2e4],
            ctf__df2_A=[1.1e4, 2.1e4],
            ctf__df_angle_rad=np.array([1.1, -0.5], np.float32),
            ctf__phase_shift_rad=[0.0, 0.25],
            ctf__accel_kv=[200, 300],
            ctf__cs_mm=[2.0, 2.7],
            ctf__amp_contrast=[0.1, 0.07],
        )
        directory = restacked(cs)
        told = np.load(directory / "stack_000000.npz")
        np.testing.assert_allclose(told["defocus_angle_rad"], np.array([1.1, -0.5], np.float32), rtol=1e-15)
        np.testing.assert_allclose(told["phase_shift_rad"], [0.0, 0.25])
        np.testing.assert_allclose(told["amplitude_contrast"], [0.1, 0.07])
        document = gemmi.cif.read(str(directory / "stack_000000.star"))
        assert [float(value) for value in document["particles"].find_values("_rlnDefocusAngle")] == pytest.approx(
            [63.025359, -28.647890], abs=1e-6
        )
        groups = [int(value) for value in document["particles"].find_values("_rlnOpticsGroup")]
        by_group = dict(enumerate(document["optics"].find_values("_rlnVoltage"), start=1))
        assert [float(by_group[group]) for group in groups] == [200, 300]

    def test_images_of_which_the_same_is_unknown_are_one_optics_group(self, tmp_path: Path) -> None:
        write_stack(tmp_path / "J1/a.mrcs", images(4))
        known = {"blob__path": [b"J1/a.mrcs"] * 4, "blob__idx": [0, 1, 2, 3], "blob__psize_A": [1.0] * 4}
        cs = write_cs(tmp_path / "J1/x.cs", **known, ctf__accel_kv=[200, math.nan, math.nan, 200])
        document = gemmi.cif.read(str(restacked(cs) / "stack_000000.star"))
        first, *others = document["particles"].find_values("_rlnOpticsGroup")
        assert [group == first for group in others] == [False, False, True]
        assert sorted(document["optics"].find_values("_rlnVoltage")) == ["200.000000", "nan"]

    @pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
    def test_a_file_may_have_any_name(self, tmp_path: Path) -> None:
        source = write_mrc(tmp_path / os.fsdecode(b"\xe9 1.mrc"), images(2))
        assert installed(source, tmp_path / "out", "--stacks").returncode == 0
        (directory,) = (tmp_path / "out").glob("*.stacks")
        assert b"@" + os.fsencode(source) in (directory / "stack_000000.star").read_bytes()
        assert np.load(directory / "stack_000000.npz")["source"].tolist() == [os.fsencode(source)]

    def test_the_star_is_a_collection_again(self, tmp_path: Path) -> None:
        star, voxels = project(tmp_path)
        again = restacked(star, "--batch-size=10") / "stack_000001.star"
        np.testing.assert_array_equal(read(again), voxels[10:])
        description = described(again)
        assert description.voxel_size_A == (1.5, 1.5, None)
        assert description.optics.defocus_um == pytest.approx((10012 + 9012) / 2 / 1e4)


class TestPictures:
    def test_the_power_spectrum_shows_a_wave_where_its_frequency_is(self, tmp_path: Path) -> None:
        y, x = np.mgrid[:64, :64]
        wave = np.cos(2 * np.pi * (10 * x + 4 * y) / 64) + rng.normal(0, 0.1, (20, 64, 64))
        source = write_mrc(tmp_path / "a.mrcs", wave.astype(np.float32))
        picture = cv2.imread(str(restacked(source) / "stack_000000_spectrum.png"), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        assert picture.shape == (256, 256)  # four pixels a frequency
        brightest = {tuple(place) for place in (np.argwhere(picture == picture.max()) // 4).tolist()}
        # Frequency 0 at [32, 32] of an array whose row 0 is the bottom: the wave rises to the right.
        assert {(63 - 36, 42), (63 - 28, 22)} <= brightest
        assert len(brightest) < 20  # a thousandth of 4096, and what is hardly darker

    def test_the_sheet_has_the_images_of_its_stack(self, tmp_path: Path) -> None:
        flat = np.ones((4, 12, 16), np.float32) * np.array([10, 90, 170, 250], np.float32)[:, None, None]
        source = write_mrc(tmp_path / "a.mrcs", flat)
        directory = restacked(source, "--batch-size=2", "--range=0,255")
        for number, levels in enumerate([(10, 90), (170, 250)]):
            sheet = cv2.imread(str(directory / f"stack_{number:06d}_images.png"), cv2.IMREAD_GRAYSCALE)
            assert sheet is not None
            assert [int((sheet == level).sum()) for level in levels] == [96 * 72] * 2


class TestBeside:
    def status(self, capsys: pytest.CaptureFixture[str], *words: object) -> str:
        capsys.readouterr()
        run(*(str(word) for word in words))
        return capsys.readouterr().err.splitlines()[-1]

    def test_they_are_made_anew_where_they_are_wanted_otherwise(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        star, _ = project(tmp_path)
        words = (star, tmp_path / "out", "--stacks")
        assert self.status(capsys, *words) == "1 converted"
        assert self.status(capsys, *words) == "1 up to date"
        assert self.status(capsys, star, tmp_path / "out") == "1 up to date"
        assert self.status(capsys, *words, "--batch-size=10") == "1 converted"
        assert sizes(tmp_path / "out/particles.stacks") == [10, 5]
        shutil.rmtree(tmp_path / "out/particles.stacks")
        assert self.status(capsys, *words, "--batch-size=10") == "1 converted"
        assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".mrc2movie-")]

    def test_a_directory_of_others_is_left_alone(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        star, _ = project(tmp_path)
        theirs = tmp_path / "out/particles.stacks/precious.mrcs"
        theirs.parent.mkdir(parents=True)
        theirs.touch()
        assert self.status(capsys, star, tmp_path / "out", "--stacks") == "1 left alone"
        assert self.status(capsys, star, tmp_path / "out", "--stacks", "--overwrite") == "1 left alone"
        assert theirs.exists()

    @pytest.mark.parametrize("options", [("--smooth=1",), ("--average=3",), ("--preset=tilt", "--dry-run")])
    def test_images_changed_for_the_eye_are_not_restacked(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
    ) -> None:
        star, _ = project(tmp_path)
        assert run(star, tmp_path / "out", "--stacks", *options) == 1
        assert "the stacks would hold images that" in capsys.readouterr().err
        assert not list((tmp_path / "out").glob("particles*"))

    def test_patterns_that_are_shown_by_their_logarithm_say_how_to_restack_them(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        voxels = np.ones((4, 32, 32), np.float32)
        voxels[:, 16, 16] = 1e5
        words = (write_mrc(tmp_path / "a.mrc", voxels), tmp_path / "out", "--navigation-shape", "2", "2", "--stacks")
        assert run(*words) == 1
        assert "--scale changed" in (said := capsys.readouterr().err)
        assert "with --scale linear" in said
        assert run(*words, "--scale=linear") == 0

    def test_what_is_in_colour_is_refused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        source = write(tmp_path / "a.mrc", header(8, 8, 1, 16) + bytes(8 * 8 * 3))
        assert run(source, tmp_path / "out", "--stacks") == 1
        assert "is in colour, which no stack holds" in capsys.readouterr().err
