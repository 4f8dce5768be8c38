"""Labels and the scale bar, looked for in decoded frames."""

from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from movies import LOSSLESS, coloured_frames, run, shown, write_mrc
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from mrc2movie.picture.labels import bolder, label_font, put_text, text_stamp
from mrc2movie.readers import open_volume
from mrc2movie.readers.resliced import ReslicedVolume
from mrc2movie.workers import Workers

rng = np.random.default_rng(4)

BLACK, MID, WHITE = -1.0, 0.5, 2.0
"""Voxels that ``--range 0,1`` shows so."""


def flat(path: Path, value: float, shape: tuple[int, int, int] = (6, 240, 320), **more: Any) -> Path:
    """A volume of one value but for a speck in the middle of each plane: without contrast all would be mid-grey."""
    voxels = np.full(shape, value, np.float32)
    voxels[:, shape[1] // 2, shape[2] // 2] = 0.3
    return write_mrc(path, voxels, **more)


def text_on(frame: NDArray[np.uint8], candidates: list[str]) -> str:
    """The line of text on a black frame: each is drawn in all sizes that may be, and looked for."""
    font = label_font()
    down, across = np.nonzero(frame)
    frame = np.pad(frame[down.min() : down.max() + 1, across.min() : across.max() + 1], 2)

    def likeness(text: str, size: int) -> float:
        """1 for the very same pixels somewhere, 0 where all is black."""
        ink = np.zeros((3 * size, 12 * size), np.uint8)
        put_text(ink, text, (size, 2 * size), font, size)
        ink = bolder(ink, font, size)
        rows, columns = np.nonzero(ink)
        ink = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        if ink.shape[0] > frame.shape[0] or ink.shape[1] > frame.shape[1]:
            return 0
        difference = cv2.matchTemplate(frame, ink, cv2.TM_SQDIFF).min()
        return 1 - float(difference) / float(np.square(ink, dtype=np.float64).sum())

    found = {text: max(likeness(text, size) for size in range(8, 24)) for text in candidates}
    alike = [text for text in candidates if found[text] > 0.999]
    return max(alike, key=len)  # "5 nm" is found in "15 nm" as well


def changed(plain: NDArray[np.uint8], labelled: NDArray[np.uint8]) -> tuple[slice, slice]:
    """The rows and columns in which two frames differ."""
    rows, columns = np.nonzero(plain != labelled)
    return slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)


# Words


