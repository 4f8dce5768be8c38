"""Movies that can be sent and played: the level that they declare, their bits in a second, their size."""

import math
import re
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from movies import run, thinned, write_mrc
from numpy.typing import NDArray

from mrc2movie import Settings, convert
from mrc2movie.conversion.bitrate import Extent, Fitting, _finest
from mrc2movie.workers import Workers
from mrc2movie.writers import open_movie

rng = np.random.default_rng(17)


def noise(sections: int, rows: int, columns: int) -> NDArray[np.float32]:
    """(z, y, x), as noisy as a tilt series."""
    return rng.normal(size=(sections, rows, columns)).astype(np.float32)


def peak_bits(movie: Path) -> int:
    """The most bits in any second, by the packets of the container."""
    with av.open(str(movie)) as container:
        stream = container.streams.video[0]
        rate = math.ceil(stream.average_rate or 0)
        sizes = [packet.size for packet in container.demux(stream) if packet.size]
    return max(8 * sum(sizes[start : start + rate]) for start in range(len(sizes)))


def declared(movie: Path) -> tuple[int, bool]:
    """The level and whether it is of the high tier; the container and all parameter sets must agree on them."""
    data = movie.read_bytes()
    if (place := data.find(b"avcC")) >= 0:  # ISO/IEC 14496-15, 5.3.3.1
        record = data[place + 4 :]
        unit = record[8 : 8 + int.from_bytes(record[6:8], "big")]
        assert unit[0] & 31 == 7
        assert unit[1:4] == record[1:4]
        return record[3], False
    record = data[data.index(b"hvcC") + 4 :]  # 8.3.3.1
    found, place = {bytes(record[1:13])}, 23
    for _ in range(record[22]):
        kind, units = record[place] & 63, int.from_bytes(record[place + 1 : place + 3], "big")
        place += 3
        for _ in range(units):
            length = int.from_bytes(record[place : place + 2], "big")
            unit = record[place + 2 : place + 2 + length].replace(b"\0\0\3", b"\0\0")
            place += 2 + length
            if kind in (32, 33):  # ITU-T H.265, 7.3.2.1 and 7.3.2.2
                begin = {32: 6, 33: 3}[kind]
                found.add(unit[begin : begin + 12])
    ((tier, *_, level),) = found
    assert tier & 31 == 1, "not the Main profile"
    return level, bool(tier & 32)


@pytest.mark.parametrize(
    ("codec", "columns", "rows", "fps", "frames", "quality", "level", "most_bits"),
    [
        ("H264", 64, 48, 25, 3, 50, 10, 64e3),
        ("H264", 64, 48, 250, 3, 50, 11, 192e3),
        ("H264", 512, 512, 10, 11, 90, 31, 14e6),
        ("H264", 512, 512, 150, 3, 90, 32, 20e6),
        ("H264", 1024, 1024, 30, 3, 90, 32, 20e6),
        ("H264", 1024, 1024, 30, 8, 90, 41, 50e6),
        ("H264", 1024, 1024, 30, 14, 95, 50, 135e6),
        ("H264", 2048, 1040, 10, 1, 50, 42, 50e6),
        ("H264", 4096, 16, 10, 1, 50, 40, 20e6),
        ("HEVC", 64, 48, 25, 3, 90, 30, 128e3),
        ("HEVC", 512, 512, 8, 9, 90, 93, 10e6),
        ("HEVC", 1024, 1024, 30, 2, 90, 120, 12e6),
        ("HEVC", 1024, 1024, 30, 5, 90, 120, 30e6),
        ("HEVC", 1024, 1024, 30, 14, 90, 150, 100e6),
    ],
)
@pytest.mark.parametrize("container", thinned(["mp4", "mov"], 2))
def test_the_level_is_honest_for_size_rate_and_bits(
    tmp_path: Path,
    codec: str,
    columns: int,
    rows: int,
    fps: int,
    frames: int,
    quality: int,
    level: int,
    most_bits: float,
    container: str,
) -> None:
    path = tmp_path / f"x.{container}"
    writer = open_movie(path, (rows, columns), Settings(codec=codec, format=container, fps=fps, quality=quality))
    encode = writer.encoder()
    packet = encode(np.asarray(rng.normal(128, 40, (rows, columns)).clip(0, 255), np.uint8), 0)
    for _ in range(frames):
        writer.write(packet)
    writer.close()
    assert peak_bits(path) <= most_bits
    high = codec == "HEVC" and most_bits in (30e6, 50e6, 100e6)
    assert declared(path) == (level, high)


