"""Models over a movie: contours and meshes of IMOD, cut where the section is."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import OFF, OPEN, SCATTERED, Thing, ball, imod, mesh
from movies import coloured_frames, ramp, run, write_mrc
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.picture.outlines import cut, within
from mrc2movie.readers.annotations.imod import read_model

COLOURS = ("--codec", "FFV1", "--format", "mkv", "--clip-limit", "0", "--playback", "forward", "--overwrite")


def drawn(tmp_path: Path, source: Path, *options: str | Path) -> list[NDArray[np.uint8]]:
    """The frames of a movie, (y, x, 3): red, green, blue."""
    assert run(source, tmp_path / "out", *COLOURS, *options) == 0
    return [frame[..., ::-1] for frame in coloured_frames(tmp_path / "out" / f"{source.stem}.mkv")]


def coloured(frame: NDArray[np.uint8]) -> NDArray[np.intp]:
    """(n, 2): row and column of the pixels that are in colour."""
    return np.argwhere(np.ptp(frame.astype(int), axis=2) > 150)


def write_model(path: Path, *things: Thing, **more: Any) -> Path:
    path.write_bytes(imod(*things, **more))
    return path


SHAPE = (12, 60, 80)
SQUARE = [(20, 15, 4), (60, 15, 4), (60, 45, 4), (20, 45, 4)]


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--flip", "no"),
        ("--bin", "2"),
        ("--crop", "10", "6", "60", "50"),
        ("--min-size", "160"),
        ("--max-size", "62", "--playback", "backward"),
    ],
    ids=str,
)
def test_a_contour_lies_where_its_voxels_are_and_in_its_section_alone(tmp_path: Path, options: tuple[str, ...]) -> None:
    voxels = np.zeros(SHAPE, np.float32)
    voxels[4, 15:46, 20:61] = 1
    source = write_mrc(tmp_path / "in.mrc", voxels)
    model = write_model(tmp_path / "in.mod", Thing([SQUARE]))
    plain = drawn(tmp_path, source, *options, "--range", "minmax")
    marked = drawn(tmp_path, source, *options, "--range", "minmax", "--model", model)
    for frame, with_line in zip(plain, marked, strict=True):
        bright, line = np.argwhere(frame[..., 0] > 127), coloured(with_line)
        assert bool(len(bright)) is bool(len(line))
        if len(bright):
            # The line goes through the middles of the outermost voxels; it is three pixels wide.
            half = {"--bin": 0.25, "--min-size": 1.0}.get(options[0] if options else "", 0.5) - 0.5
            for outer, of_line, sign in (
                (bright.min(axis=0), line.min(axis=0), -1),
                (bright.max(axis=0), line.max(axis=0), 1),
            ):
                assert np.abs(outer - sign * half + sign - of_line).max() <= 1.0


def test_open_and_closed_contours_have_their_objects_colours(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros(SHAPE, np.float32))
    upper = [(x, y, 7) for x, y, _ in SQUARE]
    model = write_model(
        tmp_path / "in.mod",
        Thing([SQUARE], colour=(1, 0, 0)),
        Thing([upper], colour=(0, 1, 0), flags=OPEN),
        Thing([[(x, y, 9) for x, y, _ in SQUARE]], colour=(0, 1, 0), contour_flags=[OPEN]),
        Thing([[(x, y, 2) for x, y, _ in SQUARE]], colour=(0, 1, 0), flags=OFF),
    )
    frames = drawn(tmp_path, source, "--model", model)
    assert [number for number, frame in enumerate(frames) if len(coloured(frame))] == [4, 7, 9]
    closing, other = (59 - 30, 20), (59 - 30, 60)  # (row, column) in the middle of two sides
    for place in (closing, other):
        red, green, blue = frames[4][place]
        assert red > 230 > 30 > max(green, blue)
    for number in (7, 9):
        red, green, blue = frames[number][other]
        assert green > 230 > 30 > max(red, blue)
        assert np.ptp(frames[number][closing]) == 0


def test_across_its_sections_a_contour_is_dots_where_it_is_met(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros(SHAPE, np.float32))
    model = write_model(tmp_path / "in.mod", Thing([SQUARE]))
    frames = drawn(tmp_path, source, "--model", model, "--axis", "y")
    dots = coloured(frames[30])
    assert set((dots[:, 1] > 40).tolist()) == {False, True}
    for column, side in ((20, dots[dots[:, 1] < 40]), (60, dots[dots[:, 1] > 40])):
        np.testing.assert_allclose(side.mean(axis=0), (SHAPE[0] - 1 - 4, column), atol=0.6)
        assert len(side) <= 12
    assert not len(coloured(frames[10]))


@pytest.mark.parametrize("with_normals", [False, True])
@pytest.mark.parametrize("axis", ["z", "x"])
def test_a_mesh_is_cut_by_the_section(tmp_path: Path, with_normals: bool, axis: str) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros((41, 60, 80), np.float32))
    centre, radius = (38.0, 30.0, 20.0), 14.0
    model = write_model(tmp_path / "in.mod", Thing(triangles=ball(centre, radius), with_normals=with_normals))
    frames = drawn(tmp_path, source, "--model", model, "--axis", axis)
    middle = centre["xyz".index(axis)]
    for number in range(round(middle) - 15, round(middle) + 16, 2):
        depth = abs(number - middle)
        line = coloured(frames[number])
        assert bool(len(line)) is (depth < radius)
        if depth < radius:
            expected = math.sqrt(radius**2 - depth**2)
            assert np.ptp(line, axis=0) / 2 == pytest.approx([expected + 1] * 2, abs=1.2)
            row, column = (29, 38) if axis == "z" else (20, 30)
            np.testing.assert_allclose(line.mean(axis=0), (row, column), atol=0.7)


def test_a_slab_shows_all_contours_in_it_and_one_cut_of_a_mesh(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros(SHAPE, np.float32))
    model = write_model(tmp_path / "in.mod", Thing([SQUARE, [(30, 30, 6), (50, 30, 6)]]))
    seen = [len(coloured(frame)) for frame in drawn(tmp_path, source, "--model", model, "--average", "3")]
    assert [bool(count) for count in seen] == [3 <= number <= 7 for number in range(12)]
    assert seen[5] == pytest.approx(seen[3] + seen[7], rel=0.1)  # both


def test_drawn_contours_come_before_a_mesh_and_a_mesh_fills_the_gaps(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros(SHAPE, np.float32))
    tube = ball((40, 30, 5), 5)
    model = write_model(tmp_path / "in.mod", Thing([SQUARE], triangles=tube))
    sizes = [np.ptp(found, axis=0).max() for frame in drawn(tmp_path, source, "--model", model)
             if len(found := coloured(frame))]  # fmt: skip
    assert max(sizes) == pytest.approx(42, abs=1)
    assert sorted(sizes)[-2] < 16


def test_scattered_points_are_spheres_of_their_size(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros(SHAPE, np.float32))
    points = [(20, 20, 5), (60, 40, 5)]
    model = write_model(tmp_path / "in.mod", Thing([points], flags=SCATTERED, radius=4, sizes=[8.0, -1.0]))
    frame = drawn(tmp_path, source, "--model", model)[5]
    found = coloured(frame)
    for (x, y, _), radius in zip(points, (8, 4), strict=True):
        near = found[np.abs(found - (59 - y, x)).max(axis=1) < 12]
        assert np.ptp(near, axis=0) == pytest.approx([2 * radius + 1] * 2, abs=1)


def test_a_model_of_another_binning_is_scaled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros(SHAPE, np.float32), voxel_size_A=16)
    unbinned = [(2 * x, 2 * y, 2 * z) for x, y, z in SQUARE]
    model = write_model(tmp_path / "in.mod", Thing([unbinned]), pixel=(0.8, -9))
    frames = drawn(tmp_path, source, "--model", model, "--verbose")
    found = coloured(frames[4])
    np.testing.assert_allclose(found.mean(axis=0), (59 - 30, 40), atol=0.5)
    assert np.ptp(found, axis=0) == pytest.approx([32, 42], abs=1)
    assert "in.mod: its coordinates count pixels of 8 Å, and the voxels have 16 Å" in capsys.readouterr().err


def test_names_of_objects_are_in_the_legend(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros((3, 200, 300), np.float32))
    model = write_model(tmp_path / "in.mod", Thing([[(200, 150, 1), (250, 150, 1)]], name="membrane"))
    frames = drawn(tmp_path, source, "--model", model)
    assert all(len(coloured(frame[150:, :60])) for frame in frames)
    assert all((frame[150:, 30:150] == 255).all(axis=2).any() for frame in frames)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (imod(Thing([SQUARE]))[:-30], "ends within the model, or is damaged"),
        (imod(Thing([[(1e12, 0, 0)]])), "ends within the model, or is damaged"),
        (imod(Thing([[(math.nan, 0, 0)]])), "ends within the model, or is damaged"),
        (imod(extra=mesh(np.zeros((1, 3, 3)), lambda places: b"\0" * 72)[:-20] + b"\x7f" * 20), ""),
        (b"imod 1\nobject 0 1 0\n", "is a model of IMOD in text, and not binary; imodtrans makes it binary"),
        (b"MAP " * 100, "is no model of IMOD"),
        (imod(Thing([[(500, 500, 3)]])), "nothing of the model lies in the volume of 10 x 6 x 4 voxels"),
    ],
)
def test_what_is_no_model_or_of_another_volume_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, why: str
) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp())
    (tmp_path / "in.mod").write_bytes(content)
    assert run(source, tmp_path / "out", "--model", tmp_path / "in.mod") == (1 if why else 0)
    assert f"in.mod: {why}" in capsys.readouterr().err if why else True


def test_a_mesh_whose_list_names_vertices_that_are_not_there_is_refused(tmp_path: Path) -> None:
    content = imod(Thing(triangles=ball((4, 4, 2), 2, 4)))
    place = content.index(b"\xff\xff\xff\xe7") + 4  # behind the command that begins the triangles
    (tmp_path / "in.mod").write_bytes(content[:place] + b"\x7f\xff\xff\xff" + content[place + 4 :])
    with pytest.raises(InputError):
        read_model(tmp_path / "in.mod")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_models_that_were_changed_are_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(imod(Thing([SQUARE], triangles=ball((4, 4, 2), 2, 3), name="a", sizes=[1.0] * 4)))
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(content) - 1))
        changed = data.draw(
            st.sampled_from([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1", b"CONT", b"\xff", b""])
        )
        content[place : place + max(1, len(changed))] = changed
        content = content or bytearray(b"x")
    (tmp_path / "in.mod").write_bytes(bytes(content))
    try:
        read_model(tmp_path / "in.mod")
    except InputError as error:
        assert "\n" not in str(error)


# The arithmetic


def test_the_part_of_a_segment_within_a_slab_is_exact() -> None:
    rng = np.random.default_rng(1)
    segments = rng.uniform(-5, 5, (200, 2, 3))
    segments = segments[np.argsort(segments[..., 0].min(axis=1))]
    low, high = -1.0, 1.5
    found = within(segments, low, high)
    expected = []
    for begin, end in segments:
        share = np.linspace(0, 1, 100_001)
        inside = share[
            (begin[0] + share * (end[0] - begin[0]) >= low) & (begin[0] + share * (end[0] - begin[0]) < high)
        ]
        if len(inside):
            expected.append([begin[1:] + part * (end[1:] - begin[1:]) for part in (inside[0], inside[-1])])
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        forward, backward = np.abs(ours - theirs).max(), np.abs(ours[::-1] - theirs).max()
        assert min(forward, backward) < 1e-3


def test_a_segment_in_a_plane_belongs_to_one_slab_alone() -> None:
    for plane, expected in ((2.0, 2), (2.49, 2), (2.5, 3), (1.5, 2)):
        segment = np.array([[[plane, 0, 0], [plane, 5, 5]]])
        assert [number for number in range(5) if len(within(segment, number - 0.5, number + 0.5))] == [expected]


def test_the_cut_of_a_triangle_is_exact() -> None:
    rng = np.random.default_rng(2)
    corners = rng.uniform(-5, 5, (300, 3, 3))
    corners = np.take_along_axis(corners, np.argsort(corners[..., 0], axis=1)[..., None], axis=1)
    lines = cut(corners, 0.3)
    met = [each for each in corners if each[0, 0] <= 0.3 < each[2, 0]]
    assert len(lines) == len(met)
    for ends, triangle in zip(lines, met, strict=True):
        for end in ends:  # in barycentric coordinates it lies in the triangle, on an edge, in the plane
            matrix = np.vstack([triangle.T, np.ones(3)])
            weights = np.linalg.lstsq(matrix, np.array([0.3, *end, 1]), rcond=None)[0]
            assert np.abs(matrix @ weights - [0.3, *end, 1]).max() < 1e-9
            assert weights.min() > -1e-9
            assert weights.min() < 1e-9