@pytest.mark.parametrize("shape", [(96, 128), (100, 400), (300, 200), (512, 512)])
def test_labels_cover_no_more_than_their_corner_and_local_contrast_leaves_them_alone(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    source = write_mrc(tmp_path / "in.mrc", rng.normal(0, 1, (2, *shape)).astype(np.float32), voxel_size_A=10)
    rows, columns = shape
    for options in (("--clip-limit", "0"), ("--clip-limit", "3")):
        plain = shown(tmp_path, source, *options)
        for frame, labelled in zip(plain, shown(tmp_path, source, *options, "--label", "section,depth"), strict=True):
            down, across = changed(frame, labelled)
            assert down.stop <= rows / 3
            assert across.stop <= columns / 2
        for frame, labelled in zip(plain, shown(tmp_path, source, *options, "--scale-bar"), strict=True):
            down, across = changed(frame, labelled)
            assert down.start >= rows * 3 / 4
            assert across.start >= columns / 2


def test_section_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    source = flat(tmp_path / "in.mrc", BLACK, (12, 120, 160))
    found = shown(tmp_path, source, "--range", "0,1", "--label", "section", "--discard_range", "0", "3", "--every", "4")
    texts = [f"section {number}" for number in range(12)]
    assert [text_on(frame, texts) for frame in found] == ["section 3", "section 7", "section 11"]
    found = shown(tmp_path, source, "--range", "0,1", "--label", "section", "--playback", "backward", "--every", "6")
    assert [text_on(frame, texts) for frame in found] == ["section 6", "section 0"]


def test_planes_along_another_axis_are_named_for_it(tmp_path: Path) -> None:
    source = flat(tmp_path / "in.mrc", BLACK, (100, 120, 140))
    found = shown(tmp_path, source, "--range", "0,1", "--label", "section", "--axis", "y", "--every", "60")
    assert [text_on(frame, ["x 60", "y 0", "y 60", "y 6", "section 60"]) for frame in found] == ["y 0", "y 60"]


def test_tilts_are_written_in_degrees_in_tilt_order(tmp_path: Path) -> None:
    source = flat(tmp_path / "in.mrc", BLACK, (4, 120, 160))
    (tmp_path / "in.rawtlt").write_text("-0.04\n3.02\n-3.5\n-60\n")
    texts = ["−60.0°", "-60.0°", "60.0°", "−3.5°", "3.5°", "3.0°", "0.0°", "−0.0°"]  # noqa: RUF001
    found = shown(tmp_path, source, "--range", "0,1", "--label", "tilt", "--order", "tilt")
    assert [text_on(frame, texts) for frame in found] == ["−60.0°", "−3.5°", "0.0°", "3.0°"]  # noqa: RUF001


def test_depth_is_in_nm_from_section_0(tmp_path: Path) -> None:
    source = flat(tmp_path / "in.mrc", BLACK, (9, 240, 360), voxel_size_A=(1, 1, 13.5))
    texts = [f"depth {depth} nm" for depth in ("0.0", "1.4", "5.4", "10.8", "54.0", "108.0")]
    found = shown(tmp_path, source, "--range", "0,1", "--label", "depth", "--every", "4", "--bin", "2")
    assert [text_on(frame, texts) for frame in found] == ["depth 0.0 nm", "depth 5.4 nm", "depth 10.8 nm"]
    (first, *_, last) = shown(tmp_path, source, "--range", "0,1", "--label", "depth", "--pixel-size", "135")
    assert (text_on(first, texts), text_on(last, texts)) == ("depth 0.0 nm", "depth 108.0 nm")


def test_several_labels_stand_below_each_other(tmp_path: Path) -> None:
    source = flat(tmp_path / "in.mrc", BLACK, voxel_size_A=10)
    (frame, *_) = shown(tmp_path, source, "--range", "0,1", "--label", "depth,section")
    middle = int(np.flatnonzero(frame.any(axis=1)).mean())
    texts = ["depth 0.0 nm", "section 0"]
    assert [text_on(part, texts) for part in (frame[: middle + 2], frame[middle - 2 :])] == texts


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--label", "tilt"), "--label tilt: no tilt angle is known for each section, so none is written"),
        (("--label", "depth"), "--label depth: no voxel size is known, so none is written (give it with --pixel-size)"),
        (("--scale-bar",), "--scale-bar: no voxel size is known, so there is none (give it with --pixel-size)"),
    ],
)
def test_what_is_not_known_is_warned_of_and_the_movie_is_made_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], why: str
) -> None:
    source = flat(tmp_path / "in.mrc", MID)
    assert_array_equal(shown(tmp_path, source, "--range", "0,1", *options), shown(tmp_path, source, "--range", "0,1"))
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("suffix", "ispg", "kind"),
    [(".st", 0, "tilt series"), (".mrcs", 0, "particle stack"), (".mrc", 401, "volume stack")],
)
def test_what_has_no_depth_gets_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, ispg: int, kind: str
) -> None:
    source = flat(tmp_path / f"in{suffix}", BLACK, voxel_size_A=10)
    with source.open("rb+") as file:
        file.seek(88)
        file.write(ispg.to_bytes(4, "little"))
    assert_array_equal(
        shown(tmp_path, source, "--range", "0,1", "--label", "depth"), shown(tmp_path, source, "--range", "0,1")
    )
    assert f"a {kind} has no depth" in capsys.readouterr().err


def test_frames_too_small_for_words_have_none_and_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = flat(tmp_path / "in.mrc", BLACK, (2, 24, 30), voxel_size_A=10)
    labelled = shown(tmp_path, source, "--range", "0,1", "--label", "section", "--scale-bar")
    assert_array_equal(labelled, shown(tmp_path, source, "--range", "0,1"))
    said = capsys.readouterr().err
    assert "--label: frames of 30 x 24 are too small for legible text" in said
    assert "--scale-bar: frames of 30 x 24 are too small" in said


