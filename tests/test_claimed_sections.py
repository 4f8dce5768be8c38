"""A header may claim billions of sections: nothing is kept for each of them, and the run can always be stopped."""

import bz2
import json
import os
import signal
import sys
import time
from itertools import islice
from pathlib import Path

import pytest
from faults import limited, started
from movies import description_of, packets, thinned
from mrc_bytes import header, write

from mrc2movie import Settings, convert
from mrc2movie.conversion.preparation import selection_of

CLAIMED = 2 * 10**9

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits the address space")


def bomb(path: Path) -> Path:
    """Some hundred bytes that claim billions of sections of one voxel each, and hold five."""
    data = bz2.compress(header(1, 1, CLAIMED, 0) + bytes(range(5)))
    assert len(data) < 200
    return write(path, data)


def of_zeros(path: Path, sections: int) -> Path:
    """A plain file that does hold its sections of one voxel, and takes no room on the disk."""
    write(path, header(1, 1, sections, 0))
    os.truncate(path, 1024 + sections)
    return path


def peak_megabytes(process: int) -> int:
    (line,) = (line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024


@pytest.mark.parametrize(
    "options",
    thinned(
        [
            [],
            ["--playback", "backward"],
            ["--discard-range", "1", "3", "--playback", "forward"],
            ["--average", "3", "--every", "5"],
            ["--label", "section", "--contact-sheet"],
            ["--match-mean"],
        ],
        2,
    ),
    ids=" ".join,
)
def test_a_small_stream_that_claims_billions_of_sections_shows_those_it_has(tmp_path: Path, options: list[str]) -> None:
    out = tmp_path / "out"
    process = started(bomb(tmp_path / "a.mrc"), out, "--jobs", "1", *options, preexec_fn=limited(900))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert f"truncated: 5 of {CLAIMED} sections" in said
    expected = {"--discard-range": 3, "--average": 1, "--playback": 5}
    assert len(packets(out / "a.avi")) == expected.get(options[0] if options else "", 8)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], marks=pytest.mark.large),
        pytest.param(["--discard-range", "5", "9"], marks=pytest.mark.large),
        ["--average", "2", "--playback", "backward"],
    ],
)
def test_a_file_of_a_billion_sections_takes_little_memory_and_can_be_stopped(
    tmp_path: Path, options: list[str]
) -> None:
    source = of_zeros(tmp_path / "a.mrc", 10**9)
    process = started(source, tmp_path / "out", "--jobs", "1", *options, preexec_fn=limited(900))
    time.sleep(2)
    assert process.poll() is None
    assert peak_megabytes(process.pid) < 300
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert time.monotonic() - begin < 0.6
    assert (process.returncode, "terminated" in said) == (143, True)


def test_more_frames_than_a_movie_can_have_are_refused(tmp_path: Path) -> None:
    source = of_zeros(tmp_path / "a.mrc", CLAIMED)
    process = started(source, tmp_path / "out", "--jobs", "1", preexec_fn=limited(900))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert (
        f"{source}: would be a movie of {2 * CLAIMED - 2} frames, more than the {2**31 - 1} that one can have" in said
    )
    assert "--every" in said


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(every=7, playback="backward"),
        Settings(discard_range=(3, 6)),
        Settings(discard_range=(0, 6), playback="backward"),
        Settings(discard_range=(15, 99), every=2),
        Settings(discard_range=(3, 6), every=4, average=3, playback="backward"),
        Settings(discard_percentage=(0.1, 0.2), average=2),
        Settings(average=3, every=5),
        Settings(discard_range=(30, 40)),
    ],
)
def test_the_order_is_the_one_that_lists_would_have(settings: Settings) -> None:
    kept = list(range(20))
    if settings.discard_range:
        kept = [n for n in kept if not settings.discard_range[0] <= n < settings.discard_range[1]]
    if settings.discard_percentage:
        kept = kept[2:16]
    places = list(range(0, len(kept), settings.every))
    if settings.playback == "backward":
        places.reverse()
    means = [kept[max(0, p - (settings.average - 1) // 2) : p + settings.average // 2 + 1] for p in places]
    read = list(dict.fromkeys(number for mean in means for number in mean))
    shown = selection_of(description_of(20, 1, 1), settings)
    assert list(shown.numbers) == [kept[place] for place in places]
    assert [list(shown.neighbours(position)) for position in range(len(places))] == means
    assert list(shown.read()) == read
    assert shown.rising == (read == sorted(read))


def test_the_order_of_billions_is_known_at_once() -> None:
    shown = selection_of(description_of(CLAIMED, 1, 1), Settings(discard_range=(10, 20), every=3, average=5))
    assert list(islice(shown.read(), 6)) == [0, 1, 2, 3, 4, 5]
    assert shown.numbers[-1] == CLAIMED - 1
    assert shown.rising


@pytest.mark.large
def test_the_record_of_many_sections_tells_how_many_and_the_ends(tmp_path: Path) -> None:
    source = of_zeros(tmp_path / "a.mrc", 10_004)
    convert(source, tmp_path / "a.avi", Settings(playback="forward", discard_range=(0, 3)))
    record = json.loads((tmp_path / ".mrc2movie" / "a.avi.json").read_text())
    assert record["sections"] == {"count": 10_001, "first": 3, "last": 10_003}
