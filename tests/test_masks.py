"""Masks over a movie: labels, features and probabilities lie where their voxels are, also binned ones."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from movies import coloured_frames, ramp, run, thinned, write_mrc
from numpy.typing import NDArray

from mrc2movie.picture.overlays import PALETTE

COLOURS = ("--codec", "FFV1", "--format", "mkv", "--clip-limit", "0", "--playback", "forward", "--overwrite")
SHAPE = (12, 60, 80)
BOX = slice(4, 8), slice(16, 40), slice(24, 56)
"""Planes, rows and columns of a feature; its sides are whole voxels of masks binned by 2 and 4."""


def drawn(tmp_path: Path, source: Path, *options: str | Path) -> list[NDArray[np.uint8]]:
    """The frames of a movie, (y, x, 3): red, green, blue."""
    assert run(source, tmp_path / "out", *COLOURS, *options) == 0
    return [frame[..., ::-1] for frame in coloured_frames(tmp_path / "out" / f"{source.stem}.mkv")]


def coloured(frame: NDArray[np.uint8], least: int = 60) -> NDArray[np.intp]:
    """(n, 2): row and column of the pixels that are in colour."""
    return np.argwhere(np.ptp(frame.astype(int), axis=2) > least)


def box(dtype: str = "int8", value: float = 1, bin: int = 1) -> NDArray[Any]:
    """A mask with the feature, (z, y, x), where a voxel has so many of the volume in each direction."""
    mask = np.zeros([side // bin for side in SHAPE], dtype)
    mask[tuple(slice(part.start // bin, part.stop // bin) for part in BOX)] = value
    return mask


def write_mask(directory: Path, mask: NDArray[Any]) -> Path:
    """A mask of the name of its volume, which is no feature's, so that there is no legend."""
    (directory / "masks").mkdir(exist_ok=True)
    return write_mrc(directory / "masks" / "in.mrc", mask)


@pytest.mark.parametrize("bin", thinned([1, 4, 2], 2))
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--flip", "no"),
        ("--axis", "y"),
        ("--axis", "x", "--flip", "no"),
        ("--bin", "2"),
        ("--crop", "11", "7", "60", "50"),
        ("--min-size", "160"),
        ("--max-size", "62", "--playback", "backward"),
    ],
    ids=str,
)
def test_the_outline_of_a_mask_lies_around_its_voxels(tmp_path: Path, options: tuple[str, ...], bin: int) -> None:
    volume = np.zeros(SHAPE, np.float32)
    volume[BOX] = 1
    source = write_mrc(tmp_path / "in.mrc", volume)
    mask = write_mask(tmp_path, box(bin=bin))
    plain = drawn(tmp_path, source, *options, "--range", "minmax")
    marked = drawn(tmp_path, source, *options, "--range", "minmax", "--mask", mask)
    seen = 0
    for frame, with_mask in zip(plain, marked, strict=True):
        bright, line = np.argwhere(frame[..., 0] > 127), coloured(with_mask)
        assert bool(len(bright)) is bool(len(line))
        if len(bright):
            seen += 1
            # Outlines lie on the edge, half within; corners of coarse masks are rounded off, sides are not.
            pixels = 160 / 80 if "160" in options else 1.0
            for ours, theirs in ((line.min(axis=0), bright.min(axis=0)), (line.max(axis=0), bright.max(axis=0))):
                assert np.abs(ours - theirs).max() <= 1.6 + 0.4 * pixels
    assert seen == len([frame for frame in plain if frame.max()])


def test_a_fill_is_faint_and_all_else_stays_as_it_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    source = write_mrc(tmp_path / "TS.mrc", rng.normal(size=SHAPE).astype(np.float32))
    mask = write_mrc(tmp_path / "TS.mask.mrc", box())
    plain, marked = drawn(tmp_path, source), drawn(tmp_path, source, "--mask", mask)
    for number, (frame, with_mask) in enumerate(zip(plain, marked, strict=True)):
        if not BOX[0].start <= number < BOX[0].stop:
            np.testing.assert_array_equal(frame[:40], with_mask[:40])  # below is the legend
            continue
        outside = np.ones(SHAPE[1:], bool)
        outside[60 - 40 - 4 : 60 - 16 + 4, 24 - 4 : 56 + 4] = False
        outside[40:] = False
        np.testing.assert_array_equal(frame[outside], with_mask[outside])
        inside = slice(60 - 40 + 4, 60 - 16 - 4), slice(24 + 4, 56 - 4)
        expected = 0.84 * frame[inside] + 0.16 * np.array(PALETTE[0])
        np.testing.assert_allclose(with_mask[inside], expected, atol=3)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float32", "float16"])