@pytest.mark.parametrize("value", [BLACK, MID, WHITE])
@pytest.mark.parametrize("shape", [(2, 128, 160), (2, 512, 512)])
def test_ink_reads_on_any_grey(tmp_path: Path, value: float, shape: tuple[int, int, int]) -> None:
    source = flat(tmp_path / "in.mrc", value, shape, voxel_size_A=10)
    (frame, _) = shown(tmp_path, source, "--range", "0,1", "--label", "section", "--scale-bar")
    text, bar = frame[: shape[1] // 3, : shape[2] // 2], frame[-shape[1] // 4 :, -shape[2] // 2 :]
    for part in (text, bar):
        white = part > 240
        around = cv2.dilate(white.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool) & ~white
        assert np.percentile(part[around], 25) < 110  # dark next to the ink, whatever lies farther away
        assert np.mean((part[around] > 60) & (part[around] < 200)) > 0.1 or value != MID  # smooth edges


def test_labels_in_colour_are_white(tmp_path: Path) -> None:
    raw = bytearray(write_mrc(tmp_path / "in.mrc", np.zeros((2, 120, 160), np.int8)).read_bytes()[:1024])
    raw[12:16] = (16).to_bytes(4, "little")
    colour = np.zeros((2, 120, 160, 3), np.uint8)
    colour[..., 0] = 200
    (tmp_path / "colour.mrc").write_bytes(bytes(raw) + colour.tobytes())
    assert run(tmp_path / "colour.mrc", tmp_path / "out", *LOSSLESS, "--range", "0,255", "--label", "section") == 0
    frame = coloured_frames(tmp_path / "out" / "colour.avi")[0]
    assert_array_equal(frame[-1, -1], (0, 0, 200))
    assert text_on(np.ascontiguousarray(frame[..., 0]), ["section 0", "section 1"]) == "section 0"


# The scale bar


def bar_pixels(frame: NDArray[np.uint8]) -> int:
    """The longest run of white in a row: nothing else on a black frame is so long."""
    return max(
        len(run) for row in frame for run in "".join("x" if pixel == 255 else " " for pixel in row).split(" ") if run
    )


BAR_TEXTS = [f"{number} {unit}" for unit in ("nm", "µm") for number in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)]


@pytest.mark.parametrize(
    ("size_A", "options", "pixels", "text"),
    [
        (10, (), 50, "50 nm"),  # a quarter of 320 pixels of 1 nm is 80 nm
        (10.0001, (), 50, "50 nm"),
        (13.5, (), 74, "100 nm"),
        (1.25, (), 80, "10 nm"),
        (0.5, (), 40, "2 nm"),
        (0, ("--pixel-size", "10"), 50, "50 nm"),
        (7, ("--pixel-size", "10"), 50, "50 nm"),
        (10, ("--bin", "2"), 25, "50 nm"),
        (10, ("--max-size", "200"), 31, "50 nm"),  # pixels of 1.6 nm
        (10, ("--bin", "2", "--max-size", "128"), 20, "50 nm"),  # pixels of 2.5 nm
        (100, (), 50, "500 nm"),
        (200, (), 50, "1 µm"),
        (1500, (), 67, "10 µm"),
    ],
)
def test_the_bar_is_as_long_as_it_says(
    tmp_path: Path, size_A: float, options: tuple[str, ...], pixels: int, text: str
) -> None:
    source = flat(tmp_path / "in.mrc", BLACK, (1, 240, 320), voxel_size_A=size_A)
    (frame,) = shown(tmp_path, source, "--range", "0,1", "--scale-bar", *options)
    assert bar_pixels(frame) == pixels
    assert text_on(frame, BAR_TEXTS) == text


@pytest.mark.parametrize(
    ("axis", "depth", "expected"),
    [("x", 40, (20, 40, 10)), ("y", 40, (10, 40, 20)), ("x", 0, None), ("y", 0, None)],
)
def test_the_voxel_size_turns_with_the_volume(
    tmp_path: Path, axis: Literal["x", "y"], expected: tuple[float, float, float] | None, depth: float
) -> None:
    source = write_mrc(tmp_path / "in.mrc", rng.normal(size=(3, 4, 5)).astype(np.float32), voxel_size_A=(10, 20, depth))
    with (
        Workers(1) as workers,
        open_volume(source) as volume,
        ReslicedVolume(volume, axis, workers.share(), tmp_path, print) as resliced,
    ):
        assert resliced.description.voxel_size_A == expected