@pytest.mark.parametrize("codec", thinned(["H264", "HEVC"], 2))
def test_the_level_of_predicted_frames_is_honest_too(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "x.mp4"
    writer = open_movie(path, (256, 256), Settings(codec=codec, small=True, quality=98))
    encode = writer.encoder()
    for position in range(12):
        writer.write(encode(rng.integers(0, 256, (256, 256), np.uint8), position))
    writer.close()
    most = {"H264": {21: 4e6, 22: 4e6, 30: 10e6, 31: 14e6}, "HEVC": {63: 3e6, 90: 6e6, 93: 10e6}}[codec]
    assert peak_bits(path) <= most[declared(path)[0]]


def test_an_empty_section_in_the_middle_makes_no_difference_to_the_quality(tmp_path: Path) -> None:
    """It says that the movie is small, so that it is made at once, and then again as the others ask for."""
    voxels = 25 * noise(40, 512, 512)
    voxels[5] = rng.choice([-128.0, 127.0], (512, 512))
    qualities = []
    for name in ("noisy", "empty"):
        made = convert(write_mrc(tmp_path / name, voxels), tmp_path / f"{name}.mp4", Settings(fps=60, range="-128,127"))
        assert peak_bits(made.target) <= 50e6
        qualities.append(int(re.findall(r"quality (\d+) instead of 90", "".join(made.record.notes))[0]))
        voxels[20] = 0
    assert qualities[1] >= qualities[0]


@pytest.mark.parametrize("codec", ["H264", pytest.param("HEVC", marks=pytest.mark.large)])
def test_by_default_every_second_stays_within_what_players_take(tmp_path: Path, codec: str) -> None:
    source = write_mrc(tmp_path / "in.mrc", noise(9, 1024, 1024))
    made = convert(source, tmp_path / "in.mp4", Settings(codec=codec, fps=16))
    peak = peak_bits(made.target)
    assert 30e6 < peak <= 50e6
    assert declared(made.target)[0] == {"H264": 41, "HEVC": 123}[codec] or peak <= 30e6
    assert any(
        note.startswith("quality ") and "instead of 90: at 90 it would have" in note for note in made.record.notes
    )
    assert made.record.warnings == ()


def test_a_movie_that_players_take_keeps_its_quality(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", noise(4, 256, 256))
    plain = convert(source, tmp_path / "plain.mp4", Settings(format="mp4", range="minmax"))
    asked = convert(source, tmp_path / "asked.mp4", Settings(format="mp4", quality=90, range="minmax"))
    assert plain.record.notes == asked.record.notes == plain.record.warnings == ()
    assert abs(plain.record.movie.size - asked.record.movie.size) < 100, "but for the comment"


def test_a_quality_that_is_given_holds_and_the_rate_is_warned_about(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", noise(9, 1024, 1024))
    made = convert(source, tmp_path / "in.mp4", Settings(format="mp4", fps=16, quality=90, range="minmax"))
    peak = peak_bits(made.target)
    assert peak > 60e6
    assert made.record.notes == ()
    (warning,) = made.record.warnings
    assert warning.startswith(f"{peak / 1e6:.3g} Mbit in a second are more than the 50 Mbit that common players take")
    assert declared(made.target) == (50, False)


LOSSY = ["MJPG", "H264", "HEVC", "VP9", "AV1", "PRORES"]


@pytest.mark.parametrize("small", thinned([False, True], 2))
@pytest.mark.parametrize("codec", thinned(LOSSY, 3))
def test_no_movie_is_larger_than_asked_for(tmp_path: Path, codec: str, small: bool) -> None:
    if small and codec in ("MJPG", "PRORES"):
        pytest.skip(f"{codec} has no --small")
    source = write_mrc(tmp_path / "in.mrc", noise(10, 192, 160))
    most = {"PRORES": 0.35, "HEVC": 0.2, "AV1": 0.2}.get(codec, 0.1)
    settings = Settings(codec=codec, small=small, max_mb=most)
    made = convert(source, tmp_path / f"in.{settings.format}", settings)
    assert 0.5e6 * most < made.record.movie.size <= 1e6 * most
    said = made.record.notes + made.record.warnings
    assert any(f"MB, more than --max-mb {most:g}" in text for text in said)


def test_a_movie_below_the_size_asked_for_keeps_its_quality(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", noise(3, 64, 64))
    sizes = [
        convert(source, tmp_path / "in.avi", Settings(max_mb=most)).record.movie.size for most in (None, 0.5, 1000)
    ]
    assert len(set(sizes)) == 1


@pytest.mark.parametrize("words", [(), ("--format", "mp4")])
def test_sections_that_no_sample_shows_are_made_good_for(tmp_path: Path, words: tuple[str, ...]) -> None:
    """The sample is the odd sections; all that needs bits is in the even ones."""
    voxels = noise(10, 192, 160)
    voxels[1::2] = cv2.GaussianBlur(voxels[1], (0, 0), 5)
    source = write_mrc(tmp_path / "in.mrc", voxels)
    options: tuple[str | float, ...] = ("--clip-limit", 0, "--range=-3,3", "--max-mb", 0.1, *words)
    assert run(source, tmp_path / "out", *options) == 0
    (movie,) = (tmp_path / "out").glob("in.*")
    assert 0.05e6 < movie.stat().st_size <= 0.1e6


@pytest.mark.parametrize(
    ("words", "most"),
    [
        ((), 0.2),
        (("--format", "mp4"), 0.05),
        (("--format", "gif"), 0.2),
        (("--codec", "FFV1"), 0.2),
        (("--codec", "XVID"), 0.05),
    ],
)
def test_a_movie_that_cannot_be_so_small_fails_with_what_would_fit(
    tmp_path: Path, words: tuple[str, ...], most: float, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_mrc(tmp_path / "in.mrc", noise(20, 512, 512))
    options: tuple[str | float, ...] = ("--max-mb", most, "--playback", "forward", *words)
    assert run(source, tmp_path / "out", *options) == 1
    said = capsys.readouterr().err
    line = next(line for line in said.splitlines() if "--max-mb" in line)
    advice = line.split("; ")[-1].removesuffix(" would fit").split(" or ")
    assert advice[0].startswith("--max-size ")
    assert not list((tmp_path / "out").glob("in.*"))
    for way in advice:
        assert run(source, tmp_path / "out", *options, *way.split()) == 0, way
        (movie,) = (tmp_path / "out").glob("in.*")
        assert movie.stat().st_size <= 1e6 * most


@pytest.mark.parametrize("way", [{"format": "mp4"}, {"codec": "MJPG"}, {"format": "mp4", "small": True}])
def test_the_bytes_of_a_movie_that_was_made_to_fit_do_not_depend_on_the_workers(
    tmp_path: Path, way: dict[str, Any]
) -> None:
    source = write_mrc(tmp_path / "in.mrc", noise(12, 192, 160))
    path = tmp_path / f"in.{way.get('format', 'avi')}"
    made = set()
    for jobs in (1, 2, 5, 2):
        convert(source, path, Settings(max_mb=0.1, jobs=jobs, range="minmax", **way))
        made.add(path.read_bytes())
    assert len(made) == 1


def test_nothing_remains_of_the_trials(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", noise(6, 128, 128))
    assert run(source, tmp_path / "out", "--format", "mp4", "--max-mb", 0.05) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"in.mp4", ".mrc2movie", "mrc2movie.log"}


@pytest.mark.parametrize(
    ("given", "codec"),
    [
        ({"format": "mp4"}, "H264"),
        ({"format": "mov"}, "H264"),
        ({"format": "webm"}, "AV1"),
        ({"format": "mkv"}, "AV1"),
        ({"format": "mkv", "codec": "H264"}, "H264"),
        ({"format": "webm", "codec": "VP9"}, "VP9"),
    ],
)
def test_small_alone_takes_the_best_codec_that_plays_there(given: dict[str, Any], codec: str) -> None:
    assert Settings(small=True, **given).codec == codec


def test_small_says_where_it_does_not_pay(tmp_path: Path) -> None:
    random = noise(34, 256, 256)
    means = np.stack([random[start : start + 15].mean(axis=0) for start in range(20)])
    said = []
    for name, voxels in (("noise", random[:20]), ("means", means)):
        source = write_mrc(tmp_path / f"{name}.mrc", voxels)
        settings = Settings(format="mp4", small=True, clip_limit=0)
        notes = convert(source, tmp_path / f"{name}.mp4", settings).record.notes
        said.append([note for note in notes if note.startswith("--small does not pay here: ")])
    assert [len(notes) for notes in said] == [1, 0]


@pytest.mark.parametrize("jumps", [False, True])
def test_the_best_quality_that_fits_is_found_in_few_trials(jumps: bool) -> None:
    qualities = range(10, 91)
    trials = []
    for _ in range(100):
        growth = rng.uniform(0.005, 0.1) * (rng.pareto(0.5, 91) if jumps else rng.uniform(0.2, 2, 91))
        sizes = np.exp(np.cumsum(growth.clip(1e-3, 5)))
        tried: list[int] = []

        def size(quality: int, sizes: NDArray[np.float64] = sizes, tried: list[int] = tried) -> float:
            tried.append(quality)
            return float(sizes[quality])

        most = float(np.exp(rng.uniform(math.log(sizes[10]), math.log(sizes[90]))))
        assert _finest(qualities, size, most) == max(quality for quality in qualities if sizes[quality] <= most)
        trials.append(len(set(tried)))
    assert np.mean(trials) < (8 if jumps else 6)
    assert max(trials) <= 1 + 1 + 4 + 6, "the bound itself, a half, guesses, and halves of what these leave"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_where_no_quality_fits_it_is_the_coarsest(count: int) -> None:
    assert _finest(range(7, 7 + count), float, 0.5) == 7


def test_a_movie_that_is_still_too_large_is_made_coarser_once_more() -> None:
    """The sample is a good deal smaller than the movie, and shrinks faster."""

    class Sized:
        def __init__(self, settings: Settings) -> None:
            self._bytes = round(150_000 * math.exp((settings.quality - 90) / 20))

        def encoder(self) -> Any:
            return lambda frame, turn: np.zeros(self._bytes, np.uint8)

        def abandon(self) -> None:
            pass

    def made(quality: int) -> float:
        return 60e6 * math.exp((quality - 90) / 60)

    frames = [np.zeros((8, 8), np.uint8)] * 5
    opened: Any = Sized
    with Workers(1) as workers, workers.share() as share:
        settings = Settings(format="mp4", fps=25)
        fitting = Fitting(settings, 100, 8, range(5), lambda positions: frames[: len(positions)], opened, share)
        corrections = 0
        while fitting.corrected(Extent(made(fitting.quality), 1e6), None):
            corrections += 1
    assert corrections > 1
    assert 0.9 * 50e6 < made(fitting.quality) <= 50e6
