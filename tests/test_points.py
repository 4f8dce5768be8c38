"""Points over a movie: every format, every convention, the circle where the voxel is, and what is said of them."""

import itertools
import json
import math
import struct
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import FLIPPED, HAS_ORIGIN, Thing, imod
from movies import coloured_frames, ramp, run, write_mrc
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.picture.overlays import PALETTE
from mrc2movie.readers.annotations.placing import placed
from mrc2movie.readers.annotations.points import read_points

rng = np.random.default_rng(7)

COLOURS = ("--codec", "FFV1", "--format", "mkv", "--clip-limit", "0", "--playback", "forward", "--overwrite")
"""Options under which a decoded frame is exactly what was drawn, in colour."""


def drawn(tmp_path: Path, source: Path, *options: str | Path) -> list[NDArray[np.uint8]]:
    """The frames of a movie with points, (y, x, 3): red, green, blue."""
    assert run(source, tmp_path / "out", *COLOURS, *options) == 0
    return [frame[..., ::-1] for frame in coloured_frames(tmp_path / "out" / f"{source.stem}.mkv")]


def coloured(frame: NDArray[np.uint8]) -> NDArray[np.intp]:
    """(n, 2): row and column of the pixels that are in colour."""
    return np.argwhere(np.ptp(frame.astype(int), axis=2) > 40)


def write_points(path: Path, places: Any) -> Path:
    path.write_text("".join(" ".join(f"{number:.6g}" for number in place) + "\n" for place in places))
    return path


# The circle is where the voxel is

SHAPE = (10, 40, 60)
VOXELS = [(10, 8, 1), (45, 30, 5), (28, 20, 8)]

CHOICES: list[tuple[str, ...]] = [
    (),
    ("--flip", "no"),
    ("--axis", "y"),
    ("--axis", "x", "--flip", "no"),
    ("--bin", "2"),
    ("--max-size", "41"),
    ("--min-size", "170"),
    ("--crop", "5", "4", "50", "36"),
    ("--crop", "4", "1", "52", "37", "--bin", "3", "--min-size", "100"),
    ("--playback", "backward"),
    ("--every", "1", "--discard-range", "2", "4"),
]


@pytest.mark.parametrize("options", CHOICES, ids=str)
def test_the_circle_of_a_point_lies_around_its_voxel(tmp_path: Path, options: tuple[str, ...]) -> None:
    voxels = np.zeros(SHAPE, np.float32)
    for x, y, z in VOXELS:
        voxels[z, y, x] = 1
    source = write_mrc(tmp_path / "in.mrc", voxels)
    points = write_points(tmp_path / "in.txt", VOXELS)
    plain = drawn(tmp_path, source, *options, "--range", "minmax")
    # Spheres of half a voxel are seen in one section only; their circles are then as small as circles are drawn.
    marked = drawn(tmp_path, source, *options, "--range", "minmax", "--points", points, "--point-diameter", "1",
                   "--pixel-size", "1")  # fmt: skip
    assert len(plain) == len(marked)
    seen = 0
    for frame, with_circles in zip(plain, marked, strict=True):
        bright = np.argwhere(frame[..., 1] > 0.5 * frame.max()) if frame.max() else np.empty((0, 2))
        ring = coloured(with_circles)
        assert bool(len(bright)) is bool(len(ring))
        if len(bright):
            seen += 1
            # A circle is drawn to a quarter of a pixel. Where a pixel is the mean of several voxels its middle is up to
            # one of them off, which takes two pixels in the movie that is enlarged.
            off = np.abs(bright.mean(axis=0) - ring.mean(axis=0)).max()
            assert off <= (2.1 if "--bin" in options and "--min-size" in options else 0.6)
    assert seen == len(VOXELS)


