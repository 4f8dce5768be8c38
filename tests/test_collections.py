"""Collections: which images they name, in which order, where these lie, and what is wrong with them."""

import gzip
import os
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
from collected import OPTICS, images, loop, particles, write_cs, write_stack, write_star, write_tilts
from movies import frames, less_memory_than, reference, run, shown
from mrc_bytes import described, read, sections_of
from numpy.typing import NDArray

from mrc2movie import Settings, convert, inspect
from mrc2movie.conversion.preparation import selection_of
from mrc2movie.errors import InputError
from mrc2movie.picture.sheet import cells_of
from mrc2movie.readers import open_volume

TILTS = ("rlnMicrographName", "rlnTomoNominalStageTiltAngle")


def two_stacks(project: Path) -> NDArray[np.int16]:
    """Write stacks of three and of two images; returns all five."""
    write_stack(project / "Extract/job012/a.mrcs", images(3))
    write_stack(project / "Extract/job012/b.mrcs", images(2, 3))
    return images(5)


def open_files() -> int:
    """How many files this process has open; Linux only."""
    return len(list(Path("/proc/self/fd").iterdir()))


def refused(path: Path, **settings: object) -> str:
    """What `inspect` or a conversion says of a collection that it refuses."""
    with pytest.raises(InputError) as raised:
        convert(path, path.parent / "refused.avi", Settings(**settings))  # type: ignore[arg-type]
    return str(raised.value)


class TestRelion:
    def test_particles_count_from_1_and_lie_below_the_project(self, tmp_path: Path) -> None:
        voxels = two_stacks(tmp_path)
        names = ["000002@Extract/job012/a.mrcs", "1@Extract/job012/b.mrcs", "000001@Extract/job012/a.mrcs"]
        star = particles(tmp_path / "Select/job020/particles.star", names)
        wanted = voxels[[1, 3, 0]]
        made = shown(tmp_path, star, "--range=minmax")
        np.testing.assert_array_equal(made, reference(wanted, wanted.min(), wanted.max()))
        assert [path.name for path in (tmp_path / "out").glob("*.avi")] == ["particles.avi"]

    def test_what_the_optics_group_and_the_rows_tell_is_known(self, tmp_path: Path) -> None:
        two_stacks(tmp_path)
        names = ["1@Extract/job012/a.mrcs", "2@Extract/job012/a.mrcs"]
        star = particles(tmp_path / "x.star", names, 1.37, rlnDefocusU=[11000, 13000], rlnDefocusV=[10000, 12000])
        description = described(star)
        assert description.voxel_size_A == (1.37, 1.37, None)
        assert description.kind == "particle stack"
        assert description.optics.defocus_um == pytest.approx(1.15)
        assert (description.optics.voltage_kV, description.optics.cs_mm) == (300, 2.7)

    def test_version_3_0_has_the_pixel_size_as_detector_and_magnification(self, tmp_path: Path) -> None:
        two_stacks(tmp_path)
        columns = ("rlnImageName", "rlnVoltage", "rlnDetectorPixelSize", "rlnMagnification")
        rows = [("000001@Extract/job012/a.mrcs", 200, 5.0, 40000)]
        description = described(write_star(tmp_path / "x.star", loop("", columns, rows)))
        assert description.voxel_size_A == (1.25, 1.25, None)
        assert description.optics.voltage_kV == 200

    def test_a_star_without_names_means_the_stack_of_its_own_name(self, tmp_path: Path) -> None:
        write_stack(tmp_path / "x.mrcs", images(3))
        star = write_star(tmp_path / "x.star", loop("", ["rlnDefocusU", "rlnDefocusV"], [(1e4, 1e4)] * 3))
        np.testing.assert_array_equal(read(star), images(3))
        write_star(star, loop("", ["rlnDefocusU", "rlnDefocusV"], [(1e4, 1e4)] * 4))
        assert "it has 3 images" in refused(star)

    def test_names_without_numbers_mean_the_images_one_after_the_other(self, tmp_path: Path) -> None:
        two_stacks(tmp_path)
        a, b = "Extract/job012/a.mrcs", "Extract/job012/b.mrcs"
        star = write_star(tmp_path / "x.star", loop("", ["rlnImageName"], [(name,) for name in (a, b, a, b, a)]))
        np.testing.assert_array_equal(read(star), images(5)[[0, 3, 1, 4, 2]])

    def test_class_averages_of_a_model_are_images(self, tmp_path: Path) -> None:
        write_stack(tmp_path / "run_classes.mrcs", images(3))
        general = "\ndata_model_general\n\n_rlnReferenceDimensionality 2 \n_rlnPixelSize 4.5 \n \n"
        rows = [(f"{number:06d}@run_classes.mrcs", 0.3) for number in (1, 2, 3)]
        star = write_star(
            tmp_path / "run_model.star",
            general,
            loop("model_classes", ["rlnReferenceImage", "rlnClassDistribution"], rows),
        )
        assert described(star).voxel_size_A == (4.5, 4.5, None)
        np.testing.assert_array_equal(read(star), images(3))