def test_labels_of_any_type_have_a_colour_each(tmp_path: Path, dtype: str) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros((2, 60, 160), np.float32))
    labels = np.zeros((2, 60, 160), dtype)
    for number, label in enumerate((5, 1, 9)):
        labels[:, 30:50, 20 + 40 * number : 40 + 40 * number] = label
    mask = write_mrc(tmp_path / "labels.mrc", labels)
    frame = drawn(tmp_path, source, "--mask", mask)[1]
    for column, colour in ((20, 1), (60, 0), (100, 2)):  # in the order of the labels
        edge = frame[20, column - 1].astype(int)
        assert np.abs(edge - PALETTE[colour]).max() <= 6


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_mask_may_be_a_tiff_file(tmp_path: Path, dtype: str) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros(SHAPE, np.float32))
    as_mrc = drawn(tmp_path, source, "--mask", write_mask(tmp_path, 3 * box()))
    mask = tmp_path / "masks" / "in.tif"
    tifffile.imwrite(mask, 3 * box(dtype)[:, ::-1])  # its first row is at the top
    as_tiff = drawn(tmp_path, source, "--mask", mask)
    assert len(coloured(as_tiff[5])) > 0
    np.testing.assert_array_equal(as_tiff, as_mrc)


def test_many_labels_are_instances_and_share_the_colours(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "TS.mrc", np.zeros((1, 60, 200), np.float32))
    labels = np.zeros((1, 60, 200), np.int16)
    for number in range(18):
        labels[0, 30:50, 10 * number + 8 : 10 * number + 12] = 100 + number
    mask = write_mrc(tmp_path / "TS__ribosomes.mrc", labels)
    (frame,) = drawn(tmp_path, source, "--mask", mask)
    found = {tuple(pixel) for pixel in frame[20, 8:190] if np.ptp(pixel.astype(int)) > 40}
    assert len(found) == len(PALETTE)


def test_each_feature_of_a_tomogram_has_its_colour_and_its_name(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "TS_1.mrc", np.zeros(SHAPE, np.float32))
    write_mrc(tmp_path / "TS_1__membrane.mrc", box())
    other = np.zeros(SHAPE, np.float32)
    other[:, 30:50, 60:75] = 1
    write_mrc(tmp_path / "TS_1__ribosome.mrc", other)
    write_mrc(tmp_path / "TS_12__actin.mrc", other)
    frame = drawn(tmp_path, source, "--mask", str(tmp_path / "{name}__*.mrc"))[5]
    for place, colour in (((59 - 20, 24), 0), ((59 - 40, 60), 1)):
        assert np.abs(frame[place].astype(int) - PALETTE[colour]).max() <= 30


def test_probabilities_are_cut_at_a_half_or_where_it_is_said(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros((1, 60, 80), np.float32))
    slope = np.zeros((1, 60, 80), np.float32)
    slope[0, 10:50] = np.linspace(0.01, 0.99, 80)
    mask = write_mask(tmp_path, slope)
    for options, expected in (((), 40), (("--mask-threshold", "0.8"), 64), (("--mask-threshold", "0.1"), 8)):
        (frame,) = drawn(tmp_path, source, "--mask", mask, *options)
        assert coloured(frame[:30]).min(axis=0)[1] == pytest.approx(expected, abs=2)
    counts = write_mask(tmp_path, np.arange(4800).reshape(1, 60, 80).astype(np.int16))
    (frame,) = drawn(tmp_path, source, "--mask", counts, "--mask-threshold", "2400")
    assert coloured(frame)[:, 0].max() == pytest.approx(30, abs=2)  # the upper half of the picture


def test_a_slab_shows_the_mask_in_its_middle(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros(SHAPE, np.float32))
    mask = write_mrc(tmp_path / "mask.mrc", box())
    frames = drawn(tmp_path, source, "--mask", mask, "--average", "5")
    assert [bool(len(coloured(frame[:40]))) for frame in frames] == [4 <= number < 8 for number in range(12)]


def test_a_packed_mask_is_read_in_any_order(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros(SHAPE, np.float32))
    mask = write_mrc(tmp_path / "mask.mrc", box())
    packed = tmp_path / "mask.mrc.gz"
    packed.write_bytes(gzip.compress(mask.read_bytes()))
    expected = drawn(tmp_path, source, "--mask", mask, "--playback", "backward")
    for frame, other in zip(drawn(tmp_path, source, "--mask", packed, "--playback", "backward"), expected, strict=True):
        np.testing.assert_array_equal(frame, other)


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (np.zeros((12, 60, 70), np.int8), "has 70 x 60 x 12 voxels, and the volume has 80 x 60 x 12: neither as many"),
        (np.zeros((6, 60, 80), np.int8), "has 80 x 60 x 6 voxels, and the volume has 80 x 60 x 12: neither as many"),
        (np.zeros(SHAPE, np.int8), "has nothing in it: no label above 0; is it a mask?"),
        (ramp(*SHAPE), "has more than 1024 different values, and so no labels; --mask-threshold VALUE"),
    ],
)
def test_what_is_no_mask_of_the_volume_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mask: NDArray[Any], why: str
) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros(SHAPE, np.float32))
    assert run(source, tmp_path / "out", "--mask", write_mrc(tmp_path / "mask.mrc", mask)) == 1
    assert f"mask.mrc: {why}" in capsys.readouterr().err


def test_a_mask_that_changes_makes_the_movie_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.zeros(SHAPE, np.float32))
    mask = write_mrc(tmp_path / "mask.mrc", box())
    for converted in (True, False, True):
        if converted:
            write_mrc(mask, box("int16"))
        assert run(source, tmp_path / "out", "--mask", mask) == 0
        assert ("1 converted" if converted else "1 up to date") in capsys.readouterr().err
        write_mrc(mask, box("float32")) if not converted else None