@pytest.mark.parametrize("average", [1, 3])
def test_the_radius_is_that_of_the_section_of_the_sphere(tmp_path: Path, average: int) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp(25, 60, 60, "float32"), voxel_size_A=(2, 2, 4))
    points = write_points(tmp_path / "in.txt", [(30, 30, 12)])
    frames = drawn(
        tmp_path, source, "--points", points, "--point-diameter", "72", "--average", str(average), "--label", "none"
    )
    for z, frame in enumerate(frames):
        depth_A = 4 * max(0, abs(z - 12) - average // 2)
        ring = coloured(frame)
        if depth_A >= 36:
            assert not len(ring)
        else:
            radius = max(math.sqrt(36**2 - depth_A**2) / 2, 1.5)
            # The line of two pixels lies half within the radius; antialiased, it shows half a pixel more.
            assert np.ptp(ring, axis=0) == pytest.approx([2 * radius + 2] * 2, abs=1.3)
            np.testing.assert_allclose(ring.mean(axis=0), (29, 30), atol=0.3)  # row 0 is the bottom


def test_a_point_without_z_is_drawn_whole_in_every_section(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp(3, 60, 60))
    points = write_points(tmp_path / "in.box", [(20, 10, 16, 16)])
    for frame in drawn(tmp_path, source, "--points", points):
        ring = coloured(frame)
        np.testing.assert_allclose(ring.mean(axis=0), (59 - 18, 28), atol=0.3)
        assert np.ptp(ring, axis=0) == pytest.approx([18, 18], abs=1.01)


def test_voxels_that_are_not_square_give_ellipses(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp(9, 80, 80, "float32"), voxel_size_A=(1, 2, 4))
    points = write_points(tmp_path / "in.txt", [(40, 40, 4)])
    (_, _, _, _, frame, *_) = drawn(tmp_path, source, "--points", points, "--point-diameter", "48")
    assert np.ptp(coloured(frame), axis=0) == pytest.approx([24 + 2, 48 + 2], abs=1.5)  # rows, columns


def test_all_else_stays_grey_and_as_it_is(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", rng.normal(size=(3, 64, 96)).astype(np.float32))
    points = write_points(tmp_path / "in.txt", [(70, 40, 1)])
    plain, marked = drawn(tmp_path, source), drawn(tmp_path, source, "--points", points)
    for frame, with_circle in zip(plain, marked, strict=True):
        changed = np.argwhere((frame != with_circle).any(axis=2))
        assert np.abs(changed - (63 - 40, 70)).max() <= 8 + 4  # 16 voxels wide, with line and rim


@pytest.mark.parametrize("way", [("avi", "MJPG"), ("mp4", "H264"), ("webm", "VP9")])
def test_the_colour_of_thin_circles_comes_through_codecs_that_keep_less_of_it(
    tmp_path: Path, way: tuple[str, str]
) -> None:
    source = write_mrc(tmp_path / "in.mrc", rng.normal(size=(3, 128, 128)).astype(np.float32))
    points = write_points(tmp_path / "in.txt", [(64, 64, 1)])
    container, codec = way
    words = ("--format", container, "--codec", codec, "--points", points, "--pixel-size", "1", "--point-diameter", "60")
    assert run(source, tmp_path / "out", *words, "--playback", "forward") == 0
    frame = coloured_frames(tmp_path / "out" / f"in.{container}")[1][..., ::-1].astype(int)
    # Hue and most of the saturation of sky blue, all around.
    for turn in np.linspace(0, 2 * math.pi, 24, endpoint=False):
        row, column = 63 - 30 * math.sin(turn), 64 + 30 * math.cos(turn)
        red, _, blue = frame[round(row), round(column)]
        assert blue - red > 0.4 * (PALETTE[0][2] - PALETTE[0][0])


# Formats and conventions

VOLUME = (200, 400, 500)
"""(sections, rows, columns) of 8 Å."""
PLACES = np.column_stack(
    [rng.uniform(low, side - 1, 12) for low, side in zip((0, 0, 60), VOLUME[::-1], strict=True)]
).round(2)
CLASSES = [f"class {1 + number % 3}" for number in range(12)]


def star(blocks: dict[str, dict[str, Any]]) -> str:
    text = "# version 50001\n\n"
    for name, columns in blocks.items():
        text += f"data_{name}\n\nloop_\n" + "".join(f"_{label} #{n}\n" for n, label in enumerate(columns, 1))
        text += "".join("\t".join(map(str, row)) + "\n" for row in zip(*columns.values(), strict=True)) + "\n"
    return text


def xyz(places: NDArray[np.float64], form: str) -> dict[str, Any]:
    return {form.format(axis): places[:, place].round(4) for place, axis in enumerate("XYZ")}


def relion_3() -> str:
    """One table, voxels of the tomogram, shifts in pixels to be taken away."""
    shifts = np.full((12, 3), (1.5, -2, 0.25))
    columns = {**xyz(PLACES + shifts, "rlnCoordinate{}"), **xyz(shifts, "rlnOrigin{}"),
               "rlnMicrographName": ["tomograms/TS_07.mrc"] * 12, "rlnMagnification": [10000.0] * 12,
               "rlnDetectorPixelSize": [8.0] * 12, "rlnClassNumber": [c[-1] for c in CLASSES]}  # fmt: skip
    return star({"": columns})


def relion_3_binned() -> str:
    """Picked in a tomogram of half the voxel size."""
    columns = {
        **xyz(2 * PLACES, "rlnCoordinate{}"),
        "rlnMagnification": [50000.0] * 12,
        "rlnDetectorPixelSize": [20] * 12,
    }
    return star({"": {**columns, "rlnClassNumber": [c[-1] for c in CLASSES]}})


def relion_4() -> str:
    """Unbinned pixels of the tilt series, shifts in Å, those of turned subtomograms turned with them."""
    turn = np.deg2rad([30.0, 50.0, -70.0])

    def about(axis: str, angle: float) -> NDArray[np.float64]:
        c, s = math.cos(angle), math.sin(angle)
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]] if axis == "z" else [[c, 0, s], [0, 1, 0], [-s, 0, c]])

    matrix = about("z", turn[0]) @ about("y", turn[1]) @ about("z", turn[2])
    shifts_A = rng.normal(0, 10, (12, 3)).round(3)
    columns = {"rlnTomoName": ["TS_07"] * 12, **xyz((8 * PLACES + shifts_A @ matrix.T) / 2, "rlnCoordinate{}"),
               **xyz(shifts_A, "rlnOrigin{}Angst"), "rlnOpticsGroup": [1] * 12,
               **{f"rlnTomoSubtomogram{name}": [round(math.degrees(angle), 6)] * 12
                  for name, angle in zip(("Rot", "Tilt", "Psi"), turn, strict=True)},
               "rlnClassNumber": [c[-1] for c in CLASSES]}  # fmt: skip
    optics = {"rlnOpticsGroup": [1], "rlnTomoTiltSeriesPixelSize": [2.0], "rlnImagePixelSize": [4.0]}
    return star({"optics": optics, "particles": columns})