class TestTiltSeries:
    ANGLES = (0.0, 3.0, -3.0)

    def project(self, tmp_path: Path) -> Path:
        """Two tilt series as RELION 5 leaves them after the motion correction."""
        rows = []
        for number, name in enumerate(("TS_01", "TS_02")):
            tilts = []
            for tilt, angle in enumerate(self.ANGLES):
                image = f"MotionCorr/job002/frames/{name}_{tilt:03d}_{angle:g}.mrc"
                write_stack(tmp_path / image, images(1, 3 * number + tilt))
                tilts.append((image, angle))
            star = f"MotionCorr/job002/tilt_series/{name}.star"
            write_star(tmp_path / star, loop(name, TILTS, tilts))
            rows.append((name, star, 300.0, 1.35))
        columns = ("rlnTomoName", "rlnTomoTiltSeriesStarFile", "rlnVoltage", "rlnTomoTiltSeriesPixelSize")
        return write_star(tmp_path / "MotionCorr/job002/corrected_tilt_series.star", loop("global", columns, rows))

    def test_each_tilt_series_of_relion_5_becomes_a_movie_of_its_name_by_tilt(self, tmp_path: Path) -> None:
        star = self.project(tmp_path)
        words = ("--codec=FFV1", "--clip-limit=0", "--range=minmax", "--playback=forward")
        assert run(star, tmp_path / "out", *words) == 0
        assert sorted(path.name for path in (tmp_path / "out").glob("*.avi")) == ["TS_01.avi", "TS_02.avi"]
        second = images(6)[[5, 3, 4]]  # -3, 0 and 3 degrees
        np.testing.assert_array_equal(frames(tmp_path / "out/TS_02.avi"), reference(second, second.min(), second.max()))
        with open_volume(star, series="TS_02") as volume:
            assert volume.description.tilts is not None
            assert volume.description.tilts.degrees == self.ANGLES
            assert volume.description.voxel_size_A == (1.35, 1.35, None)
            assert volume.description.optics.voltage_kV == 300

    def test_the_star_of_one_tilt_series_is_an_input_too(self, tmp_path: Path) -> None:
        self.project(tmp_path)
        star = tmp_path / "MotionCorr/job002/tilt_series/TS_01.star"
        assert described(star).kind == "tilt series"
        np.testing.assert_array_equal(read(star), images(3))

    def test_one_movie_of_several_tilt_series_is_refused(self, tmp_path: Path) -> None:
        assert "has 2 tilt series (TS_01, TS_02)" in refused(self.project(tmp_path))

    def test_a_tilt_that_is_missing_is_left_out_with_a_warning(self, tmp_path: Path) -> None:
        star = self.project(tmp_path)
        (tmp_path / "MotionCorr/job002/frames/TS_01_001_3.mrc").unlink()
        with open_volume(star, series="TS_01") as volume:
            np.testing.assert_array_equal(sections_of(volume), images(3)[[0, 2]])
            (warning,) = volume.description.warnings
            assert volume.description.tilts is not None
            assert volume.description.tilts.degrees == (0.0, -3.0)
        assert warning.startswith("row 2 names MotionCorr/job002/frames/TS_01_001_3.mrc, which is not there")

    def test_tilts_that_are_mostly_missing_are_an_error(self, tmp_path: Path) -> None:
        star = self.project(tmp_path)
        for tilt in ("000_0", "001_3"):
            (tmp_path / f"MotionCorr/job002/frames/TS_01_{tilt}.mrc").unlink()
        with pytest.raises(InputError, match="2 of its 3 images cannot be used: row 1 names"):
            open_volume(star, series="TS_01")

    def test_an_mdoc_of_single_images_is_shown_by_tilt(self, tmp_path: Path) -> None:
        paths = {0.0: r"D:\frames\TS_03_000_0.0.tif", 3.0: r"D:\frames\TS_03_001_3.0.tif", -3.0: "/x/TS_03_002.eer"}
        mdoc = write_tilts(tmp_path / "TS_03.mrc.mdoc", paths)
        for number, name in enumerate(("TS_03_000_0.0", "TS_03_001_3.0", "TS_03_002")):
            write_stack(tmp_path / f"{name}.mrc", images(1, number))
        assert run(tmp_path, tmp_path / "out", "--pattern=*.mdoc") == 0
        assert [path.name for path in (tmp_path / "out").glob("*.avi")] == ["TS_03.avi"]
        description = described(mdoc)
        assert description.tilts is not None
        assert description.tilts.degrees == (0.0, 3.0, -3.0)
        assert description.voxel_size_A == (2.0, 2.0, None)
        wanted = images(3)[[2, 0, 1]]
        made = shown(tmp_path, mdoc, "--range=minmax")
        np.testing.assert_array_equal(made, reference(wanted, wanted.min(), wanted.max()))

    def test_the_header_of_a_tilt_knows_its_pixel_size_better_than_the_mdoc(self, tmp_path: Path) -> None:
        mdoc = write_tilts(tmp_path / "TS.mdoc", {0.0: "a.tif"}, pixel_size_A=1.0)
        write_stack(tmp_path / "a.mrc", images(1), voxel_size_A=4.0)
        description = described(mdoc)
        assert description.voxel_size_A == (4.0, 4.0, None)
        assert "4 Å in a.mrc (row 1), 1 Å in row 1: the former is taken" in description.warnings[0]

    def test_frames_in_place_of_their_average_are_refused(self, tmp_path: Path) -> None:
        mdoc = write_tilts(tmp_path / "TS.mdoc", {0.0: "a.mrc"})
        write_stack(tmp_path / "a.mrc", images(8))
        assert "without a number, and it has 8 images" in refused(mdoc)

    def test_an_mdoc_of_a_stack_says_what_to_convert(self, tmp_path: Path) -> None:
        write_stack(tmp_path / "a.mrc", images(2))
        mdoc = tmp_path / "a.mrc.mdoc"
        mdoc.write_text("[ZValue = 0]\nTiltAngle = 1\n[ZValue = 1]\nTiltAngle = 2\n")
        assert refused(mdoc).endswith("names no images of tilts (ZValue, SubFramePath); convert a.mrc itself")


