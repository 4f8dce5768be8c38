"""Scans: where each pattern was recorded, what virtual detectors see, and what Direct Electron and Velox tell."""

import gzip
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import mrcfile
import numpy as np
import pytest
from movies import reference, run, shown, write_mrc
from mrc_bytes import described, mrc, write
from mrcfile.dtypes import get_ext_header_dtype
from numpy.typing import NDArray

from mrc2movie import Settings, convert, inspect
from mrc2movie.conversion.opening import open_input
from mrc2movie.conversion.preparation import selection_of
from mrc2movie.conversion.preset_choice import settle
from mrc2movie.errors import InputError
from mrc2movie.picture.detectors import detectors_for
from mrc2movie.picture.sheet import cells_of
from mrc2movie.readers.scans.scan import Scan
from mrc2movie.readers.volume import Description

rng = np.random.default_rng(18)


def patterns(columns: int, rows: int, size: int = 24, radius: float = 4.0) -> NDArray[np.float32]:
    """(positions, y, x): a disc whose brightness tells the position, right with x and up with y, on a dim haze."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    found = []
    for line in range(rows):
        for place in range(columns):
            moved = np.hypot(x - 0.3 * place, y - 0.2 * line)
            found.append((100 + 10 * line + place) * (moved <= radius) + 3.0 * (moved > radius))
    return np.array(found, np.float32)


def opened(path: Path, **settings: Any) -> Description:
    """What is known of an input when it has been opened with these options."""
    with open_input(path, Settings(**settings)) as volume:
        return volume.description


INFO = {
    "Server Software Version": "2.7.5.10756",
    "Camera Model": "DESim",
    "Frames Per Second": "700",
    "Instrument Accelerating Voltage (V)": "200000",
    "Instrument Project Camera Length (centimeters)": "-1",
    "Instrument Project Magnification": "1000",
    "Specimen Pixel Size X (nanometers)": "0.5",
    "Specimen Pixel Size Y (nanometers)": "0.25",
    "Scan - Enable": "Enable",
    "Scan - Type": "Raster",
    "Scan - Size X": "4",
    "Scan - Size Y": "3",
    "Scan - Repeats": "1",
    "Scan - ROI Enable": "Disable",
}


def direct_electron(directory: Path, voxels: NDArray[Any], suffix: str = "", **changes: str) -> Path:
    """Write a movie as DE-Server does, with its settings; an underscore of a key stands for what is between words."""
    directory.mkdir(parents=True, exist_ok=True)
    stem = f"20241021_00405{suffix}"
    info = {**INFO, **{key: value for key, value in changes.items() if value}}
    (directory / f"{stem}_info.txt").write_text("".join(f"{key:64}= {value}\n" for key, value in info.items()))
    return write_mrc(directory / f"{stem}_movie.mrc", voxels)


class TestPositions:
    @pytest.mark.parametrize(
        ("scan", "expected"),
        [
            (Scan(3, 2), [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 0)]),
            (Scan(3, 2, serpentine=True), [(0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (0, 1), (0, 0)]),
            (Scan(3, 1, frames=2), [(0, 0), (0, 0), (1, 0), (1, 0), (2, 0), (2, 0), (0, 0)]),
            (Scan(5, 5, positions=np.array([[4, 0], [1, 3]])), [(4, 0), (1, 3), (4, 0)]),
        ],
    )
    def test_sections_have_positions(self, scan: Scan, expected: list[tuple[int, int]]) -> None:
        x, y = scan.places(np.arange(len(expected)))
        assert list(zip(x.tolist(), y.tolist(), strict=True)) == expected

    def test_labels_and_sheets_say_the_position_and_the_scan(self, tmp_path: Path) -> None:
        source = write_mrc(tmp_path / "a.mrc", patterns(4, 3).repeat(2, axis=0))
        description = opened(source, navigation_shape=(4, 3))
        assert (description.kind, description.voxel_size_A) == ("scan", None)
        assert description.storage["scan"] == "4 x 3 positions by --navigation-shape, 2 times"
        captions = list(cells_of(description, selection_of(description, Settings())).values())
        assert (captions[1], captions[-1]) == ("x 1, y 0", "x 3, y 2, scan 1")

    def test_the_label_is_written_into_the_frames(self, tmp_path: Path) -> None:
        source = write_mrc(tmp_path / "a.mrc", np.zeros((4, 96, 96), np.int16))
        words = ("--range=0,1", "--navigation-shape", "2", "2", "--label=section")
        first, *others = shown(tmp_path, source, *words)
        assert first.max() > 200
        assert not any(np.array_equal(first, other) for other in others)

    def test_a_scan_that_ended_early_is_shown_with_a_warning(self, tmp_path: Path) -> None:
        source = write_mrc(tmp_path / "a.mrc", patterns(4, 2))
        (warning,) = opened(source, navigation_shape=(4, 3)).warnings
        assert warning.startswith("the scan ended early: 8 of the 12 patterns are there")

    def test_a_shape_that_does_not_fit_is_refused(self, tmp_path: Path) -> None:
        source = write_mrc(tmp_path / "a.mrc", patterns(4, 3))
        with pytest.raises(InputError, match="has 12 sections, which are no whole scans of 4 x 2 positions"):
            convert(source, tmp_path / "a.avi", Settings(navigation_shape=(4, 2)))
        assert run(source, tmp_path / "out", "--navigation-shape", "0", "3") == 2

    def test_an_array_may_be_a_scan(self, tmp_path: Path) -> None:
        made = convert(patterns(4, 3), tmp_path / "a.avi", Settings(navigation_shape=(4, 3), virtual=True))
        assert made.record.kind == "scan"
        assert (tmp_path / "a.virtual/sum.mrc").exists()


class TestScale:
    def test_log_and_root_are_those_of_the_intensity(self, tmp_path: Path) -> None:
        voxels = rng.integers(-50, 5000, (3, 8, 8)).astype(np.int16)
        for scale, function in (("log", np.log1p), ("sqrt", np.sqrt)):
            wanted = np.sign(voxels) * function(np.abs(voxels.astype(np.float64)))
            made = shown(tmp_path, voxels, f"--scale={scale}", "--range=minmax")
            expected = reference(wanted, wanted.min(), wanted.max())
            assert max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(made, expected, strict=True)) <= 1

    @pytest.mark.parametrize("ending", ["", ".gz", ".gz, cut"])
    @pytest.mark.parametrize(("radius", "scale"), [(2.0, "log"), (9.0, "linear")])
    def test_patterns_are_shown_by_the_logarithm_where_few_pixels_are_bright(
        self, tmp_path: Path, radius: float, scale: str, ending: str
    ) -> None:
        source = write_mrc(tmp_path / "a.mrc", patterns(4, 3, size=32, radius=radius) - 2.9)
        if ending:
            whole = gzip.compress(source.read_bytes())
            source = write(tmp_path / "a.mrc.gz", whole[: -len(whole) // 4] if "cut" in ending else whole)
        settings = Settings(navigation_shape=(4, 3))
        with open_input(source, settings) as volume:
            settled, notes = settle(settings, volume)
            assert (settled.scale == "log") == (scale == "log")
            assert bool(notes) == (scale == "log")
        plain = Settings()
        with open_input(source, plain) as volume:
            assert settle(plain, volume)[0].scale == "auto"  # as it is: it may be anything


class TestVirtual:
    def test_the_images_are_what_the_detectors_see(self, tmp_path: Path) -> None:
        voxels = patterns(5, 4) + rng.random((20, 24, 24), np.float32)
        source = write_mrc(tmp_path / "a.mrc", voxels)
        assert run(source, tmp_path / "out", "--navigation-shape", "5", "4", "--virtual") == 0
        directory = tmp_path / "out/a.virtual"
        found = {}
        for name in ("sum", "bright_field", "dark_field", "com_x", "com_y"):
            assert mrcfile.validate(directory / f"{name}.mrc")
            found[name] = np.atleast_3d(mrcfile.read(directory / f"{name}.mrc")).reshape(4, 5)[::-1]  # the top first
            picture = cv2.imread(str(directory / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
            assert picture is not None
            assert picture.shape == (205, 256) or picture.shape[1] / picture.shape[0] == 5 / 4
        mean = mrcfile.read(directory / "mean_pattern.mrc").reshape(24, 24)
        np.testing.assert_allclose(mean, voxels.mean(axis=0), rtol=1e-5)
        # The slow and obvious way, from the masks that the mean gives.
        masks = detectors_for(voxels.mean(axis=0).astype(float), row0_at_bottom=True)
        assert masks.annulus is not None
        y, x = np.mgrid[:24, :24]
        away = np.hypot(y - masks.centre[0], x - masks.centre[1])
        for number, pattern in enumerate(voxels.astype(np.float64)):
            line, place = divmod(number, 5)
            total = pattern.sum()
            ring = (away >= masks.annulus[0]) & (away <= masks.annulus[1])
            assert found["sum"][line, place] == pytest.approx(total, rel=1e-5)
            assert found["bright_field"][line, place] == pytest.approx(pattern[away <= masks.radius].sum(), rel=1e-5)
            assert found["dark_field"][line, place] == pytest.approx(pattern[ring].sum(), rel=1e-5)
            right = (pattern * (x - masks.centre[1])).sum() / total
            up = (pattern * (y - masks.centre[0])).sum() / total
            assert found["com_x"][line, place] == pytest.approx(right, abs=1e-4)
            assert found["com_y"][line, place] == pytest.approx(up, abs=1e-4)
        # The disc moves right along a line and up from line to line.
        assert (np.diff(found["com_x"], axis=1) > 0).all()
        assert (np.diff(found["com_y"], axis=0) > 0).all()

    def test_the_masks_are_the_disc_of_the_mean_pattern(self) -> None:
        y, x = np.mgrid[:64, :64]
        mean = 50.0 * (np.hypot(x - 30, y - 35) <= 9) + 1
        mean[3, 3] = 1e6  # a hot pixel
        masks = detectors_for(mean, row0_at_bottom=True)
        assert masks.centre == pytest.approx((35, 30))
        assert masks.radius == pytest.approx(9, abs=0.3)
        assert masks.annulus == pytest.approx((1.25 * masks.radius, 28.5))

    @pytest.mark.parametrize("path", ["raster", "serpentine"])
    def test_the_first_line_is_the_top_and_every_second_one_may_run_backward(self, tmp_path: Path, path: str) -> None:
        values = np.arange(1, 7, dtype=np.float32)  # the sum of each pattern, as recorded
        source = write_mrc(tmp_path / "a.mrc", np.ones((6, 8, 8), np.float32) * values[:, None, None] / 64)
        words = ("--navigation-shape", "3", "2", f"--scan-path={path}", "--virtual")
        assert run(source, tmp_path / "out", *words) == 0
        picture = cv2.imread(str(tmp_path / "out/a.virtual/sum.png"), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        side = picture.shape[1] // 3
        greys = picture[side // 2 :: side, side // 2 :: side].astype(int)
        order = np.argsort(greys, axis=None).tolist()
        assert order == ([0, 1, 2, 3, 4, 5] if path == "raster" else [0, 1, 2, 5, 4, 3])

    def test_repeated_scans_are_images_and_frames_of_a_position_their_mean(self, tmp_path: Path) -> None:
        values = np.array([1, 3, 10, 30, 100, 300, 1000, 3000], np.float32)
        voxels = np.ones((8, 4, 4), np.float32) * values[:, None, None] / 16
        changes = {"Scan - Size X": "2", "Scan - Size Y": "1", "Scan - Camera Frames Per Point": "2"}
        source = direct_electron(tmp_path, voxels, **changes)
        assert run(source, tmp_path / "out", "--virtual") == 0
        image = mrcfile.read(tmp_path / "out/20241021_00405_movie.virtual/sum.mrc")
        np.testing.assert_allclose(image.reshape(2, 1, 2), [[[2, 20]], [[200, 2000]]])
        with mrcfile.open(tmp_path / "out/20241021_00405_movie.virtual/sum.mrc") as opened_image:
            assert opened_image.voxel_size.x == pytest.approx(5)
            assert opened_image.voxel_size.y == pytest.approx(2.5)

    @pytest.mark.large
    def test_memory_does_not_grow_with_the_patterns(self, tmp_path: Path) -> None:
        source = write_mrc(tmp_path / "a.mrc", rng.integers(0, 9, (500, 64, 64)).astype(np.int16))
        settings = Settings(navigation_shape=(25, 20), jobs=1, playback="forward", scale="linear")
        peaks = []
        for virtual in (True, False, True):  # the first one loads what is loaded once
            tracemalloc.start()
            convert(source, tmp_path / "a.avi", replace(settings, virtual=virtual))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[2] < peaks[1] + 1_500_000  # of patterns of 4 MB, or 16 MB as they are added up

    def test_what_is_no_scan_is_refused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        source = write_mrc(tmp_path / "a.mrc", patterns(2, 2))
        assert run(source, tmp_path / "out", "--virtual") == 1
        assert "is no scan that is known, of which --virtual makes images; give --navigation-shape" in (
            capsys.readouterr().err
        )


class TestDirectElectron:
    @pytest.mark.parametrize("suffix", ["", "_my_sample"])
    def test_the_settings_beside_a_movie_tell_of_the_scan(self, tmp_path: Path, suffix: str) -> None:
        description = described(direct_electron(tmp_path, patterns(4, 3), suffix))
        assert description.scan is None  # of the file by itself
        description = opened(tmp_path / f"20241021_00405{suffix}_movie.mrc")
        assert description.scan is not None
        assert (description.scan.columns, description.scan.rows) == (4, 3)
        assert description.scan.step_A == (5, 2.5)
        assert description.optics.voltage_kV == 200
        told = description.header["direct_electron"]
        assert isinstance(told, dict)
        assert (told["frames_per_second"], told["magnification"], told["camera"]) == (700, 1000, "DESim")
        assert "camera_length_cm" not in told
        known = inspect(tmp_path / f"20241021_00405{suffix}_movie.mrc")
        assert known.facts()["scan"] == f"4 x 3 positions by 20241021_00405{suffix}_info.txt, 5 x 2.5 Å apart"
        assert known.facts()["recording"] == "DESim, 700 frames a second, 200 kV"

    def test_a_region_of_the_scan_is_what_was_recorded(self, tmp_path: Path) -> None:
        changes = {"Scan - ROI Enable": "Enable", "Scan - ROI Type": "Serpentine"}
        changes |= {"Scan - ROI Size X": "2", "Scan - ROI Size Y": "5", "Scan - Size X": "16", "Scan - Size Y": "32"}
        description = opened(direct_electron(tmp_path, patterns(2, 5), **changes))
        assert description.scan is not None
        assert (description.scan.columns, description.scan.rows, description.scan.serpentine) == (2, 5, True)

    def test_positions_of_a_custom_scan_come_from_its_csv(self, tmp_path: Path) -> None:
        places = [(4, 0), (0, 0), (2, 3), (4, 0)]
        changes = {"Scan - Type": "XY File", "Scan - Size X": "5", "Scan - Size Y": "5"}
        source = direct_electron(tmp_path, np.ones((4, 4, 4), np.float32), **changes)
        with pytest.raises(InputError, match=r"scan of the type XY File, and no _scan_coordinates.csv lies beside it"):
            opened(source)
        (tmp_path / "20241021_00405_scan_coordinates.csv").write_text("".join(f"{x},{y}\n" for x, y in places))
        description = opened(source)
        assert description.scan is not None
        assert (description.scan.columns, description.scan.rows) == (5, 5)
        assert [description.scan.name(number) for number in range(3)] == ["x 4, y 0", "x 0, y 0", "x 2, y 3"]
        assert run(source, tmp_path / "out", "--virtual") == 0
        image = mrcfile.read(tmp_path / "out/20241021_00405_movie.virtual/sum.mrc").reshape(5, 5)[::-1]
        wanted = np.zeros((5, 5))
        wanted[[0, 0, 3], [4, 0, 2]] = 16
        np.testing.assert_allclose(image, wanted)

    @pytest.mark.parametrize("text", ["", "x,y\n", "1,2\n3\n", "-1,0\n", "0.5,1\n", "1\n2\n", "9999999,9999999\n"])
    def test_a_csv_that_makes_no_sense_is_refused(self, tmp_path: Path, text: str) -> None:
        source = direct_electron(tmp_path, patterns(2, 2), **{"Scan - Type": "Random"})
        (tmp_path / "20241021_00405_scan_coordinates.csv").write_text(text)
        with pytest.raises(InputError, match=r"no whole numbers x,y in each line|positions is none"):
            opened(source)

    def test_the_shape_that_the_user_gives_wins(self, tmp_path: Path) -> None:
        source = direct_electron(tmp_path, patterns(4, 3), **{"Scan - Type": "Random"})
        description = opened(source, navigation_shape=(6, 2))
        assert description.scan is not None
        assert (description.scan.columns, description.optics.voltage_kV) == (6, 200)

    def test_a_movie_without_a_scan_has_the_pixel_size_of_the_specimen(self, tmp_path: Path) -> None:
        description = opened(direct_electron(tmp_path, patterns(2, 2), **{"Scan - Enable": "Disable"}))
        assert description.scan is None
        assert description.voxel_size_A == (5, 2.5, None)

    def test_the_first_virtual_image_is_the_thumbnail(self, tmp_path: Path) -> None:
        source = direct_electron(tmp_path, patterns(4, 3))
        image = np.arange(12).reshape(1, 3, 4).astype(np.float32)
        write_mrc(tmp_path / "20241021_00405_1_Virt #1_sum.mrc", 11 - image)
        write_mrc(tmp_path / "20241021_00405_0_Virt #0_total_sum.mrc", image)
        write_mrc(tmp_path / "20241021_00405_ext1_Ext #1.mrc", image)
        assert run(source, tmp_path / "out", "--thumbnail=64") == 0
        picture = cv2.imread(str(tmp_path / "out/20241021_00405_movie.png"), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        assert picture.shape == (48, 64)
        wanted = np.rint(np.flipud(np.arange(12).reshape(3, 4)) / 11 * 255)
        assert np.abs(picture[8::16, 8::16] - wanted).max() <= 2

    def test_images_beside_a_movie_are_named_and_have_its_step(self, tmp_path: Path) -> None:
        source = direct_electron(tmp_path, patterns(4, 3), "_my_0_sample")
        image = np.zeros((1, 3, 4), np.float32)
        virtual = [f"20241021_00405_my_0_sample_{name}.mrc" for name in ("0_sum", "1_Annular dark field")]
        external = [f"20241021_00405_my_0_sample_ext{name}.mrc" for name in ("1_HAADF", "2_BF")]
        for name in (*virtual, *external[:1]):
            write_mrc(tmp_path / name, image)
        write_mrc(tmp_path / external[1], image[:, :2])  # of another scan
        write_mrc(tmp_path / "20241021_00406_my_0_sample_0_sum.mrc", image)
        told = opened(source).header["direct_electron"]
        assert isinstance(told, dict)
        assert (told["virtual_images"], told["external_images"]) == (virtual, external)
        for name in (*virtual, *external):
            description = opened(tmp_path / name)
            assert description.scan is None
            assert description.optics.voltage_kV == 200
            assert description.voxel_size_A == (None if name == external[1] else (5, 2.5, None))
        assert "direct_electron" not in opened(tmp_path / "20241021_00406_my_0_sample_0_sum.mrc").header

    def test_settings_that_change_have_the_movie_made_anew(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = direct_electron(tmp_path, patterns(4, 3))
        for changes, status in (({}, "1 converted"), ({}, "1 up to date"), ({"Scan - Size X": "12"}, "1 converted")):
            if changes:
                text = (tmp_path / "20241021_00405_info.txt").read_text()
                (tmp_path / "20241021_00405_info.txt").write_text(
                    text.replace("= 4\n", "= 12\n").replace("= 3\n", "= 1\n")
                )
            assert run(source, tmp_path / "out") == 0
            assert capsys.readouterr().err.splitlines()[-1] == status


class TestVelox:
    @staticmethod
    def stack(path: Path, count: int, right: int, bottom: int, left: int = 0) -> Path:
        """A stack with the extended header of Velox, whose scan has this size."""
        records = np.zeros(count, get_ext_header_dtype(b"FEI2", "<"))
        records["Metadata size"] = records.dtype.itemsize
        records["Scan size left"], records["Scan size right"], records["Scan size bottom"] = left, right, bottom
        records["Full scan FOV X"], records["Full scan FOV Y"] = 8e-9, 3e-9
        voxels = patterns(count, 1, size=8)
        return write(path, mrc(voxels, 2, exttyp=b"FEI2", nversion=20140, extended=records.tobytes()))

    def test_its_region_of_the_scan_is_the_shape_where_that_fits(self, tmp_path: Path) -> None:
        description = opened(self.stack(tmp_path / "a.mrc", 12, 4, 3))
        assert description.scan is not None
        assert (description.scan.columns, description.scan.rows) == (4, 3)
        assert description.scan.step_A == pytest.approx((20, 10))
        assert description.storage["scan"] == "4 x 3 positions by the extended header, 20 x 10 Å apart"

    def test_the_step_in_a_part_of_the_field_is_not_known(self, tmp_path: Path) -> None:
        scan = opened(self.stack(tmp_path / "a.mrc", 12, 14, 3, left=10)).scan
        assert scan is not None
        assert (scan.columns, scan.rows, scan.step_A) == (4, 3, None)

    @pytest.mark.parametrize(("right", "bottom"), [(4, 4), (0, 0), (-4, -3), (1024, 1024)])
    def test_any_other_region_is_none(self, tmp_path: Path, right: int, bottom: int) -> None:
        assert opened(self.stack(tmp_path / "a.mrc", 12, right, bottom)).scan is None