def relion_5() -> str:
    """Å from the middle of the tomogram."""
    centred = (PLACES - np.array(VOLUME[::-1]) / 2) * 8
    columns = {"rlnTomoName": ["TS_07"] * 12, **xyz(centred, "rlnCenteredCoordinate{}Angst"),
               "rlnClassNumber": [c[-1] for c in CLASSES]}  # fmt: skip
    return star({"optics": {"rlnOpticsGroup": [1], "rlnTomoTiltSeriesPixelSize": [2.0]}, "particles": columns})


def dynamo() -> str:
    rows = np.zeros((12, 35))
    rows[:, 0] = np.arange(12) + 1
    rows[:, 3:6] = (0.5, -1.25, 2)
    rows[:, 19] = 7
    rows[:, 21] = [int(name[-1]) for name in CLASSES]
    rows[:, 23:26] = PLACES + 1 - rows[:, 3:6]
    return "".join(" ".join(f"{number:g}" for number in row) + "\n" for row in rows)


def eman_3d() -> str:
    boxes = [[*((place - np.array(VOLUME[::-1]) // 2) * 4).tolist(), "manual", 0.0, int(name[-1])]
             for place, name in zip(PLACES, CLASSES, strict=True)]  # fmt: skip
    names = {name[-1]: {"name": name, "boxsize": 64} for name in CLASSES}
    return json.dumps({"boxes_3d": boxes, "class_list": names, "apix_unbin": 2.0})


def portal() -> str:
    lines = [{"type": "orientedPoint", "location": dict(zip("xyz", place, strict=True)), "xyz_rotation_matrix": [[1]]}
             for place in PLACES.tolist()]  # fmt: skip
    return "".join(json.dumps(line) + "\n" for line in lines)


def table(head: str, places: NDArray[np.float64], mark: str = ",", classes: bool = True) -> str:
    rows = [[f"{number:.4f}" for number in place] + ([name] if classes else [])
            for place, name in zip(places, CLASSES, strict=True)]  # fmt: skip
    return "".join(mark.join(row) + "\n" for row in [[head], *rows])


FORMATS: dict[str, tuple[str, Callable[[], str | bytes], bool]] = {
    "RELION 3": ("a.star", relion_3, True),
    "RELION 3, binned": ("a.star", relion_3_binned, True),
    "RELION 4": ("a.star", relion_4, True),
    "RELION 5": ("a.star", relion_5, True),
    "Dynamo": ("a.tbl", dynamo, True),
    "EMAN2": ("a_info.json", eman_3d, True),
    "EMAN2 before 2018": ("a_info.json", lambda: json.dumps({"boxes_3d": [[*p, "x"] for p in PLACES.tolist()]}), False),
    "portal": ("a.ndjson", portal, False),
    "IMOD": ("a.mod", lambda: imod(Thing([PLACES], name="class 1", radius=6), pixel=(0.8, -9)), False),
    "csv": ("a.csv", lambda: table("x,y,z,particle_type", PLACES), True),
    "csv of Å": ("a.csv", lambda: table("x_angstrom;y_angstrom;z_angstrom;class", 8 * PLACES, ";"), True),
    "csv of napari": ("a.csv", lambda: table("axis-0,axis-1,axis-2", PLACES[:, ::-1], classes=False), False),
    "text": ("a.txt", lambda: "".join(" ".join(map(str, place)) + "\n" for place in PLACES.tolist()), False),
    "text with names": ("a.txt", lambda: table("# x\ty\tz", PLACES, "\t", classes=False), False),
    "coords": ("a.coords", lambda: "".join("{}, {}, {}\n".format(*place) for place in PLACES.tolist()), False),
    "box": ("a.box", lambda: "".join("{}\t{}\t{}\n".format(*place) for place in PLACES.tolist()), False),
}  # fmt: skip


def write_format(directory: Path, name: str) -> Path:
    (directory / FORMATS[name][0]).write_bytes(content_of(name))
    return directory / FORMATS[name][0]


@cache
def content_of(name: str) -> bytes:
    made = FORMATS[name][1]()
    return made if isinstance(made, bytes) else made.encode()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_voxels_that_were_meant(tmp_path: Path, name: str) -> None:
    picks = read_points(write_format(tmp_path, name)).of_volume("TS_07")
    points = placed(picks, VOLUME, (8.0, 8.0, 8.0), "auto")
    np.testing.assert_allclose(points.places, PLACES, atol=0.01)
    assert points.outside == 0
    if FORMATS[name][2]:
        assert [points.names[kind].lower().replace(".0", "") for kind in points.classes] == CLASSES
    expected = {"EMAN2": 64 / 4, "IMOD": 2 * 6}.get(name, math.nan)
    np.testing.assert_array_equal(points.diameters, expected)


def test_boxes_of_two_dimensions_are_their_centres(tmp_path: Path) -> None:
    (tmp_path / "a.box").write_text("10\t20\t8\t8\n100\t50\t8\t8\t-3\n")
    points = placed(read_points(tmp_path / "a.box"), (1, 200, 200), None, "auto")
    np.testing.assert_array_equal(points.places, [(14, 24, math.nan), (104, 54, math.nan)])
    assert points.diameters.tolist() == [8, 8]
    (tmp_path / "a_info.json").write_text('{"boxes": [[14, 24, "manual"], [104.0, 54, "auto"]]}')
    flat = placed(read_points(tmp_path / "a_info.json"), (1, 200, 200), None, "auto")
    np.testing.assert_array_equal(flat.places, points.places)


def test_a_model_of_a_part_or_of_a_flipped_volume_is_brought_back(tmp_path: Path) -> None:
    (tmp_path / "flipped.mod").write_bytes(imod(Thing([PLACES]), flags=FLIPPED, order=(0, 2, 1)))
    scale, part = (8.0, 8.0, 8.0), np.array([40.0, 30.0, 20.0])
    reference = np.array([[1, 1, 1], (0, 0, 0), [0] * 3, scale, -part * scale, [0] * 3], ">f4")
    chunk = b"MINX" + struct.pack(">i", 72) + reference.tobytes()
    (tmp_path / "part.mod").write_bytes(imod(Thing([PLACES - part]), extra=chunk, flags=HAS_ORIGIN))
    for name in ("flipped.mod", "part.mod"):
        points = placed(read_points(tmp_path / name), VOLUME, (8.0, 8.0, 8.0), "auto")
        np.testing.assert_allclose(points.places, PLACES, atol=0.01)


def test_points_of_their_own_size_keep_it(tmp_path: Path) -> None:
    # A negative one means that of the object.
    (tmp_path / "a.mod").write_bytes(imod(Thing([PLACES], radius=6, sizes=[3.0, -1.0] * 6)))
    assert read_points(tmp_path / "a.mod").diameters.tolist() == [6.0, 12.0] * 6


@pytest.mark.parametrize(
    ("unit", "places"),
    [
        ("voxels", PLACES),
        ("angstrom", 8 * PLACES),
        ("centred-voxels", PLACES - np.array(VOLUME[::-1]) / 2),
        ("centred-angstrom", 8 * (PLACES - np.array(VOLUME[::-1]) / 2)),
        ("zyx", PLACES[:, ::-1]),
        ("1.6", 5 * PLACES),
    ],
)
def test_what_coordinates_count_can_be_said(tmp_path: Path, unit: str, places: NDArray[np.float64]) -> None:
    points = placed(read_points(write_points(tmp_path / "a.txt", places)), VOLUME, (8.0, 8.0, 8.0), unit)
    np.testing.assert_allclose(points.places, PLACES, atol=0.01)


@pytest.mark.parametrize(
    ("places", "would_fit"),
    [
        (8 * PLACES + 4000, "are they of another volume?"),
        (8 * PLACES, "; --point-unit angstrom (Å) would fit"),
        (4 * PLACES, "; --point-unit 2 (pixels of 2 Å) would fit"),
        (-np.abs(PLACES - np.array(VOLUME[::-1]) / 2) - 1, "--point-unit centred-voxels (voxels from the middle)"),
    ],
)
def test_points_that_all_lie_outside_are_an_error_that_says_what_would_fit(
    tmp_path: Path, places: NDArray[np.float64], would_fit: str
) -> None:
    points = write_points(tmp_path / "a.txt", places)
    with pytest.raises(InputError) as caught:
        placed(read_points(points), VOLUME, (8.0, 8.0, 8.0), "auto")
    assert "none of the 12 points lies in the volume of 500 x 400 x 200 voxels, taken as voxels" in str(caught.value)
    assert would_fit in str(caught.value)


def test_an_error_of_points_is_the_file_s_and_names_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp())
    points = write_points(tmp_path / "far.txt", [(900, 900, 900), (1800, 950, 20)])
    assert run(source, tmp_path / "out", "--points", points) == 1
    assert "far.txt: none of the 2 points lies in the volume of 10 x 6 x 4 voxels" in capsys.readouterr().err
    assert not (tmp_path / "out" / "in.avi").exists()


def test_lengths_in_angstrom_need_a_voxel_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp())
    points = write_points(tmp_path / "p.txt", [(3, 3, 3)])
    assert run(source, tmp_path / "out", "--points", points, "--point-diameter", "20") == 1
    assert "in.mrc: has no voxel size, which --point-diameter needs" in capsys.readouterr().err
    (tmp_path / "p.star").write_text(relion_5())
    assert run(source, tmp_path / "out", "--points", tmp_path / "p.star") == 0  # those of TS_07 are not this file's
    assert run(tmp_path / "in.mrc", tmp_path / "out", "--points", tmp_path / "p.txt", "--point-unit", "angstrom") == 1
    assert "the points count Å, which need a voxel size; give it with --pixel-size" in capsys.readouterr().err


# Which points are whose


def test_each_tomogram_of_a_batch_gets_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    names = ("TS_1", "rec_TS_12", "TS_2", "other")
    for name in names:
        write_mrc(tmp_path / "in" / f"{name}.mrc", ramp(3, 40, 60))
    (tmp_path / "all.csv").write_text(
        "tomo_name,x,y,z,class\nTS_1.mrc,10,20,1,a\nTS_12,40,20,1,b\nTS_12,30,20,1,b\n/data/TS_2.rec,100,20,1,a\n"
        "/data/TS_2.rec,50,30,1,a\n"
    )
    assert run(tmp_path / "in", tmp_path / "out", *COLOURS, "--points", tmp_path / "all.csv", "--verbose") == 0
    log = capsys.readouterr().err
    assert "TS_1.mrc: --points: 1 of 1 are drawn\n" in log
    assert "rec_TS_12.mrc: --points: 2 of 2 are drawn\n" in log
    assert "TS_2.mrc: --points: 1 of 2 are drawn, 1 lie outside of the volume\n" in log
    assert "other.mrc: --points: all.csv has no points of other, but of /data/TS_2.rec, TS_1.mrc, TS_12\n" in log
    assert [bool(len(coloured(frame))) for frame in coloured_frames(tmp_path / "out" / "other.mkv")] == [False] * 3

    (tmp_path / "picks").mkdir()
    write_points(tmp_path / "picks" / "TS_1.coords", [(10, 20, 1)])
    assert run(tmp_path / "in", tmp_path / "out", *COLOURS, "--points", tmp_path / "picks" / "{name}.coords", "-v") == 0
    log = capsys.readouterr().err
    assert "TS_1.mrc: --points: 1 of 1 are drawn\n" in log
    assert f"TS_2.mrc: --points: there is no {tmp_path}/picks/TS_2.coords, so nothing of it is drawn\n" in log


def test_several_files_are_several_classes(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "TS_1.mrc", np.zeros((1, 200, 300), np.float32))
    write_points(tmp_path / "TS_1_ribosome.coords", [(80, 150, 0)])
    write_points(tmp_path / "TS_1_fatty acid synthase.coords", [(200, 150, 0)])
    (frame,) = drawn(tmp_path, source, "--points", tmp_path / "{name}_*.coords")
    assert tuple(frame[199 - 150, 80 - 8]) == PALETTE[1]
    assert tuple(frame[199 - 150, 200 - 8]) == PALETTE[0]  # classes are sorted by their names
    low = coloured(frame[120:])  # the legend, in the lower left corner
    assert len(low)
    assert low[:, 1].max() < 150
    assert {tuple(frame[120 + row, column]) for row, column in low} >= set(PALETTE[:2])


def test_a_long_legend_is_cut_short(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros((1, 120, 160), np.float32))
    rows = [f"{n + 20},60,0,{'long ' * 20}name {n}\n" for n in range(30)]
    (tmp_path / "in.csv").write_text("x,y,z,class\n" + "".join(rows))
    (frame,) = drawn(tmp_path, source, "--points", tmp_path / "in.csv")
    text = np.argwhere((frame == 255).all(axis=2))
    assert text[:, 0].min() > 60
    assert text[:, 1].max() < 80


@pytest.mark.parametrize("change", ["points", "diameter"])
def test_points_that_change_make_the_movie_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp(), voxel_size_A=10)
    points = write_points(tmp_path / "in.txt", [(3, 3, 2)])
    words: list[str | Path] = [source, tmp_path / "out", "--points", points]
    assert run(*words) == 0
    capsys.readouterr()
    assert run(*words) == 0
    assert "1 up to date" in capsys.readouterr().err
    if change == "points":
        write_points(points, [(3, 3, 2), (5, 3, 2)])
    else:
        words += ["--point-diameter", "30"]
    assert run(*words, "--dry-run", "-v") == 0
    assert ("in.txt has changed" if change == "points" else "other point_diameter") in capsys.readouterr().err
    assert run(*words) == 0
    assert "1 converted" in capsys.readouterr().err