class TestCryosparc:
    def test_particles_count_from_0_and_lie_below_the_project(self, tmp_path: Path) -> None:
        voxels = two_stacks(tmp_path)
        names = [b">Extract/job012/b.mrcs", b"Extract/job012/a.mrcs", b">Extract/job012/b.mrcs"]
        cs = write_cs(
            tmp_path / "J7/J7_020_particles.cs",
            blob__path=names,
            blob__idx=np.array([1, 2, 0], np.uint32),
            blob__psize_A=np.array([1.1, 1.1, 1.1], np.float32),
            blob__shape=np.full((3, 2), 8, np.uint32),
            ctf__df1_A=[2e4, 2e4, 2e4],
        )
        wanted = voxels[[4, 2, 3]]
        made = shown(tmp_path, cs, "--range=minmax")
        np.testing.assert_array_equal(made, reference(wanted, wanted.min(), wanted.max()))
        description = described(cs)
        assert description.voxel_size_A is not None
        assert description.voxel_size_A[0] == pytest.approx(1.1)
        assert description.optics.defocus_um == 2

    def job(self, tmp_path: Path, folder: str, word: str, digits: int) -> Path:
        """A job folder with stacks of 2, 1 and 1 images, 0, 1 and 3."""
        for number, (count, first) in {0: (2, 0), 1: (1, 2), 3: (1, 9)}.items():
            write_stack(tmp_path / f"J12/{folder}/batch_{number:0{digits}}_{word}.mrc", images(count, first))
        write_cs(tmp_path / "J12/J12_passthrough_particles.cs", uid=[1, 2, 3, 4], ctf__df1_A=[1e4] * 4)
        return tmp_path / "J12"

    @pytest.mark.parametrize(
        ("folder", "word", "digits"),
        [("restack", "restacked", 1), ("restack", "restacked", 6), ("downsample", "downsample", 3)],
    )
    def test_a_job_folder_is_its_numbered_stacks_until_the_first_gap(
        self, tmp_path: Path, folder: str, word: str, digits: int
    ) -> None:
        job = self.job(tmp_path, folder, word, digits)
        np.testing.assert_array_equal(read(job), images(3))
        assert run(job, tmp_path / "out") == 0
        assert [path.name for path in (tmp_path / "out").glob("*.avi")] == ["J12.avi"]

    def test_restacked_images_are_wanted_before_smaller_ones(self, tmp_path: Path) -> None:
        self.job(tmp_path, "restack", "restacked", 1)
        write_stack(tmp_path / "J12/downsample/batch_000000_downsample.mrc", images(5, 50))
        np.testing.assert_array_equal(read(tmp_path / "J12"), images(3))
        (tmp_path / "J12/restack/batch_0_restacked.mrc").unlink()
        np.testing.assert_array_equal(read(tmp_path / "J12"), images(5, 50))

    def test_rows_that_are_fewer_than_the_images_are_not_used(self, tmp_path: Path) -> None:
        job = self.job(tmp_path, "restack", "restacked", 1)
        write_cs(job / "J12_passthrough_particles.cs", ctf__df1_A=[1e4] * 2)
        description = described(job)
        assert description.optics.defocus_um is None
        assert "its 2 rows do not tell of all the 3 images" in description.warnings[0]

    def test_a_job_folder_with_a_pattern_is_a_directory_like_any_other(self, tmp_path: Path) -> None:
        job = self.job(tmp_path, "restack", "restacked", 1)
        assert run(job, tmp_path / "out", "--recursive", "--pattern=batch_*.mrc") == 0
        assert len(list((tmp_path / "out/restack").glob("*.avi"))) == 3

    def test_objects_in_a_file_are_never_loaded(self, tmp_path: Path) -> None:
        records = np.array([(b"a.mrc", 0, "x")], [("blob/path", "S5"), ("blob/idx", "u4"), ("evil", object)])
        np.save(tmp_path / "x.npy", records, allow_pickle=True)
        (tmp_path / "x.npy").rename(tmp_path / "x.cs")
        assert "holds Python objects, which are never loaded" in refused(tmp_path / "x.cs")

    def test_a_file_without_images_says_which_one_has_them(self, tmp_path: Path) -> None:
        cs = write_cs(tmp_path / "J3_passthrough_particles.cs", uid=[1])
        assert "it has no blob/path and blob/idx" in refused(cs)

    def test_a_file_that_is_cut_short_is_refused(self, tmp_path: Path) -> None:
        cs = write_cs(tmp_path / "x.cs", blob__path=[b"a.mrc"] * 9, blob__idx=range(9))
        cs.write_bytes(cs.read_bytes()[:-1])
        assert "is cut short: its 9 rows are not all there" in refused(cs)


