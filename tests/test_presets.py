"""Presets: what they stand for, how one is found for a file, what wins, and what they replace."""

import json
from pathlib import Path
from typing import Any

import cv2
import mrcfile
import numpy as np
import pytest
from movies import frames, ramp, reference, run, write_mrc
from numpy.typing import NDArray

from mrc2movie.cli.words import parser
from mrc2movie.options.settings import OPTIONS, Settings

rng = np.random.default_rng(6)

SPELT_OUT = {
    "tilt": "--format mp4 --fps 4 --order tilt --match-mean --label tilt --max-size 1024 --min-size 256 --smooth 1.5 "
    "--clip-limit 1.2",
    "tomogram": "--format mp4 --fps 8 --average 5 --max-size 1024 --min-size 256 --deconv --clip-limit 0 --scale-bar",
}


def record(movie: Path) -> dict[str, Any]:
    """The record of a movie."""
    found: dict[str, Any] = json.loads((movie.parent / ".mrc2movie" / f"{movie.name}.json").read_text())
    return found


def dose_symmetric(directory: Path, name: str, rows: int = 96, columns: int = 128) -> Path:
    """A tilt series in the order of its acquisition, darker at high tilt."""
    tilts = [0, 3, -3, -6, 6]
    voxels = rng.normal(0, 20, (5, rows, columns)) + 1000 - 30 * np.abs(tilts)[:, None, None]
    (directory / name).with_suffix(".rawtlt").write_text("\n".join(map(str, tilts)))
    return write_mrc(directory / name, voxels.astype(np.int16), voxel_size_A=10)


@pytest.mark.parametrize("preset", SPELT_OUT)
def test_a_preset_does_what_its_options_do(tmp_path: Path, preset: str) -> None:
    source = dose_symmetric(tmp_path, "in.mrc", 192, 256)
    assert run(source, tmp_path / "preset", "--preset", preset) == 0
    assert run(source, tmp_path / "options", *SPELT_OUT[preset].split()) == 0
    movies = [tmp_path / directory / "in.mp4" for directory in ("preset", "options")]
    pictures = [frames(movie) for movie in movies]
    assert np.array_equal(pictures[0], pictures[1])
    assert len(pictures[0]) == 8
    assert cv2.VideoCapture(str(movies[0])).get(cv2.CAP_PROP_FPS) == (4 if preset == "tilt" else 8)
    assert [record(movie)["sections"] for movie in movies] == [[3, 2, 0, 1, 4]] * 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--fps", "30"), {"fps": 30.0, "match_mean": True}),
        (("--no-match-mean", "--label", "none"), {"match_mean": False, "label": None, "fps": 4.0}),
        (("--max_size", "64", "--order=file"), {"max_size": 64, "order": "file", "fps": 4.0}),
        (("--format", "avi"), {"format": "avi", "codec": "MJPG", "fps": 4.0}),
        (("--codec", "FFV1"), {"format": "avi", "codec": "FFV1", "fps": 4.0}),
        (("--codec", "HEVC"), {"format": "mp4", "codec": "HEVC", "fps": 4.0}),
    ],
)
def test_an_option_of_the_command_line_wins(
    tmp_path: Path, options: tuple[str, ...], expected: dict[str, object]
) -> None:
    source = dose_symmetric(tmp_path, "in.mrc")
    for preset in ("tilt", "auto"):
        assert run(source, tmp_path / preset, "--preset", preset, *options) == 0
        (movie,) = (path for path in (tmp_path / preset).iterdir() if path.stem == "in")
        assert movie.suffix == "." + str(expected.get("format", "mp4"))
        assert cv2.VideoCapture(str(movie)).get(cv2.CAP_PROP_FPS) == expected["fps"]
        found = Settings(preset="tilt", **_given(options)).movie_options()
        assert {name: found[name] for name in expected} == expected
        assert record(movie)["preset"] == "tilt"


@pytest.mark.parametrize("preset", ["tilt", "tomogram"])
@pytest.mark.parametrize("given", [{}, {"fps": 30, "average": 1}, {"match_mean": False, "scale_bar": False}])
def test_the_comment_of_a_movie_is_a_command_that_makes_the_same(preset: str, given: dict[str, Any]) -> None:
    settings = Settings(preset=preset, **given)  # type: ignore[arg-type]
    typed = vars(parser().parse_args(settings.command_line().split()))
    again = Settings(**{option.name: typed[option.name] for option in OPTIONS if option.name in typed})
    assert {**again.movie_options(), "preset": preset} == settings.movie_options()


