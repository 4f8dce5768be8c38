"""Which sections are shown, in which order."""

import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest
from movies import LOSSLESS, description_of, packets, ramp, reference, run, sections_seen, write_mrc

from mrc2movie import Settings
from mrc2movie.conversion.preparation import selection_of
from mrc2movie.picture.selection import Timeline


def order(tmp_path: Path, count: int, *options: str) -> list[int]:
    """The section that each frame shows, found by its pixels."""
    voxels = ramp(count, 4, 4, "float32")
    source = write_mrc(tmp_path / "in.mrc", voxels)
    assert run(source, tmp_path / "out", *LOSSLESS, "--range", f"0,{voxels.max()}", "--overwrite", *options) == 0
    return sections_seen(tmp_path / "out" / "in.avi", reference(voxels, 0, float(voxels.max())))


def test_forward_backward_shows_no_end_twice(tmp_path: Path) -> None:
    assert order(tmp_path, 5) == [0, 1, 2, 3, 4, 3, 2, 1]


@pytest.mark.parametrize(("count", "expected"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2, 1])])
def test_forward_backward_of_few_sections(tmp_path: Path, count: int, expected: list[int]) -> None:
    assert order(tmp_path, count) == expected


def test_forward_and_backward_show_each_section_once(tmp_path: Path) -> None:
    assert order(tmp_path, 4, "--playback", "forward") == [0, 1, 2, 3]
    assert order(tmp_path, 4, "--playback", "backward") == [3, 2, 1, 0]


@pytest.mark.parametrize(
    ("count", "options", "expected"),
    [
        (4, ("--hold", "2"), [0, 0, 0, 1, 2, 3, 3, 3, 2, 1]),
        (3, ("--hold", "1", "--cycles", "2", "--playback", "forward"), [0, 0, 1, 2, 2, 0, 0, 1, 2, 2]),
        (3, ("--cycles", "3"), [0, 1, 2, 1] * 3),
        (2, ("--hold", "1", "--playback", "backward"), [1, 1, 0, 0]),
        (1, ("--hold", "2", "--cycles", "2"), [0] * 6),
    ],
)
def test_ends_are_held_and_all_is_shown_again(
    tmp_path: Path, count: int, options: tuple[str, ...], expected: list[int]
) -> None:
    assert order(tmp_path, count, *options) == expected


def test_the_numbers_of_the_frames_that_show_a_section_are_even_odd_or_both() -> None:
    for count, back, hold, cycles in itertools.product(range(1, 6), (False, True), range(4), range(1, 4)):
        shown = Timeline(count, back, hold, cycles)
        positions = list(shown)
        assert len(positions) == len(shown)
        assert shown.shows_again is (list(positions).index(count - 1) + hold + 1 < len(positions) and count > 1)
        for position in range(count):
            expected = sorted({frame % 2 for frame, other in enumerate(positions) if other == position})
            assert shown.turns(position) == expected, (shown, position)


def test_a_discarded_range_leaves_out_its_end(tmp_path: Path) -> None:
    assert order(tmp_path, 6, "--discard_range", "1", "3", "--playback", "forward") == [0, 3, 4, 5]
    assert order(tmp_path, 6, "--discard-range", "4", "99", "--playback", "forward") == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (("--discard-range", "-3", "-1"), [0, 1, 2, 5]),
        (("--discard-range", "1", "-2"), [0, 4, 5]),
        (("--discard-range", "-2", "99"), [0, 1, 2, 3]),
        (("--only", "1:3"), [1, 2]),
        (("--only=-2:",), [4, 5]),
        (("--only", "-2:"), [4, 5]),
        (("--only=:-4",), [0, 1]),
        (("--only=1:-1", "--every=2"), [1, 3]),
        (("--only=2:99", "--playback=backward"), [5, 4, 3, 2]),
    ],
)
def test_ranges_count_from_either_end_as_in_python(tmp_path: Path, options: tuple[str, ...], kept: list[int]) -> None:
    assert order(tmp_path, 6, "--playback", "forward", *options) == kept


def test_the_end_of_a_compressed_stream_is_where_negative_numbers_count_from(tmp_path: Path) -> None:
    whole = write_mrc(tmp_path / "whole.mrc", ramp(6)).read_bytes()
    (tmp_path / "a.mrc.gz").write_bytes(gzip.compress(whole[: -2 * ramp(1).nbytes]))
    assert run(tmp_path / "a.mrc.gz", tmp_path / "out", *LOSSLESS, "--only=-2:", "--playback=forward") == 0
    assert sections_seen(tmp_path / "out" / "a.avi", reference(ramp(6)[2:4], 120, 239)) == [0, 1]


def test_discarded_fractions_are_taken_from_both_ends(tmp_path: Path) -> None:
    assert order(tmp_path, 10, "--discard_percentage", "0.1", "0.2", "--playback", "forward") == [1, 2, 3, 4, 5, 6, 7]


def test_fractions_know_no_float_surprises() -> None:
    for hundredths in range(100):
        shown = selection_of(description_of(100, 4, 4), Settings(discard_percentage=(hundredths / 100, 0.0)))
        assert list(shown.numbers) == list(range(hundredths, 100))


def test_discarding_everything_fails_with_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp())
    assert run(source, tmp_path / "out", "--discard_range", "0", "4") == 1
    assert "all 4 sections are discarded; discard fewer" in capsys.readouterr().err
    assert not (tmp_path / "out" / "in.avi").exists()


def test_the_grey_range_is_that_of_the_sections_shown(tmp_path: Path) -> None:
    voxels = ramp(4, 4, 4, "float32")
    voxels[0] = 10_000 + np.arange(16).reshape(4, 4)
    source = write_mrc(tmp_path / "in.mrc", voxels)
    assert run(source, tmp_path / "out", *LOSSLESS, "--discard_range", "0", "1", "--playback", "forward") == 0
    pictures = reference(voxels[1:], float(voxels[1:].min()), float(voxels[1:].max()))
    assert sections_seen(tmp_path / "out" / "in.avi", pictures) == [0, 1, 2]


def test_the_way_back_repeats_the_packets_of_the_way_forward(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.random.default_rng(0).normal(size=(7, 32, 32)).astype(np.float32))
    assert run(source, tmp_path / "out") == 0
    forward = packets(tmp_path / "out" / "in.avi")
    assert len(forward) == 12
    assert forward[7:] == forward[5:0:-1]
    assert len(set(forward)) == 7