class TestWhereImagesLie:
    def test_image_dir_finds_them_by_their_bare_names(self, tmp_path: Path) -> None:
        two_stacks(tmp_path / "project")
        star = particles(tmp_path / "elsewhere/x.star", ["2@Extract/job012/a.mrcs", "1@Extract/job012/b.mrcs"])
        assert "row 1 names Extract/job012/a.mrcs, which is not there; --image-dir DIR" in refused(star)
        directory = str(tmp_path / "project/Extract/job012")
        wanted = images(5)[[1, 3]]
        made = shown(tmp_path, star, "--range=minmax", f"--image-dir={directory}")
        np.testing.assert_array_equal(made, reference(wanted, wanted.min(), wanted.max()))
        assert inspect(star, Settings(image_dir=directory)).error == ""

    def test_two_files_of_one_bare_name_are_not_taken_for_each_other(self, tmp_path: Path) -> None:
        star = particles(tmp_path / "x.star", ["1@one/a.mrcs", "1@two/a.mrcs"])
        write_stack(tmp_path / "images/a.mrcs", images(1))
        assert "one/a.mrcs and two/a.mrcs have the same name" in refused(star, image_dir=str(tmp_path / "images"))

    def test_the_nearest_directory_above_wins(self, tmp_path: Path) -> None:
        write_stack(tmp_path / "a.mrcs", images(1, 7))
        write_stack(tmp_path / "deep/a.mrcs", images(1))
        np.testing.assert_array_equal(read(particles(tmp_path / "deep/er/x.star", ["1@a.mrcs"])), images(1))

    def test_collections_are_taken_from_a_directory_by_pattern_only(self, tmp_path: Path) -> None:
        two_stacks(tmp_path / "in")
        particles(tmp_path / "in/x.star", ["1@Extract/job012/a.mrcs", "2@Extract/job012/b.mrcs"])
        write_stack(tmp_path / "in/y.mrc", images(1))
        assert run(tmp_path / "in", tmp_path / "plain") == 0
        assert [path.name for path in (tmp_path / "plain").glob("*.avi")] == ["y.avi"]
        assert run(tmp_path / "in", tmp_path / "stars", "--pattern=*.star") == 0
        assert [path.name for path in (tmp_path / "stars").glob("*.avi")] == ["x.avi"]

    def test_compressed_images_and_mrcz_are_images_too(self, tmp_path: Path) -> None:
        plain = write_stack(tmp_path / "a.mrc", images(3))
        (tmp_path / "a.mrcs.gz").write_bytes(gzip.compress(plain.read_bytes()))
        star = particles(tmp_path / "x.star", [f"{number}@a.mrcs.gz" for number in (3, 1, 2, 1)])
        np.testing.assert_array_equal(read(star), images(3)[[2, 0, 1, 0]])