def test_a_file_of_points_that_is_missing_is_told_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp())
    assert run(source, tmp_path / "out", "--points", tmp_path / "nowhere.star") == 2
    assert "nowhere.star: there is no such file; name another; {name} in it stands" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_points_are_in_the_pictures_beside_the_movie_too(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros((3, 300, 300), np.float32))
    points = write_points(tmp_path / "in.txt", [(150, 150, 1)])
    assert run(source, tmp_path / "out", "--points", points, "--thumbnail", "300", "--contact-sheet") == 0
    for name in ("in.png", "in.contact.png"):
        picture = cv2.imread(str(tmp_path / "out" / name))
        assert picture is not None
        assert len(coloured(np.asarray(picture, np.uint8)))


# What is no file of points

BROKEN = {
    "a.star": ["", "no star at all", "data_\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n1 2 3\n", "data_x\n_a b\n",
               "data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n1 x\n",
               "data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnPixelSize\n1 2 3\n1 2 4\n"],
    "a.tbl": ["", "1 2 3\n", "word " * 30],
    "a.ndjson": ["{", "[]", '{"location": 3}', '{"location": {"x": 1, "y": 2}}', "[" * 100_000,
                 '{"location": {"x": 1, "y": 2, "z": NaN}}', '{"location": {"x": 1, "y": 2, "z": 1' + "0" * 400 + "}}"],
    "a.json": ["{}", "3", '{"boxes_3d": [[1, 2]]}', '{"boxes_3d": 3}', '{"boxes_3d": [[1, 2, null]]}'],
    "a.csv": ["", "x,y,z\n1,2\n", "x,y,z\n1,2,z\n", "a,b,c\n", 'x,y,z\n"1,2,3\n'],
    "a.txt": ["\n\n", "one\ntwo\n", "1 2 3\n4 5\n6\n", "1_0 2_0 3\n"],
    "a.box": ["1 2\n"],
    "a.mod": ["", "IMODV1.2", "IMODV1.0" + "x" * 300, "imod 3\nobject 0 1 0\n"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BROKEN.items() for text in texts])