def test_the_bar_of_planes_along_x_counts_along_y(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = flat(tmp_path / "in.mrc", BLACK, (100, 320, 16), voxel_size_A=(13.5, 10, 7))
    frame = shown(tmp_path, source, "--range", "0,1", "--scale-bar", "--axis", "x")[0]
    assert (bar_pixels(frame), text_on(frame, BAR_TEXTS)) == (50, "50 nm")  # along x "100 nm", along z 71 pixels
    assert "--scale-bar: it holds from left to right only, since the voxels are not square" in capsys.readouterr().err


@pytest.mark.skipif(label_font() is None, reason="OpenCV 4 draws its letters with strokes")
@pytest.mark.parametrize("size", [12, 16, 24, 36, 72])
def test_a_zero_is_plain_and_its_strokes_are_bold(size: int) -> None:
    """With a slash it would read like the sign for a diameter."""
    ink = text_stamp(["0"], label_font(), size).ink
    rows, columns = np.nonzero(ink > 127)
    zero = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    height, width = zero.shape
    middle = zero[height // 3 : height - height // 3, width // 2 - width // 10 : width // 2 + width // 10 + 1]
    assert middle.max() < 40
    stroke = np.flatnonzero(zero[height // 2] < 128)[0]
    assert stroke >= size / 10


# Times and names


def test_the_name_is_that_of_the_movie_and_a_long_one_is_cut_in_the_middle(tmp_path: Path) -> None:
    for name, text in (("TS_01.rec", "TS_01"), (f"begin{'i' * 300}end.mrc", None)):
        source = flat(tmp_path / name[:200], BLACK)
        (frame, *_) = shown(tmp_path / str(text), source, "--range", "0,1", "--label", "name")
        if text:
            assert text_on(frame, ["TS_01", "TS_01.rec", "TS"]) == text
        frame[frame.shape[0] // 2 - 1 :] = 0  # the speck
        rows, columns = np.nonzero(frame)
        assert columns.max() < frame.shape[1] / 2
        assert np.ptp(rows) >= 7  # legible


def test_the_name_is_no_reason_to_leave_the_tilt_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = flat(tmp_path / f"{'very_' * 30}long.mrc", BLACK, (2, 100, 120))
    assert shown(tmp_path, source, "--range", "0,1", "--label", "section,name")[0].any()
    assert "too small" not in capsys.readouterr().err


def clocks(*texts: str) -> str:
    return "".join(f"[ZValue = {number}]\nDateTime = {text}\n" for number, text in enumerate(texts))


@pytest.mark.parametrize(
    ("sidecar", "told", "expected"),
    [
        (
            "in.mrc.mdoc",
            clocks("30-Nov-15  23:59:10", "30-Nov-15  23:58:50", "01-Dec-15  00:00:20"),
            ["20 s", "0 s", "90 s"],
        ),
        (
            "in.mrc.mdoc",
            clocks("2019-Dec-31  22:58:50", "2020-Jan-01  00:00:51", "2020-Jan-01  01:00:50"),
            ["0:00:00", "1:02:01", "2:02:00"],
        ),
        ("in.mdoc", "[FrameSet = 0]\nExposureTime = 0.6\nNumSubFrames = 3\n", ["0.0 s", "0.2 s", "0.4 s"]),
        ("in_info.txt", "Camera = DE-16\nFrames Per Second = 1000\n", ["0.000 s", "0.001 s", "0.002 s"]),
    ],
    ids=["clock", "clock of hours", "exposure of the frames", "rate of the detector"],
)
def test_the_time_is_since_the_first_section(tmp_path: Path, sidecar: str, told: str, expected: list[str]) -> None:
    source = flat(tmp_path / ("in_movie.mrc" if "info" in sidecar else "in.mrc"), BLACK, (3, 240, 320))
    (tmp_path / sidecar).write_text(told)
    found = shown(tmp_path, source, "--range", "0,1", "--label", "time", "--order", "file")
    texts = [*expected, "0.00 s", "1.0 s", "10 s", "0.20 s", "0.01 s", "0:20", "1:00"]
    assert [text_on(frame, texts) for frame in found] == expected


@pytest.mark.parametrize("told", [clocks("30-Nov-15  23:59:10", "x", "01-Dec-15  00:00:20"), "[FrameSet = 0]\n", ""])
def test_a_time_that_is_not_known_of_all_sections_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], told: str
) -> None:
    source = flat(tmp_path / "in.mrc", BLACK, (3, 40, 60))
    (tmp_path / "in.mdoc").write_text(told)
    assert np.count_nonzero(shown(tmp_path, source, "--range", "0,1", "--label", "time")[0]) == 1  # the speck
    assert "--label time: it is not known when each section was taken, so none is written" in capsys.readouterr().err


def test_exposures_are_not_added_up_over_a_tilt_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = flat(tmp_path / "in.mrc", BLACK, (3, 40, 60))
    (tmp_path / "in.mdoc").write_text(
        "".join(f"[ZValue = {number}]\nTiltAngle = {3 * number}\nExposureTime = 1\n" for number in range(3))
    )
    assert shown(tmp_path, source, "--label", "time")
    assert "--label time: it is not known" in capsys.readouterr().err