def _given(options: tuple[str, ...]) -> dict[str, Any]:
    words = [word for option in options for word in option.split("=")]
    given: dict[str, Any] = {}
    for word in words:
        if word.startswith("--no-"):
            given[word[5:].replace("-", "_")] = False
        elif word.startswith("--"):
            name = word[2:].replace("-", "_")
        else:
            given[name] = word
    return given


@pytest.mark.parametrize(
    ("name", "shape", "more", "found", "why"),
    [
        ("a.st", (5, 32, 32), {}, "tilt", "it is a tilt series by its name or its tilt angles"),
        ("a.preali", (40, 32, 32), {}, "tilt", "by its name"),
        ("a.rec", (5, 640, 640), {}, "tomogram", "it is a volume by its name"),
        ("a.mrc", (5, 32, 32), {"rawtlt": True}, "tilt", "tilt angles"),
        ("a.mrc", (5, 32, 32), {"ispg": 1}, "tomogram", "shape of a volume"),
        ("a.mrc", (3, 32, 32), {"ispg": 1}, "tilt", "too few for a volume"),
        ("a.mrc", (12, 32, 64), {}, "tomogram", "12 sections of 64 x 32 have the shape of a volume"),
        ("a.mrc", (6, 32, 60), {}, "tomogram", "6 sections of 60 x 32 have the shape of a volume"),
        ("a.mrc", (6, 61, 32), {}, "tilt", "6 sections of 32 x 61 are too few for a volume"),
        ("a.mrc", (5, 32, 64), {}, "tilt", "5 sections of 64 x 32 are too few for a volume"),
    ],
)
def test_auto_takes_what_fits_the_file_and_says_which(
    tmp_path: Path, name: str, shape: tuple[int, int, int], more: dict[str, Any], found: str, why: str
) -> None:
    header = {field: value for field, value in more.items() if field != "rawtlt"}
    source = write_mrc(
        tmp_path / name, rng.integers(0, 99, shape).astype(np.int16), voxel_size_A=10, **{"ispg": 0, **header}
    )
    if "rawtlt" in more:
        (tmp_path / "a.rawtlt").write_text("\n".join(str(3 * i) for i in range(shape[0])))
    assert run(source, tmp_path / "out", "--preset", "auto") == 0
    log = (tmp_path / "out" / "mrc2movie.log").read_text()
    assert f"--preset auto takes {found}: " in log
    assert why in log
    movie = tmp_path / "out" / "a.mp4"
    assert record(movie)["preset"] == found
    assert cv2.VideoCapture(str(movie)).get(cv2.CAP_PROP_FPS) == (4 if found == "tilt" else 8)


def test_auto_takes_none_for_particles_and_says_so(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "a.mrcs", ramp(3, 32, 32), voxel_size_A=10)
    assert run(source, tmp_path / "out", "--preset", "auto") == 0
    assert (
        "--preset auto: none fits a file of the kind 'particle stack'" in (tmp_path / "out/mrc2movie.log").read_text()
    )
    assert cv2.VideoCapture(str(tmp_path / "out" / "a.mp4")).get(cv2.CAP_PROP_FPS) == 30


def test_auto_chooses_for_each_file_of_a_directory_and_knows_what_is_up_to_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    dose_symmetric(tmp_path / "in", "tilts.mrc")
    write_mrc(tmp_path / "in" / "volume.rec", rng.integers(0, 99, (20, 64, 64)).astype(np.int16), voxel_size_A=10)
    command = (tmp_path / "in", tmp_path / "out", "--preset", "auto")
    assert run(*command) == 0
    movies = {name: tmp_path / "out" / f"{name}.mp4" for name in ("tilts", "volume")}
    assert {name: record(movie)["preset"] for name, movie in movies.items()} == {"tilts": "tilt", "volume": "tomogram"}
    assert run(*command) == 0
    assert "2 up to date" in capsys.readouterr().err
    # An option that is given with its default is another wish, for then the preset yields to it.
    assert run(*command, "--fps", "30") == 0
    assert "2 converted" in capsys.readouterr().err