def test_what_is_no_file_of_points_is_refused_in_one_line(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as caught:
        read_points(tmp_path / name)
    assert caught.value.path == tmp_path / name
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_files_of_points_that_were_changed_are_read_or_refused(tmp_path: Path, name: str, data: st.DataObject) -> None:
    path = write_format(tmp_path, name)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["byte", "cut", "copy", "word"]))
        if kind == "byte":
            content[place] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del content[place : place + data.draw(st.integers(1, 40))]
        elif kind == "copy":
            content[place:place] = content[place : place + data.draw(st.integers(1, 40))]
        else:
            content[place : place + 4] = data.draw(
                st.sampled_from([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"nan ", b"1e99"])
            )
        content = content or bytearray(b"x")
    path.write_bytes(bytes(content))
    try:
        placed(read_points(path).of_volume("TS_07"), VOLUME, (8.0, 8.0, 8.0), "auto")
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["RELION 4", "Dynamo", "portal", "csv", "text"])
def test_eight_times_as_many_points_take_about_eight_times_as_long(tmp_path: Path, name: str) -> None:
    path = write_format(tmp_path, name)
    lines = path.read_bytes().rstrip().splitlines(keepends=True)
    lines[-1] += b"\n"
    rows = lines[-12:]
    head = [line for line in lines[: -len(rows)] if line not in rows]
    spent = []
    for times in (40, 320):
        path.write_bytes(b"".join(head + rows * times))
        best = math.inf
        for _ in range(3):
            begin = time.process_time()
            read_points(path)
            best = min(best, time.process_time() - begin)
        spent.append(best)
    assert spent[1] < 16 * spent[0] + 0.02


def test_names_of_tomograms_are_not_mistaken_for_others() -> None:
    from mrc2movie.readers.annotations.files import is_named

    meant = {("TS_1", "TS_1"), ("TS_1.mrc", "rec_TS_1"), ("d/TS_1.rec", "TS_1_10.00Apx"), ("TS_1.tomostar", "TS_1_b4")}
    for entry, name in itertools.product(*map(set, zip(*meant, strict=True))):
        assert is_named(entry, name)
    for entry, name in (("TS_1", "TS_12"), ("TS_1", "ATS_1"), ("", "TS_1"), (".mrc", "TS_1"), ("S_1", "TS_1")):
        assert not is_named(entry, name)