class TestWhatIsWrong:
    def test_an_image_beyond_its_stack_is_named_with_its_row(self, tmp_path: Path) -> None:
        two_stacks(tmp_path)
        star = particles(tmp_path / "x.star", ["3@Extract/job012/a.mrcs", "4@Extract/job012/a.mrcs"])
        assert f"row 2 names image 4 of {tmp_path}/Extract/job012/a.mrcs, whose last is 3" in refused(star)
        cs = write_cs(tmp_path / "x.cs", blob__path=[b"Extract/job012/b.mrcs"] * 2, blob__idx=[1, 2])
        assert f"row 2 names image 2 of {tmp_path}/Extract/job012/b.mrcs, whose last is 1" in refused(cs)
        cs = write_cs(tmp_path / "x.cs", blob__path=[b"Extract/job012/b.mrcs"] * 2, blob__idx=[1, -1])
        assert f"row 2 names image -1 of {tmp_path}/Extract/job012/b.mrcs, whose last is 1" in refused(cs)

    def test_numbers_that_make_no_sense_are_no_warnings(self, tmp_path: Path) -> None:
        two_stacks(tmp_path)
        angles = np.array([3e38, np.nan], np.float32)
        known = {"blob__path": [b"Extract/job012/b.mrcs"] * 2, "ctf__df_angle_rad": angles}
        assert described(write_cs(tmp_path / "x.cs", **known, blob__idx=[1, 0])).shape[0] == 2
        assert "it has no blob/path and blob/idx" in refused(write_cs(tmp_path / "x.cs", **known, blob__idx=angles))
        star = particles(tmp_path / "x.star", ["1@Extract/job012/a.mrcs"], rlnClassNumber=["1e25"])
        assert described(star).classes is None

    def test_image_0_of_a_star_is_refused(self, tmp_path: Path) -> None:
        two_stacks(tmp_path)
        star = particles(tmp_path / "x.star", ["1@Extract/job012/a.mrcs", "0@Extract/job012/a.mrcs"])
        assert "row 2 names 0@Extract/job012/a.mrcs: images are counted from 1" in refused(star)

    def test_images_of_another_size_are_named_with_their_row(self, tmp_path: Path) -> None:
        two_stacks(tmp_path)
        write_stack(tmp_path / "c.mrcs", images(1, columns=9))
        star = particles(tmp_path / "x.star", ["1@Extract/job012/a.mrcs"] * 2 + ["1@c.mrcs"])
        assert f"row 3 names {tmp_path}/c.mrcs, whose images are 9 x 6, and those of row 1 are 8 x 6" in refused(star)

    def test_a_file_that_is_no_image_is_named_with_its_row(self, tmp_path: Path) -> None:
        (tmp_path / "a.mrcs").write_text("nothing of the kind")
        message = refused(particles(tmp_path / "x.star", ["1@a.mrcs"]))
        assert message.startswith(f"{tmp_path}/x.star: row 1 names {tmp_path}/a.mrcs: it is no MRC file but a text")

    def test_a_pixel_size_that_contradicts_the_star_is_an_error(self, tmp_path: Path) -> None:
        two_stacks(tmp_path)
        star = particles(tmp_path / "x.star", ["1@Extract/job012/a.mrcs"], 1.5)
        assert "--pixel-size 3 contradicts the 1.5 Å of x.star, row 1" in refused(star, pixel_size=3)
        convert(star, tmp_path / "x.avi", Settings(pixel_size=1.501))

    def test_a_header_that_contradicts_the_star_is_a_warning(self, tmp_path: Path) -> None:
        write_stack(tmp_path / "a.mrcs", images(1), voxel_size_A=3.0)
        description = described(particles(tmp_path / "x.star", ["1@a.mrcs"], 1.5))
        assert description.voxel_size_A == (1.5, 1.5, None)
        assert "1.5 Å in row 1, 3 Å in a.mrcs (row 1): the former is taken" in description.warnings[0]

    def test_pixel_sizes_that_differ_between_rows_are_none(self, tmp_path: Path) -> None:
        two_stacks(tmp_path)
        optics = loop("optics", OPTICS, [("one", 1, 300, 2.7, 1.5), ("two", 2, 300, 2.7, 2.5)])
        rows = [("1@Extract/job012/a.mrcs", 1), ("2@Extract/job012/a.mrcs", 2)]
        star = write_star(tmp_path / "x.star", optics, loop("particles", ["rlnImageName", "rlnOpticsGroup"], rows))
        description = described(star)
        assert description.voxel_size_A is None
        assert "1.5 Å in row 1, 2.5 Å in row 2: none is taken" in description.warnings[0]

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("data_\n\nloop_\n_rlnVoltage #1\n300\n", "names no images"),
            ("data_\n\nloop_\n_rlnImageName #1\n_rlnVoltage #2\n1@a.mrcs 300\n2@a.mrcs\n", "line 7 has 1 values"),
            ("data_\n\nloop_\n_rlnImageName #1\n_rlnVoltage #2\n", "names no images"),
            ("data_\nstray words\n", "line 2 belongs to no table"),
            ("data_\n\nloop_\n_rlnImageName #1\n1@a.mrcs\na.mrcs\n", "row 2 names"),
        ],
    )
    def test_a_damaged_star_is_refused_with_its_line(self, tmp_path: Path, text: str, why: str) -> None:
        (tmp_path / "x.star").write_text(text)
        assert why in refused(tmp_path / "x.star")