def area_means(section: NDArray[Any], times: int, parts: int) -> NDArray[np.float64]:
    """Each side `times` / `parts` as long: every voxel repeated, then means of squares."""
    fine = np.repeat(np.repeat(section.astype(float), times, axis=0), times, axis=1)
    rows, columns = fine.shape
    return np.asarray(fine.reshape(rows // parts, parts, columns // parts, parts).mean(axis=(1, 3)))


PLAIN = (
    *("--codec", "FFV1", "--playback", "forward", "--clip-limit", "0", "--range", "minmax", "--flip", "yes"),
    *("--smooth", "0", "--no-deconv"),
)
"""What the pipelines show is neither filtered nor compressed with loss, for a comparison of pixels."""


def test_tomogram_is_the_movie_of_the_pipeline_with_all_sections_and_the_aspect(tmp_path: Path) -> None:
    """`clip avg` of sections z-2 … z+2 for z from 2 to n-3, `mrc2tif`, `gm convert`, `ffmpeg -r 8 -s 1024,1024`.

    The means of five and the greys are right; the loop loses two sections at either end, the size the aspect.
    """
    voxels = rng.normal(0, 50, (9, 384, 1536)).astype(np.float32)
    source = write_mrc(tmp_path / "in.rec", voxels, voxel_size_A=10)
    assert run(source, tmp_path / "out", "--preset", "auto", "--no-scale-bar", *PLAIN) == 0
    found = frames(tmp_path / "out" / "in.avi")
    assert [frame.shape for frame in found] == [(256, 1024)] * 9
    means = [voxels[max(0, z - 2) : z + 3].mean(axis=0, dtype=float) for z in range(9)]
    expected = np.stack([area_means(mean, 2, 3) for mean in means])
    shown = reference(expected, expected.min(), expected.max())
    assert np.abs(np.subtract(found, shown, dtype=int)).max() <= 1
    clip_avg = [area_means(voxels[z - 2 : z + 3].mean(axis=0, dtype=float), 2, 3) for z in range(2, 9 - 2)]
    assert (
        np.abs(np.subtract(found[2:-2], reference(np.stack(clip_avg), expected.min(), expected.max()), dtype=int)).max()
        <= 1
    )


def test_tilt_is_the_movie_of_the_pipeline_with_all_sections_and_the_aspect(tmp_path: Path) -> None:
    """`newstack -float 3` (a common mean), `mrc2tif`, `gm convert`, `ffmpeg -r 4 -s 1024,1024`.

    The pictures are numbered from 0 and read from 1 on: the first is lost, and so is the aspect.
    """
    source = dose_symmetric(tmp_path, "in.st", 384, 1536)
    assert run(source, tmp_path / "out", "--preset", "auto", "--label", "none", *PLAIN) == 0
    found = frames(tmp_path / "out" / "in.avi")
    assert [frame.shape for frame in found] == [(256, 1024)] * 5
    with mrcfile.open(source) as mrc:
        voxels = mrc.data[[3, 2, 0, 1, 4]].astype(float)
    floated = voxels - voxels.mean(axis=(1, 2), keepdims=True)
    expected = np.stack([area_means(section, 2, 3) for section in floated])
    shown = reference(expected, expected.min(), expected.max())
    assert np.abs(np.subtract(found, shown, dtype=int)).max() <= 1
    assert np.ptp([frame.mean() for frame in found]) < 1


# What of a preset does not fit a file


def settled(tmp_path: Path, source: Path, *options: str) -> tuple[list[NDArray[np.uint8]], str]:
    """The lossless frames under a preset, and the log."""
    words = ("--codec=FFV1", "--playback=forward", "--label=none", "--no-scale-bar", "--overwrite")
    assert run(source, tmp_path / "out", *words, *options) == 0
    return frames(tmp_path / "out" / "a.avi"), (tmp_path / "out" / "mrc2movie.log").read_text()


def labels(*shape: int) -> NDArray[np.int16]:
    """A segmentation: cubes of two labels on an empty ground."""
    found = np.zeros(shape, np.int16)
    found[:, 20:60, 30:70], found[4:, 90:120, 80:110] = 1, 2
    return found


@pytest.mark.parametrize("preset", ["tilt", "tomogram", "auto"])
def test_labels_are_neither_averaged_nor_smoothed_nor_equalised(tmp_path: Path, preset: str) -> None:
    voxels = labels(12, 300, 280)
    source = write_mrc(tmp_path / "a.rec", voxels, voxel_size_A=10)
    found, log = settled(tmp_path, source, "--preset", preset)
    assert np.array_equal(found, reference(voxels, 0, 2))
    assert "a volume of labels: neither averaged nor smoothed" in log
    smoothed, _ = settled(tmp_path, source, "--preset", preset, "--smooth", "2")
    assert len(np.unique(smoothed)) > 20  # what is given holds


def test_counted_electrons_are_no_labels(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "a.rec", rng.poisson(0.1, (12, 300, 280)).astype(np.int16), voxel_size_A=10)
    assert "labels" not in settled(tmp_path, source, "--preset", "tomogram")[1]


def test_dark_field_keeps_its_ratios(tmp_path: Path) -> None:
    """Half of the voxels are nearly black, and the others rise with the mass: no local contrast under a preset."""
    image = rng.normal(100, 5, (1, 300, 300))
    image[:, 100:200, 100:200] += 20 * np.arange(100)
    source = write_mrc(tmp_path / "a.mrc", image.astype(np.float32), voxel_size_A=10)
    found, _ = settled(tmp_path, source, "--preset", "tilt")
    assert np.array_equal(found, settled(tmp_path, source, "--preset", "tilt", "--clip-limit", "0")[0])
    assert not np.array_equal(found, settled(tmp_path, source, "--preset", "tilt", "--clip-limit", "1.2")[0])


@pytest.mark.parametrize(("size_A", "deconvolved"), [(0, False), (1, False), (10, True), (200, False)])
def test_a_tomogram_is_deconvolved_where_its_voxel_size_is_plausible_and_smoothed_elsewhere(
    tmp_path: Path, size_A: float, deconvolved: bool
) -> None:
    source = write_mrc(tmp_path / "a.rec", rng.normal(0, 1, (9, 256, 256)).astype(np.float32), voxel_size_A=size_A)
    found, log = settled(tmp_path, source, "--preset", "tomogram")
    options = ("--deconv",) if deconvolved else ("--smooth", "1.5", "--no-deconv")
    expected, _ = settled(tmp_path, source, "--average=5", "--clip-limit=0", *options)
    assert np.array_equal(found, expected)
    assert ("deconvolved at 4 µm defocus (assumed), 300 kV and Cs 2.7 mm" in log) is deconvolved


@pytest.mark.parametrize(
    ("name", "shape", "header", "why"),
    [
        ("a.mrc", (5, 64, 64), {"ispg": 0}, "5 sections of 64 x 64 are particles, and none fits"),
        ("a.mrc", (1, 300, 400), {"ispg": 0}, "takes tilt: it is a single image"),
        ("a.map", (64, 64, 64), {"ispg": 1}, "takes tomogram: 64 sections of 64 x 64 are the map of a particle"),
        ("a.mrc", (20, 64, 96), {"ispg": 1}, "takes tomogram: 20 sections of 96 x 64 have the shape of a volume"),
    ],
)
def test_auto_knows_particles_images_and_maps(
    tmp_path: Path, name: str, shape: tuple[int, int, int], header: dict[str, int], why: str
) -> None:
    source = write_mrc(tmp_path / name, rng.normal(0, 9, shape).astype(np.float32), voxel_size_A=3, **header)
    _, log = settled(tmp_path, source, "--preset", "auto")
    assert f"--preset auto{'' if why.startswith('takes') else ':'} {why}" in log
    assert "WARNING" not in log
    found = record(tmp_path / "out" / "a.avi")
    if shape[0] == 64:
        assert "deconvolved" not in log
    elif shape[0] == 20:
        assert found["preset"] == "tomogram"


def test_auto_takes_no_preset_where_the_tilts_are_all_alike(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "a.mrc", rng.normal(0, 9, (6, 64, 96)).astype(np.float32), voxel_size_A=3, ispg=0)
    (tmp_path / "a.rawtlt").write_text("12.0\n" * 6)
    assert "--preset auto: its tilts are all alike" in settled(tmp_path, source, "--preset", "auto")[1]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--preset=tilt",), 8),
        (("--preset=tomogram",), 16),
        (("--preset=auto", "--fps=5"), 10),
        (("--preset=tilt", "--fps=0.2"), 1),
        (("--preset=tilt", "--small"), 8),
        (("--preset=tilt", "--format=avi"), 8),
        (("--preset=tilt", "--format=gif", "--playback=forward"), 8),
        (("--format=mp4",), 1),
    ],
)
def test_under_a_preset_a_single_image_is_held_for_two_seconds(
    tmp_path: Path, options: tuple[str, ...], count: int
) -> None:
    source = write_mrc(tmp_path / "a.mrc", rng.integers(0, 99, (1, 32, 64)).astype(np.int16), voxel_size_A=10)
    assert run(source, tmp_path / "out", "--clip-limit=0", "--range=0,99", *options) == 0
    (movie,) = (path for path in (tmp_path / "out").iterdir() if path.stem == "a")
    found = frames(movie)
    assert len(found) == record(movie)["frames"]["frames"] == count
    for frame in found[1:]:
        assert np.abs(np.subtract(frame, found[0], dtype=int)).max() <= 12


def test_two_images_are_not_held(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "a.mrc", rng.integers(0, 99, (2, 32, 64)).astype(np.int16), voxel_size_A=10)
    assert run(source, tmp_path / "out", "--preset=tilt") == 0
    assert len(frames(tmp_path / "out" / "a.mp4")) == 2