class TestReading:
    def test_images_of_several_types_and_orientations_are_shown_alike(self, tmp_path: Path) -> None:
        write_stack(tmp_path / "a.mrcs", images(1))
        write_stack(tmp_path / "b.mrcs", images(1, 1, dtype="float32"))
        # What Thermo Fisher writes has its top row first.
        write_stack(tmp_path / "c.mrcs", images(1, 2)[:, ::-1], exttyp=b"FEI1", nversion=20140)
        star = particles(tmp_path / "x.star", ["1@a.mrcs", "1@b.mrcs", "1@c.mrcs"])
        np.testing.assert_array_equal(read(star), images(3))
        assert described(star).dtype == np.float32

    @pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="there is no /proc")
    def test_few_files_are_open_at_a_time_in_any_order(self, tmp_path: Path) -> None:
        order = random.Random(1).sample([(file, image) for file in range(40) for image in range(3)], 120)
        for file in range(40):
            write_stack(tmp_path / f"{file}.mrcs", images(3, 3 * file))
        star = particles(tmp_path / "x.star", [f"{image + 1}@{file}.mrcs" for file, image in order])
        before = open_files()
        most = 0
        with open_volume(star) as volume:
            scratch = np.empty(volume.scratch_bytes, np.uint8)
            for number, (file, image) in enumerate(order):
                section = volume.section(number)(scratch)
                np.testing.assert_array_equal(section, images(1, 3 * file + image)[0])
                most = max(most, open_files())
        assert most - before <= 10
        assert open_files() == before

    def test_a_row_costs_a_few_bytes(self, tmp_path: Path) -> None:
        write_stack(tmp_path / "stacks/a.mrcs", images(1, rows=2, columns=2))
        rows = 20_000
        star = particles(tmp_path / "x.star", ["000001@stacks/a.mrcs"] * rows, rlnDefocusU=[12345.678] * rows)
        with less_memory_than(6_000_000 + 100 * rows), open_volume(star) as volume:
            assert volume.description.shape == (rows, 2, 2)


class TestClasses:
    """Four class averages, dark to bright, of which the third is the largest class and the first the smallest."""

    SHARES = (0.05, 0.2, 0.5, 0.25)

    def averages(self, tmp_path: Path, iteration: int = 25) -> Path:
        """A stack as RELION leaves it, and its model; each average of its own grey, brighter with the iterations."""
        flat = (np.ones((4, 16, 16)) * (np.arange(1, 5)[:, None, None] * 40 + iteration)).astype("float32")
        flat[:, 0] = 0  # the bottom row
        stack = write_stack(tmp_path / f"run_it{iteration:03d}_classes.mrcs", flat)
        rows = [(f"{number:06d}@{stack.name}", share) for number, share in enumerate(self.SHARES, start=1)]
        table = loop("model_classes", ["rlnReferenceImage", "rlnClassDistribution"], rows)
        write_star(tmp_path / f"run_it{iteration:03d}_model.star", table)
        return stack

    def order(self, tmp_path: Path, source: Path, levels: dict[int, int]) -> list[int]:
        """The classes in the contact sheet of a movie, from the upper left on, by their greys."""
        words = ("--range=0,255", "--clip-limit=0", "--contact-sheet")
        assert run(source, tmp_path / "sheet", *words) == 0
        (path,) = (tmp_path / "sheet").glob("*.contact.png")
        sheet = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert sheet is not None
        places = {}
        for number, level in levels.items():
            rows, columns = np.nonzero(sheet == level)
            assert len(rows) > 1000
            places[number] = (int(rows.min()), int(columns.min()))
        return sorted(places, key=places.__getitem__)

    @pytest.mark.parametrize("name", ["run_it025_classes.mrcs", "run_it025_model.star"])
    def test_the_contact_sheet_shows_the_largest_class_first(self, tmp_path: Path, name: str) -> None:
        self.averages(tmp_path)
        assert self.order(tmp_path, tmp_path / name, {1: 65, 2: 105, 3: 145, 4: 185}) == [3, 4, 2, 1]

    def test_the_captions_are_the_class_and_its_share(self, tmp_path: Path) -> None:
        description = described(self.averages(tmp_path))
        cells = cells_of(description, selection_of(description, Settings()))
        assert list(cells.items()) == [(2, "3: 50.0 %"), (3, "4: 25.0 %"), (1, "2: 20.0 %"), (0, "1: 5.0 %")]

    def test_classes_of_cryosparc_count_from_0_and_are_as_large_as_its_particles_say(self, tmp_path: Path) -> None:
        flat = (np.ones((3, 16, 16)) * np.arange(1, 4)[:, None, None] * 60).astype("float32")
        stack = write_stack(tmp_path / "J5/J5_020_class_averages.mrc", flat)
        write_cs(tmp_path / "J5/J5_020_particles.cs", alignments2D__class=np.array([1, 1, 0, 1, 2, 2], np.uint32))
        averages = write_cs(
            tmp_path / "J5/J5_020_class_averages.cs", blob__path=[b"J5/J5_020_class_averages.mrc"] * 2, blob__idx=[2, 1]
        )
        description = described(stack)
        cells = cells_of(description, selection_of(description, Settings()))
        assert list(cells.values()) == ["1: 50.0 %", "2: 33.3 %", "0: 16.7 %"]
        description = described(averages)
        cells = cells_of(description, selection_of(description, Settings()))
        assert list(cells.items()) == [(1, "1: 50.0 %"), (0, "2: 33.3 %")]

    def test_particles_are_sorted_by_their_classes_and_shown_with_both_numbers(self, tmp_path: Path) -> None:
        write_stack(tmp_path / "a.mrcs", images(6))
        star = particles(tmp_path / "x.star", [f"{n}@a.mrcs" for n in range(1, 7)], rlnClassNumber=[7, 2, 2, 7, 7, 4])
        description = described(star)
        cells = cells_of(description, selection_of(description, Settings(playback="backward", only="1:")))
        assert list(cells.values()) == ["3, class 7", "4, class 7", "1, class 2", "2, class 2", "5, class 4"]
        assert [5 - position for position in cells] == [3, 4, 1, 2, 5]

    def test_a_sheet_of_many_particles_has_some_of_every_large_class(self, tmp_path: Path) -> None:
        write_stack(tmp_path / "a.mrcs", images(1))
        numbers = [1] * 500 + [2] * 300 + [3] * 200
        star = particles(tmp_path / "x.star", ["1@a.mrcs"] * 1000, rlnClassNumber=numbers)
        description = described(star)
        shown = [
            caption.split()[-1] for caption in cells_of(description, selection_of(description, Settings())).values()
        ]
        assert len(shown) == 200
        assert [shown.count(number) for number in "123"] == pytest.approx([100, 60, 40], abs=1)

    def test_a_sheet_of_particles_without_classes_has_their_numbers(self, tmp_path: Path) -> None:
        write_stack(tmp_path / "a.mrcs", images(1))
        description = described(particles(tmp_path / "x.star", ["1@a.mrcs"] * 500))
        captions = list(cells_of(description, selection_of(description, Settings())).values())
        assert (len(captions), captions[0], captions[-1]) == (200, "0", "499")

    def test_a_model_of_other_averages_is_not_believed(self, tmp_path: Path) -> None:
        stack = self.averages(tmp_path)
        write_stack(stack, images(3))
        assert described(stack).classes is None

    @pytest.mark.parametrize("name", ["run_it002_model.star", "run_it002_classes.mrcs", "run_it002_optimiser.star"])
    def test_iterations_are_shown_one_after_the_other_with_each_class_in_its_place(
        self, tmp_path: Path, name: str
    ) -> None:
        for iteration in (0, 1, 2, 3):
            self.averages(tmp_path, iteration)
        (tmp_path / "run_it002_optimiser.star").touch()
        words = ("--iterations", "--range=0,255", "--codec=FFV1", "--clip-limit=0", "--playback=forward")
        assert run(tmp_path / name, tmp_path / "out", *words) == 0
        (movie,) = (tmp_path / "out").glob("*.avi")
        shown = frames(movie)
        assert len(shown) == 3  # the fourth iteration came later
        for iteration, frame in enumerate(shown):
            wanted = np.zeros((33, 33), np.uint8)  # two in a row, with a gutter of one pixel
            for place, number in enumerate([3, 4, 2, 1]):
                top, left = 17 * (place // 2), 17 * (place % 2)
                wanted[top : top + 15, left : left + 16] = 40 * number + iteration
            np.testing.assert_array_equal(frame[:33, :33], wanted)  # padded to an even size

    def test_iterations_of_cryosparc_are_found_and_named(self, tmp_path: Path) -> None:
        for iteration in (0, 9, 10):
            write_stack(tmp_path / f"J5/J5_{iteration:03d}_class_averages.mrc", images(2, iteration))
        write_stack(tmp_path / "J5/J55_004_class_averages.mrc", images(9))
        with open_volume(tmp_path / "J5/J5_010_class_averages.mrc", iterations=True) as volume:
            description = volume.description
            assert description.shape == (3, 13, 8)
            last = sections_of(volume)[2]  # its row 0 is the bottom, and the first average on top
            np.testing.assert_array_equal([last[7:], last[:6]], images(2, 10))
        assert list(cells_of(description, selection_of(description, Settings())).values()) == [
            "iteration 0",
            "iteration 9",
            "iteration 10",
        ]

    def test_a_file_of_no_classification_has_no_iterations(self, tmp_path: Path) -> None:
        write_stack(tmp_path / "a.mrcs", images(1))
        assert "is no file of a classification with iterations" in refused(tmp_path / "a.mrcs", iterations=True)


class TestChanges:
    """A movie is made anew where an image has changed, not only where the file that names it has."""

    def status(self, capsys: pytest.CaptureFixture[str], *words: object) -> str:
        capsys.readouterr()
        assert run(*(str(word) for word in words)) == 0
        return capsys.readouterr().err.splitlines()[-1]

    def test_an_image_that_changes_or_arrives_has_the_movie_made_anew(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rows = [(f"{name}.mrc", angle) for name, angle in (("a", 0), ("b", 3), ("c", 6))]
        star = write_star(tmp_path / "ts.star", loop("ts", TILTS, rows))
        for number, name in enumerate("ab"):
            write_stack(tmp_path / f"{name}.mrc", images(1, number))
        words = (star, tmp_path / "out")
        assert self.status(capsys, *words) == "1 converted"
        assert self.status(capsys, *words) == "1 up to date"
        os.utime(tmp_path / "b.mrc", ns=(1, 1))  # older than before, and as long
        assert self.status(capsys, *words) == "1 converted"
        assert self.status(capsys, *words) == "1 up to date"
        write_stack(tmp_path / "c.mrc", images(1, 2))
        assert self.status(capsys, *words) == "1 converted"
        assert self.status(capsys, *words) == "1 up to date"

    def test_a_stack_that_a_job_writes_later_has_the_movie_made_anew(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        job = tmp_path / "J2"
        write_cs(job / "J2_passthrough_particles.cs", uid=[1, 2])
        write_stack(job / "restack/batch_0_restacked.mrc", images(1))
        assert self.status(capsys, job, tmp_path / "out") == "1 converted"
        assert self.status(capsys, job, tmp_path / "out") == "1 up to date"
        write_stack(job / "restack/batch_1_restacked.mrc", images(1, 1))
        assert self.status(capsys, job, tmp_path / "out") == "1 converted"

    def test_an_image_that_changes_while_it_is_read_is_an_error(self, tmp_path: Path) -> None:
        two_stacks(tmp_path)
        star = particles(tmp_path / "x.star", ["1@Extract/job012/a.mrcs", "1@Extract/job012/b.mrcs"])

        def change(*_: object) -> None:
            os.utime(tmp_path / "Extract/job012/b.mrcs", ns=(1, 1))

        with pytest.raises(InputError, match="names an image that was changed while it was read"):
            convert(star, tmp_path / "x.avi", progress=change)
        assert not (tmp_path / "x.avi").exists()


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, lost, repeated or put in."""
    found = bytearray(content)
    for _ in range(chance.choice((1, 2, 5))):
        at, other = chance.randrange(len(found)), chance.randrange(len(found))
        words = (b"nan", b"-1", b"9" * 25, b"1e400", b"\n", b"loop_\n", b"data_\n", b"\0", b'"', b"#", b"\xe9")
        found[at : at + chance.choice((0, 1, 1, 20))] = chance.choice((*words, found[other : other + 30]))
    return bytes(found)


@pytest.mark.parametrize("rounds", [60, pytest.param(2000, marks=pytest.mark.large)])
@pytest.mark.parametrize("kind", ["star", "cs", "mdoc", "tilt series"])
def test_a_damaged_collection_is_read_or_refused_with_a_message(tmp_path: Path, kind: str, rounds: int) -> None:
    two_stacks(tmp_path)
    path = tmp_path / f"x.{'star' if kind == 'tilt series' else kind}"
    file, angles = b"Extract/job012/b.mrcs", [0.1, 0.2]
    if kind == "star":
        particles(
            path, ["1@Extract/job012/a.mrcs", "2@Extract/job012/b.mrcs"], rlnDefocusU=[1e4] * 2, rlnClassNumber=[1, 2]
        )
    elif kind == "cs":
        write_cs(path, blob__path=[file] * 2, blob__idx=[1, 0], ctf__df_angle_rad=angles, alignments2D__class=[1, 2])
    elif kind == "mdoc":
        write_tilts(path, {0: r"D:\b.mrcs", 3: r"D:\b.mrcs"})
    else:
        write_star(path, loop("x", TILTS, [(file.decode(), angle) for angle in angles]))
    whole, chance = path.read_bytes(), random.Random(rounds)
    settings = Settings(image_dir=str(tmp_path / "Extract/job012") if kind == "mdoc" else None)
    assert inspect(path, settings).description is not None or kind == "mdoc"
    for _ in range(rounds):
        path.write_bytes(damaged(whole, chance))
        found = inspect(path, settings)
        if found.description is None:
            assert found.error
        else:
            assert cells_of(found.description, selection_of(found.description, settings))
