"""Formats and codecs: what goes together, what the files hold, what players need of them."""

import json
import subprocess
import sys
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from encode import digest, digests
from movies import reference, run, thinned, write_mrc
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

import mrc2movie
from mrc2movie import Settings, convert
from mrc2movie.errors import Mrc2movieError, OutputError, UsageError
from mrc2movie.options.codecs import CODECS, FORMATS
from mrc2movie.picture.filters import Shrink
from mrc2movie.writers import open_movie, video
from mrc2movie.writers.encoders import Lease, SharedEncoders
from mrc2movie.writers.movie import MovieFacts

rng = np.random.default_rng(3)

WAYS = [
    pytest.param(["--codec", codec, "--format", container, *small], id=" ".join([codec, container, *small]))
    for codec, row in CODECS.items()
    for container in row.formats
    for small in ([], ["--small"])
    if not small or row.small
]
CODEC_KINDS = [(codec, kind) for codec, row in CODECS.items() for kind in ("plain", *(["small"] if row.small else []))]
INDEPENDENT = [codec for codec, row in CODECS.items() if row.frames]


def scene(sections: int = 5, rows: int = 48, columns: int = 64) -> NDArray[np.float32]:
    """(z, y, x): black at the first column and white at the last, brighter downwards, and a block that wanders with z.

    Every flip, swap, and any other order of the sections shows, and every codec can show it well.
    """
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    volume = np.stack([150 * x / (columns - 1) + 40 * y / (rows - 1)] * sections)
    for z in range(sections):
        volume[z, 8 + 4 * z : 20 + 4 * z, 40:56] = 255
    volume[:, 0, 0] = 0
    return np.asarray(volume, np.float32)


def pictures(movie: Path) -> list[NDArray[np.uint8]]:
    """What a player shows, (y, x): FFmpeg's conversion to RGB, without a colour."""
    with av.open(str(movie)) as container:
        shown = [frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in container.decode(video=0)]
        tint = 6 if "av1" in container.streams.video[0].codec_context.name else 1  # AV1 predicts colour from grey
    for picture in shown:
        assert np.ptp(picture, axis=2).max() <= tint
    return [picture[..., 1] for picture in shown]


def loss(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The mean absolute difference, in grey values."""
    return float(np.abs(np.subtract(one, other, dtype=int)).mean())


def order(movie: Path, expected: list[NDArray[np.uint8]], tolerance: float) -> list[int]:
    """Which of the expected pictures each frame shows; it may be no further from it than the tolerance."""
    found = []
    for picture in pictures(movie):
        losses = [loss(picture, other) for other in expected]
        found.append(int(np.argmin(losses)))
        assert min(losses) <= tolerance
    return found


def boxes(movie: Path) -> list[str]:
    """The names of the outermost boxes of an MP4 (ISO/IEC 14496-12)."""
    data, place, names = movie.read_bytes(), 0, []
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        names.append(data[place + 4 : place + 8].decode())
        place += size
    return names


@pytest.mark.parametrize("way", WAYS)
def test_every_codec_in_every_format_shows_the_right_sections_in_the_right_order(
    tmp_path: Path, way: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    voxels = scene()
    source = write_mrc(tmp_path / "in.mrc", voxels)
    assert run(source, tmp_path / "out", *way, "--clip-limit", 0, "--range=0,255", "--fps", 25) == 0
    movie = tmp_path / "out" / f"in.{way[3]}"
    assert order(movie, reference(voxels, 0, 255), tolerance=3) == [0, 1, 2, 3, 4, 3, 2, 1]
    with av.open(str(movie)) as container:
        assert container.streams.video[0].average_rate == 25
    said = capfd.readouterr().err.splitlines()
    assert [line for line in said if " -> " not in line] == ["1 converted"], "an encoder talks"


@pytest.mark.parametrize("playback", ["forward", "backward"])
@pytest.mark.parametrize("small", [False, True])
def test_one_way_playback_shows_each_section_once(tmp_path: Path, playback: Any, small: bool) -> None:
    voxels = scene()
    settings = Settings(format="mp4", playback=playback, small=small, clip_limit=0, range="0,255")
    convert(write_mrc(tmp_path / "in.mrc", voxels), tmp_path / "in.mp4", settings)
    expected = list(range(5))
    assert order(tmp_path / "in.mp4", reference(voxels, 0, 255), 3) == (
        expected if playback == "forward" else expected[::-1]
    )


@pytest.mark.parametrize("sections", [1, 2])
@pytest.mark.parametrize("container", FORMATS)
def test_one_or_two_sections_make_a_movie(tmp_path: Path, container: str, sections: int) -> None:
    movie = tmp_path / f"in.{container}"
    convert(write_mrc(tmp_path / "in.mrc", scene(sections)), movie, Settings(format=container))
    assert len(pictures(movie)) == sections
    with av.open(str(movie)) as opened:
        assert opened.duration == pytest.approx(sections / 30 * 1e6, abs=7e3)


@pytest.mark.parametrize(
    ("given", "codec", "container"),
    [
        ({}, "MJPG", "avi"),
        ({"format": "avi"}, "MJPG", "avi"),
        ({"format": "mp4"}, "H264", "mp4"),
        ({"format": "mov"}, "H264", "mov"),
        ({"format": "mkv"}, "H264", "mkv"),
        ({"format": "webm"}, "VP9", "webm"),
        ({"format": "gif"}, "GIF", "gif"),
        ({"codec": "mjpg"}, "MJPG", "avi"),
        ({"codec": "h264"}, "H264", "mp4"),
        ({"codec": "Hevc"}, "HEVC", "mp4"),
        ({"codec": "vp9"}, "VP9", "webm"),
        ({"codec": "av1"}, "AV1", "mp4"),
        ({"codec": "ffv1"}, "FFV1", "avi"),
        ({"codec": "prores"}, "PRORES", "mov"),
        ({"codec": "gif"}, "GIF", "gif"),
        ({"codec": "xvid"}, "XVID", "avi"),
        ({"codec": "AV1", "format": "webm"}, "AV1", "webm"),
    ],
)
def test_format_and_codec_each_imply_the_other(given: Any, codec: str, container: str) -> None:
    settings = Settings(**given)
    assert (settings.codec, settings.format) == (codec, container)


def test_through_the_api_the_name_of_the_movie_is_its_format(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", scene())
    assert convert(source, tmp_path / "in.MP4").record.settings["codec"] == "H264"
    assert len(pictures(tmp_path / "in.MP4")) == 8
    with pytest.raises(UsageError, match=r"in\.mp4 is named for another format than webm"):
        convert(source, tmp_path / "in.mp4", Settings(format="webm"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--codec", "vp9", "--format", "mov"],
            "--codec VP9 cannot go into --format mov; mov holds H264, HEVC, PRORES; VP9 goes into webm, mp4, mkv",
        ),
        (["--codec", "XVID", "--format", "mp4"], "XVID goes into avi"),
        (["--codec", "H264", "--format", "avi"], "avi holds MJPG, FFV1"),
        (["--codec", "MJPG", "--format", "webm"], "webm holds VP9, AV1"),
        (["--small"], "--small: MJPG cannot predict frames from each other; take --format mp4, or --codec H264,"),
        (["--small", "--codec", "FFV1"], "--small: FFV1 cannot"),
        (["--format", "wmv"], "--format wmv: must be one of avi, mp4"),
        (["--max-size", "0"], "--max-size 0: must be a whole number from 1"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write_mrc(tmp_path / "in.mrc", scene()), tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_codec_that_the_installed_pyav_lacks_is_refused_with_those_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = av.CodecContext.create

    def without_x265(name: str, mode: Any) -> Any:
        return create("no-such-encoder" if name == "libx265" else name, mode)

    monkeypatch.setattr("mrc2movie.writers.video.av.CodecContext", type("Fake", (), {"create": without_x265}))
    source = write_mrc(tmp_path / "in.mrc", scene())
    with pytest.raises(UsageError, match="no libx265; those that work here are MJPG H264 VP9 AV1"):
        mrc2movie.convert_directory(source, tmp_path / "out", Settings(codec="HEVC"))


def test_another_format_stands_beside_the_first_and_another_codec_replaces_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_mrc(tmp_path / "in.mrc", scene())
    assert run(source, tmp_path / "out") == 0
    assert run(source, tmp_path / "out", "--format", "mp4") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"in.avi", "in.mp4"}
    capsys.readouterr()
    assert run(source, tmp_path / "out", "--format", "mp4", "--codec", "h264") == 0
    assert "1 up to date" in capsys.readouterr().err
    assert run(source, tmp_path / "out", "--codec", "HEVC") == 0
    assert run(source, tmp_path / "out", "--codec", "HEVC", "--small") == 0
    assert run(source, tmp_path / "out", "--codec", "HEVC", "--small", "--max-size", 32) == 0
    assert "3 converted" not in capsys.readouterr().err
    record = json.loads((tmp_path / "out" / ".mrc2movie" / "in.mp4.json").read_text())
    made_with = {name: record["settings"][name] for name in ("format", "codec", "small", "max_size")}
    assert made_with == {"format": "mp4", "codec": "HEVC", "small": True, "max_size": 32}


@pytest.mark.parametrize("words", ["--help", "in.mrc out", "in.mrc out --codec XVID"])
def test_pyav_is_not_imported_by_those_who_need_it_not(tmp_path: Path, words: str) -> None:
    write_mrc(tmp_path / "in.mrc", scene())
    program = (
        "import sys; from mrc2movie.cli import main\ntry: main(sys.argv[1:])\nfinally: assert 'av' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, *words.split()], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize("way", [way for way in WAYS if "--small" not in str(way.id)][::2])
def test_the_bytes_are_the_same_whatever_the_number_of_workers(tmp_path: Path, way: list[str]) -> None:
    source = write_mrc(tmp_path / "in.mrc", rng.normal(size=(23, 64, 64)).astype(np.float32))
    codec, container = way[1], way[3]
    made = []
    for jobs in (1, 3, 7, 3):
        convert(source, tmp_path / f"in.{container}", Settings(codec=codec, format=container, jobs=jobs))
        made.append((tmp_path / f"in.{container}").read_bytes())
    assert made[0] == made[1] == made[2] == made[3]


@pytest.mark.parametrize("way", [way for way in WAYS if "--small" not in str(way.id) and " avi" not in str(way.id)])
def test_a_movie_has_the_same_bytes_after_others_whose_encoders_it_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: list[str]
) -> None:
    settings = Settings(codec=way[1], format=way[3], jobs=2)
    sources = [
        write_mrc(tmp_path / f"{sections}.mrc", rng.normal(size=(sections, 48, 64)).astype(np.float32))
        for sections in (5, 7, 1, 6)
    ]

    def made(source: Path) -> bytes:
        convert(source, tmp_path / f"made.{way[3]}", settings)
        return (tmp_path / f"made.{way[3]}").read_bytes()

    class KeepingAll(SharedEncoders[Any, Any]):
        def lend(self, form: Hashable, most_idle: int) -> Lease[Any, Any]:
            return super().lend(form, 100)

    monkeypatch.setattr(video, "_encoders", KeepingAll())
    together = [made(source) for source in sources]
    for source, movie in zip(sources, together, strict=True):
        monkeypatch.setattr(video, "_encoders", SharedEncoders())
        assert made(source) == movie


def test_movies_of_other_qualities_rates_and_sizes_have_encoders_of_their_own(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", rng.normal(size=(5, 96, 96)).astype(np.float32))

    def made(**options: Any) -> bytes:
        convert(source, tmp_path / "in.mp4", Settings(format="mp4", **options))
        return (tmp_path / "in.mp4").read_bytes()

    ways: list[dict[str, Any]] = [{}, {"quality": 40}, {"fps": 10}, {"max_size": 64}]
    first = [made(**way) for way in ways]
    assert len({len(movie) for movie in first}) == 4
    assert [made(**way) for way in ways] == first
    with av.open(str(tmp_path / "in.mp4")) as container:
        assert container.streams.video[0].width == 64


def test_few_encoders_outlive_their_movies() -> None:
    shared = SharedEncoders[str, str]()

    def used(form: str, most_idle: int, count: int) -> Lease[str, str]:
        lease = shared.lend(form, most_idle)
        for number in range(count):
            lease.put_back(number % 2, f"{form} {number}")
        return lease

    def left(form: str) -> int:
        lease = shared.lend(form, 0)
        return next(count for count in range(100) if lease.take(0) is None)

    leases = [used("none", 0, 20), used("first", 8, 20), used("under way", 8, 20), used("last", 4, 3)]
    for lease in (*leases[:2], leases[3]):
        lease.end()
        lease.end()  # harmless
    assert [left(form) for form in ("none", "first", "under way", "last")] == [0, 2, 20, 3]


@pytest.mark.parametrize(("codec", "container"), [("AV1", "mp4"), ("VP9", "webm"), ("HEVC", "mp4"), ("GIF", "gif")])
def test_no_large_encoder_outlives_its_movie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, container: str
) -> None:
    shared = SharedEncoders[Any, Any]()
    monkeypatch.setattr(video, "_encoders", shared)
    source = write_mrc(tmp_path / "in.mrc", rng.normal(size=(5, 96, 96)).astype(np.float32))

    def threads_after(settings: Settings) -> int:
        convert(source, tmp_path / f"in.{settings.format}", settings)
        return len(list(Path("/proc/self/task").iterdir()))

    before = threads_after(Settings())
    for size in (64, 80, 96):
        assert threads_after(Settings(codec=codec, format=container, max_size=size)) == before
    assert not shared._forms


def test_the_same_gif_twice_in_a_process_is_a_gif_twice(tmp_path: Path) -> None:
    frame = np.zeros((32, 32), np.uint8)
    for _ in range(2):
        movie = open_movie(tmp_path / "a.gif", (32, 32), Settings(format="gif"))
        movie.write(movie.encoder()(frame, 0))
        movie.close()
        assert (tmp_path / "a.gif").read_bytes().startswith(b"GIF89a")


def test_an_encoder_is_taken_whose_turn_it_is_where_there_is_one() -> None:
    shared = SharedEncoders[str, str]()
    lease = shared.lend("form", 1)
    assert lease.take(1) is None
    lease.put_back(0, "even")
    lease.put_back(1, "odd")
    assert (lease.take(1), lease.take(1), lease.take(1)) == ("odd", "even", None)
    assert shared.lend("another form", 1).take(0) is None


@pytest.mark.parametrize("colours", thinned(["grey", "colour"], 2))
@pytest.mark.parametrize(("codec", "kind"), CODEC_KINDS)
def test_the_bytes_are_the_same_for_any_jobs_and_from_run_to_run(codec: str, kind: str, colours: str) -> None:
    for size in ("62x46", "63x47"):
        made = [digest(codec, kind, colours, jobs, 8, size) for jobs in (1, 2, 3, 1)]
        assert len(set(made)) == 1
        assert len(made[0]) == 32, made[0]


@pytest.mark.large
@pytest.mark.parametrize("codec", ["HEVC", "VP9"])
@pytest.mark.parametrize("size", ["64x1200", "128x736", "736x128"])
def test_the_bytes_of_large_frames_are_the_same_for_any_jobs(codec: str, size: str) -> None:
    assert len({digest(codec, "small", "grey", jobs, 24, size) for jobs in (1, 2, 3, 6)}) == 1


LARGE = pytest.mark.large


@pytest.mark.parametrize("codec", ["H264", *(pytest.param(codec, marks=LARGE) for codec in ("HEVC", "VP9", "AV1"))])
def test_the_bytes_do_not_depend_on_what_memory_held_before(codec: str) -> None:
    made = [digests(codec, "small", "grey", 1, 8, ["160x130"], noise) for noise in (1, 170)]
    assert made[0] == made[1]


@pytest.mark.parametrize(("codec", "sizes"), [("HEVC", ["40x32", "48x48"]), ("AV1", ["24x66", "16x16"])])
def test_small_frames_do_no_harm_to_the_process(codec: str, sizes: list[str]) -> None:
    made = digests(codec, "small", "grey", 2, 40, sizes)
    assert {size: len(found) for size, found in made.items()} == dict.fromkeys(sizes, 32), made


@pytest.mark.large
@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize(("codec", "kind"), CODEC_KINDS)
def test_no_size_of_frames_harms_the_process(codec: str, kind: str, jobs: int) -> None:
    sides = (1, 2, 4, 8, 15, 16, 17, 24, 31, 32, 40, 47, 48, 50, 62, 63, 64, 65, 66, 96, 130)
    frames = 70 if kind == "small" else 3  # as many as an encoder looks ahead, forward and backward
    for height in sides:
        sizes = [f"{width}x{height}" for width in sides]
        made = digests(codec, kind, "grey", jobs, frames, sizes, timeout=600)
        assert list(made) == sizes
        refusals = ("smaller than the", "the encoder of AV1 failed")  # the latter at 4 x 4
        assert all(len(found) == 32 or any(why in found for why in refusals) for found in made.values()), made


def test_an_mp4_is_what_every_player_takes(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", rng.normal(size=(7, 256, 256)).astype(np.float32))
    convert(source, tmp_path / "in.mp4", Settings(format="mp4", jobs=3))
    assert boxes(tmp_path / "in.mp4").index("moov") < boxes(tmp_path / "in.mp4").index("mdat")
    with av.open(str(tmp_path / "in.mp4")) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
        assert context.profile in ("Constrained Baseline", "Baseline")
        assert context.extradata is not None
        assert context.extradata[3] <= 40  # the level, which PyAV names only from 18.1 on
        tags = (context.color_range, context.color_primaries, context.color_trc, context.colorspace)
        assert tags == (1, 1, 1, 1)  # limited range, all else BT.709
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert [packet.is_keyframe for packet in packets] == [True] * 12
        assert stream.frames == 12
        assert container.duration == 400_000  # microseconds


_INDEXED = (
    *(("mp4", "H264", small) for small in (False, True)),
    *(("mp4", codec, True) for codec in ("HEVC", "AV1")),
    ("mov", "PRORES", False),
)


@pytest.mark.parametrize("count", [1, 2, 41, 3000])
@pytest.mark.parametrize(("container", "codec", "small"), _INDEXED)
def test_room_is_kept_in_front_for_an_index_of_any_length(
    tmp_path: Path, container: str, codec: str, small: bool, count: int
) -> None:
    path, side = tmp_path / f"x.{container}", 64
    count = min(count, 300) if small else count  # this is slow
    settings = Settings(format=container, codec=codec, small=small)
    writer = open_movie(path, (side, side), settings, title="\N{MICROSCOPE}" * 60, frames=count)
    encode = writer.encoder()
    packets = [encode(rng.integers(256, size=(side, side), dtype=np.uint8), place) for place in range(min(count, 8))]
    for place in range(count):
        writer.write(packets[place % 8])
    writer.close()
    assert [name for name in boxes(path) if name not in ("free", "wide")] == ["ftyp", "moov", "mdat"]
    with av.open(str(path)) as movie:
        assert movie.streams.video[0].frames == count
        assert sum(1 for _ in movie.decode(video=0)) == count


def test_the_room_for_the_index_holds_the_worst_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames so large that each is a chunk of its own have the longest tables of places."""
    monkeypatch.setattr("mrc2movie.writers.video._INDEX_BYTES", 2000)
    path = tmp_path / "x.mov"
    writer = open_movie(path, (720, 720), Settings(format="mov", codec="PRORES"), frames=200)
    packet = writer.encoder()(rng.integers(256, size=(720, 720), dtype=np.uint8), 0)
    assert packet.nbytes > 2**18
    for place in range(200):
        writer.write(packet[: packet.nbytes - place % 3])
    writer.close()
    assert boxes(path).index("moov") < boxes(path).index("mdat")


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts what a process writes")
@pytest.mark.parametrize("way", ["avi", "mp4", "mov"])
def test_little_more_is_written_than_the_movie(tmp_path: Path, way: str) -> None:
    source = write_mrc(tmp_path / "in.mrc", rng.normal(size=(24, 512, 512)).astype(np.float32))
    before = written()
    assert run(source, tmp_path / "out", "--format", *way.split()) == 0
    (movie,) = (tmp_path / "out").glob("in.*")
    assert written() - before < 1.1 * movie.stat().st_size


def written() -> int:
    """The bytes that this process has given to the system."""
    (line,) = (line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("wchar"))
    return int(line.split()[1])


@pytest.mark.parametrize(
    "options", [{}, {"hold": 1}, {"hold": 2}, {"playback": "forward", "hold": 1, "cycles": 2}], ids=str
)
def test_every_h264_frame_is_an_idr_whose_number_differs_from_the_one_before(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """ITU-T H.264, 7.4.3: by idr_pic_id a decoder may tell two pictures apart. Also where a loop closes."""
    source = write_mrc(tmp_path / "in.mrc", rng.normal(size=(9, 64, 64)).astype(np.float32))
    made = convert(source, tmp_path / "in.mp4", Settings(format="mp4", jobs=3, **options))
    numbers = []
    with av.open(str(tmp_path / "in.mp4")) as container:
        for packet in container.demux(video=0):
            if packet.size:
                data = bytes(packet)
                assert int.from_bytes(data[:4], "big") == len(data) - 4, "more than one NAL unit"
                assert data[4] & 31 == 5, "no slice of an IDR picture"
                numbers.append(_idr_pic_id(data[5:]))
    assert numbers == [0, 1] * (made.record.frames.frames // 2)


def _idr_pic_id(slice_header: bytes) -> int:
    bits = iter("".join(f"{byte:08b}" for byte in slice_header[:16]))

    def exp_golomb() -> int:
        zeros = 0
        while next(bits) == "0":
            zeros += 1
        return int("1" + "".join(next(bits) for _ in range(zeros)), 2) - 1

    assert exp_golomb() == 0  # first_mb_in_slice
    assert exp_golomb() in (2, 7)  # slice_type: I
    exp_golomb()  # pic_parameter_set_id
    for _ in range(4):  # frame_num, of log2_max_frame_num_minus4 + 4 bits; 0 in an IDR picture
        assert next(bits) == "0"
    return exp_golomb()


@pytest.mark.parametrize("codec", ["H264", "HEVC", "VP9", "AV1", "PRORES"])
@pytest.mark.parametrize("small", [False, True])
def test_black_is_shown_black_and_white_white(tmp_path: Path, codec: str, small: bool) -> None:
    if small and not CODECS[codec].small:
        pytest.skip(f"{codec} has no --small")
    voxels = np.zeros((3, 64, 64), np.float32)
    voxels[:, :, 32:] = 1
    settings = Settings(codec=codec, small=small, clip_limit=0, quality=95)
    convert(write_mrc(tmp_path / "in.mrc", voxels), tmp_path / "in.out", settings)
    for picture in pictures(tmp_path / "in.out"):
        assert picture[:, :24].max() <= 2
        assert picture[:, 40:].min() >= 253
    with av.open(str(tmp_path / "in.out")) as container:
        frame = next(container.decode(video=0))
        luma = np.frombuffer(memoryview(frame.planes[0]), np.uint16 if codec == "PRORES" else np.uint8)
        scale = 4 if codec == "PRORES" else 1
        rows = luma.reshape(frame.height, -1)
        assert (rows[5, 5] / scale, rows[5, 60] / scale) == pytest.approx((16, 235), abs=1)


@pytest.mark.parametrize("way", WAYS)
def test_colours_are_shown_as_they_are(tmp_path: Path, way: list[str]) -> None:
    settings = Settings(codec=way[1], format=way[3], small="--small" in way, quality=95, fps=25)
    palette = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [224, 160, 32]]], np.uint8)
    frames = [np.kron(np.roll(palette, turn, axis=1), np.ones((32, 32, 1), np.uint8)) for turn in range(2)]
    path = tmp_path / f"x.{way[3]}"
    writer = open_movie(path, (64, 64, 3), settings)
    encode = writer.encoder()
    for position, frame in enumerate(frames):
        writer.write(encode(frame, position))
    writer.close()
    writer.verify(MovieFacts(2, 64, 64, 25), dict(enumerate(frames)))
    with pytest.raises(OutputError, match="frame 0 does not come back"):
        writer.verify(MovieFacts(2, 64, 64, 25), dict(enumerate(frames[::-1])))
    assert any("256 colours" in note for note in writer.notes) == (way[1] == "GIF")
    tolerance = {"GIF": 37, "FFV1": 0, "MJPG": 6}.get(way[1], 5)
    with av.open(str(path)) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for picture, frame in zip(shown, frames, strict=True):
        middles = (slice(16, 64, 32), slice(16, 64, 32))
        assert np.abs(np.subtract(picture[middles], frame[middles], dtype=int)).max() <= tolerance


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv", "webm"])
def test_a_movie_says_what_it_is_and_how_it_was_made(tmp_path: Path, container: str) -> None:
    source = write_mrc(tmp_path / "tilt 7.mrc", scene())
    words = ["--format", container, "--range=-50,200", "--discard-range", "1", "2", "--small", "--quiet"]
    assert run(source, tmp_path / "out", *words) == 0
    maker = f"mrc2movie {mrc2movie.__version__}"
    movie = tmp_path / "out" / f"tilt 7.{container}"
    with av.open(str(movie)) as opened:
        found = {name.lower(): text for name, text in opened.metadata.items()}
        stream = {name.lower(): text for name, text in opened.streams.video[0].metadata.items()}
    assert found["title"] == "tilt 7"
    codec = Settings(format=container, small=True).codec
    comment = f"{maker} --format={container} --codec={codec} --small --discard-range 1 2 --range=-50,200"
    assert found["comment"] == comment
    assert stream["encoder"] == maker
    if container == "mp4":
        assert found["encoder"] == maker


def test_hevc_is_tagged_for_quicktime(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", scene())
    for container in ("mp4", "mov"):
        convert(source, tmp_path / f"in.{container}", Settings(codec="HEVC", format=container))
        with av.open(str(tmp_path / f"in.{container}")) as opened:
            assert opened.streams.video[0].codec_context.codec_tag == "hvc1"
            packet = next(opened.demux(video=0))
        assert bytes(packet)[4] >> 1 in (19, 20), "parameter sets outside the header, or no IDR"


@pytest.mark.parametrize("codec", [codec for codec in INDEPENDENT if not CODECS[codec].lossless])
@pytest.mark.parametrize("small", [False, True])
def test_odd_sizes_are_padded_by_repeating_the_last_row_and_column(
    tmp_path: Path, codec: str, small: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    if small and not CODECS[codec].small:
        pytest.skip(f"{codec} has no --small")
    voxels = scene(rows=47, columns=63)
    source = write_mrc(tmp_path / "in.mrc", voxels)
    options = ["--small"] if small else []
    assert run(source, tmp_path / "out", "--codec", codec, "--clip-limit", 0, "--range=0,255", *options) == 0
    assert "odd size: padded from 63 x 47 to 64 x 48 by repeating the last row or column" in capsys.readouterr().err
    expected = [np.pad(picture, ((0, 1), (0, 1)), mode="edge") for picture in reference(voxels, 0, 255)]
    (movie,) = (tmp_path / "out").glob("in.*")
    assert {picture.shape for picture in pictures(movie)} == {(48, 64)}
    assert order(movie, expected, tolerance=3) == [0, 1, 2, 3, 4, 3, 2, 1]


@pytest.mark.parametrize("container", ["gif", "mkv"])
def test_lossless_codecs_keep_odd_sizes_and_every_grey_value(tmp_path: Path, container: str) -> None:
    voxels = np.arange(3 * 47 * 63).reshape(3, 47, 63).astype(np.float32) % 256
    codec = "GIF" if container == "gif" else "FFV1"
    settings = Settings(codec=codec, format=container, clip_limit=0, range="0,255")
    convert(write_mrc(tmp_path / "in.mrc", voxels), tmp_path / "in.out", settings)
    expected = reference(voxels, 0, 255)
    assert_array_equal(pictures(tmp_path / "in.out"), [expected[i] for i in (0, 1, 2, 1)])


def test_a_gif_has_a_grey_palette_whole_frames_and_loops_for_ever(tmp_path: Path) -> None:
    convert(write_mrc(tmp_path / "in.mrc", scene()), tmp_path / "in.gif", Settings(format="gif", fps=25, jobs=3))
    data = (tmp_path / "in.gif").read_bytes()
    assert data[:6] == b"GIF89a"
    assert data[10] & 0x87 == 0x87, "no global palette of 256 colours"
    assert data[13:781] == bytes(grey for value in range(256) for grey in [value] * 3)
    assert data[781:800] == b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"  # 0: for ever
    whole = b"\x2c\x00\x00\x00\x00\x40\x00\x30\x00"  # an image at 0, 0 of 64 x 48
    delays = list(_delays(data))
    assert delays == [4] * 8
    assert data.count(whole) == 8
    assert data.count(b"GIF89a") == 1


def _delays(data: bytes) -> Iterator[int]:
    """Of the frames of a GIF, in hundredths of a second, by its graphic control extensions."""
    place = 0
    while (place := data.find(b"\x21\xf9\x04", place) + 1) > 0:
        if data[place + 6] == 0 and data[place + 7] == 0x2C:
            yield int.from_bytes(data[place + 3 : place + 5], "little")


@pytest.mark.parametrize(
    ("fps", "delay", "said"),
    [
        (20, 5, ""),
        (30, 3, "a GIF counts hundredths of a second: 33.33 frames a second instead of 30"),
        (29.97, 3, "33.33 frames a second instead of 29.97"),
        (0.5, 200, ""),
        (15, 7, "14.29 frames a second instead of 15"),
        (24, 4, "25 frames a second instead of 24"),
        (28, 4, "25 frames a second instead of 28"),
        (50, 2, ""),
        (60, 2, "50 frames a second instead of 60, the most that browsers show"),
        (100, 2, "50 frames a second instead of 100, the most that browsers show"),
    ],
)
def test_a_gif_says_which_rate_it_really_has(tmp_path: Path, fps: float, delay: int, said: str) -> None:
    source = write_mrc(tmp_path / "in.mrc", scene())
    made = convert(source, tmp_path / "in.gif", Settings(format="gif", fps=fps)).record
    assert list(_delays((tmp_path / "in.gif").read_bytes())) == [delay] * 8
    assert made.frames.fps == pytest.approx(100 / delay)
    told = [text for text in made.notes + made.warnings if "hundredths" in text]
    assert len(told) == bool(said)
    assert all(said in text for text in told)
    assert bool(made.warnings) == (fps > 50)


def test_a_silly_gif_is_warned_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_mrc(tmp_path / "in.mrc", rng.normal(size=(9, 64, 64)).astype(np.float32))
    assert not convert(source, tmp_path / "in.gif", Settings(format="gif", fps=25)).record.warnings
    monkeypatch.setattr("mrc2movie.writers.video._GIF_LARGE", 20_000)
    (warning,) = convert(source, tmp_path / "in.gif", Settings(format="gif", fps=25)).record.warnings
    assert "--max-size or --format mp4" in warning


@pytest.mark.parametrize("fps", [0.1, 23.976, 29.97, 30000 / 1001, 59.94, 1000])
@pytest.mark.parametrize("container", ["mp4", "mov", "mkv", "webm"])
def test_the_rate_is_exact(tmp_path: Path, fps: float, container: str) -> None:
    convert(write_mrc(tmp_path / "in.mrc", scene()), tmp_path / "in.out", Settings(format=container, fps=fps))
    with av.open(str(tmp_path / "in.out")) as opened:
        stream = opened.streams.video[0]
        assert stream.average_rate is not None
        assert float(stream.average_rate) == pytest.approx(fps, rel=1e-5)
        assert opened.duration is not None
        assert opened.duration / 1e6 == pytest.approx(8 / fps, abs=2e-3)


def test_a_rate_that_an_encoder_does_not_take_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_mrc(tmp_path / "in.mrc", scene(2))
    assert run(source, tmp_path / "out", "--codec", "AV1", "--fps", 240.5) == 2
    assert "--fps 240.5: the encoder of AV1 takes at most 240 frames a second; " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("way", [way for way in WAYS if "GIF" not in str(way.id)])
def test_every_other_rate_is_taken(tmp_path: Path, way: list[str]) -> None:
    source = write_mrc(tmp_path / "in.mrc", scene(2))
    for fps in (0.1, 240 if "AV1" in way else 1000):
        assert run(source, tmp_path / "out", *way, "--fps", fps, "--overwrite") == 0


SAID = {
    "H264": ("h264", (1, 1, 1, 1)),
    "HEVC": ("hevc", (1, 1, 1, 1)),
    "VP9": ("vp9", (1, 2, 2, 1)),  # its frames name the range and the matrix alone
    "AV1": ("av1", (1, 1, 1, 1)),
    "PRORES": ("prores", (1, 1, 1, 1)),
}


@pytest.mark.parametrize("colours", ["grey", "colour"])
@pytest.mark.parametrize(("codec", "kind"), [(codec, kind) for codec, kind in CODEC_KINDS if codec in SAID])
def test_the_frames_themselves_say_bt709_and_limited_range(tmp_path: Path, codec: str, kind: str, colours: str) -> None:
    """Not only the container, which players may not ask."""
    settings = Settings(codec=codec, format="mkv", small=kind == "small")
    path = tmp_path / "x.mkv"
    writer = open_movie(path, (64, 64, 3)[: 3 if colours == "colour" else 2], settings)
    encode = writer.encoder()
    for position in range(3):
        writer.write(encode(np.full((64, 64, 3)[: 3 if colours == "colour" else 2], 80 * position, np.uint8), position))
    writer.close()
    name, expected = SAID[codec]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        alone: Any = av.CodecContext.create("libdav1d" if name == "av1" else name, "r")
        alone.extradata = stream.codec_context.extradata
        shown = [frame for packet in container.demux(stream) for frame in alone.decode(packet if packet.size else None)]
    assert len(shown) == 3
    for frame in shown:
        assert (frame.color_range, frame.color_primaries, frame.color_trc, frame.colorspace) == expected


@pytest.mark.parametrize("colours", ["grey", "colour"])
def test_a_prores_frame_names_its_colours(tmp_path: Path, colours: str) -> None:
    """SMPTE RDD 36, 5.1.1: colour_primaries, transfer_characteristic, matrix_coefficients; 1 is BT.709."""
    writer = open_movie(tmp_path / "x.mov", (64, 64, 3)[: 3 if colours == "colour" else 2], Settings(codec="PRORES"))
    packet = bytes(writer.encoder()(np.zeros((64, 64, 3)[: 3 if colours == "colour" else 2], np.uint8), 0))
    writer.close()
    assert packet[4:8] == b"icpf"
    assert tuple(packet[22:25]) == (1, 1, 1)


def test_pictures_are_made_smaller_by_area_with_their_aspect_kept(tmp_path: Path) -> None:
    voxels = rng.normal(size=(3, 40, 80)).astype(np.float32)
    settings = Settings(codec="FFV1", format="mkv", max_size=20, clip_limit=0, range="minmax", playback="forward")
    made = convert(write_mrc(tmp_path / "in.mrc", voxels), tmp_path / "in.mkv", settings).record
    means = voxels.reshape(3, 10, 4, 20, 4).mean(axis=(2, 4))
    assert made.grey_range == pytest.approx((float(means.min()), float(means.max())), rel=1e-5)
    expected = reference(means, *made.grey_range)
    assert np.abs(np.subtract(pictures(tmp_path / "in.mkv"), expected, dtype=int)).max() <= 1
    assert "made smaller from 80 x 40 to 20 x 10 (--max-size)" in made.notes


def test_pictures_are_never_made_larger(tmp_path: Path) -> None:
    voxels = scene()
    settings = Settings(codec="FFV1", format="mkv", max_size=64, clip_limit=0, range="0,255", playback="forward")
    made = convert(write_mrc(tmp_path / "in.mrc", voxels), tmp_path / "in.mkv", settings).record
    assert_array_equal(pictures(tmp_path / "in.mkv"), reference(voxels, 0, 255))
    assert not made.notes


@pytest.mark.parametrize(
    ("shape", "long_side", "smaller"),
    [
        ((4096, 4096), 1024, (1024, 1024)),
        ((3838, 3710), 1024, (1024, 990)),
        ((100, 7), 10, (10, 1)),
        ((1, 5000), 10, (1, 10)),
        ((30, 40), 40, (30, 40)),
        ((30, 40), 39, (29, 39)),
    ],
)
def test_the_long_side_becomes_what_was_asked_for(
    shape: tuple[int, int], long_side: int, smaller: tuple[int, int]
) -> None:
    shrink = Shrink(long_side)
    assert shrink.shape(shape) == smaller
    assert shrink(np.ones(shape, np.int16)).shape == smaller


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "float16", "float32", "float64"])
def test_every_kind_of_voxel_can_be_made_smaller(dtype: str) -> None:
    section = np.array([[0, 10, 20, 30], [10, 20, 30, 40]]).astype(dtype)
    assert_array_equal(Shrink(2)(section), [[10, 30]])


def test_a_missing_voxel_spoils_only_the_pixel_that_covers_it(tmp_path: Path) -> None:
    voxels = rng.normal(size=(3, 64, 64)).astype(np.float32)
    voxels[1, 5, 9], voxels[1, 40, 41], voxels[1, 63, 0] = np.nan, np.inf, -np.inf
    settings = Settings(codec="FFV1", format="mkv", max_size=16, range="-9,2", playback="forward")
    made = convert(write_mrc(tmp_path / "in.mrc", voxels), tmp_path / "in.mkv", settings).record
    black = np.array([picture == 0 for picture in pictures(tmp_path / "in.mkv")])[:, ::-1]  # row 0 is the bottom
    assert [tuple(place) for place in np.argwhere(black)] == [(1, 1, 2), (1, 10, 10), (1, 15, 0)]
    assert any("3 voxels are NaN or infinite" in warning for warning in made.warnings)


@pytest.mark.parametrize(
    ("codec", "shape", "message"),
    [
        ("H264", (100, 16386), "larger than the 16384 pixels a side of H264; make them smaller with --max-size 16384"),
        ("GIF", (2, 65536), "--max-size 65535"),
        ("MJPG", (65501, 1), "--max-size 65500, or take another --codec"),
        ("HEVC", (8, 64), "smaller than the 16 pixels a side of HEVC; take another --codec"),
        ("AV1", (16000, 64), "AV1 cannot hold frames of 64 x 16000"),
        ("H264", (16384, 16384), "more pixels than a movie can hold; make them smaller with --max-size"),
    ],
)
def test_sizes_that_a_codec_cannot_hold_are_refused_with_advice(
    tmp_path: Path, codec: str, shape: tuple[int, int], message: str
) -> None:
    settings = Settings(codec=codec)
    with pytest.raises(Mrc2movieError) as raised:
        open_movie(tmp_path / f"x.{settings.format}", shape, settings)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("codec", "shape", "largest"),
    [
        ("H264", (4096, 4096), 3072),
        ("H264", (4096, 4100), 3056),
        ("H264", (100, 5000), 4096),
        ("VP9", (100, 9000), 8192),
        ("H264", (2304, 4096), 0),
    ],
)
def test_sizes_beyond_common_players_are_warned_about(
    tmp_path: Path, codec: str, shape: tuple[int, int], largest: int
) -> None:
    settings = Settings(codec=codec)
    writer = open_movie(tmp_path / f"x.{settings.format}", shape, settings)
    writer.close()
    assert len(writer.warnings) == bool(largest)
    for warning in writer.warnings:
        assert f"common players show of {codec}: --max-size {largest} makes them fit" in warning
        smaller = Shrink(largest).shape(shape)
        fitting = open_movie(tmp_path / f"y.{settings.format}", smaller, settings)
        fitting.close()
        assert not fitting.warnings


@pytest.mark.parametrize("container", ["avi", "mp4", "mov", "mkv", "webm", "gif"])
@pytest.mark.parametrize("small", [False, True])
def test_a_movie_that_was_not_written_well_is_found_out(tmp_path: Path, container: str, small: bool) -> None:
    if small and container in ("avi", "gif"):
        pytest.skip(f"{container} has no --small")
    path = tmp_path / f"x.{container}"
    frames = [rng.integers(0, 256, (64, 64)).astype(np.uint8) for _ in range(20)]
    writer = open_movie(path, (64, 64), Settings(format=container, fps=25, small=small))
    encode = writer.encoder()
    for position, frame in enumerate(frames):
        writer.write(encode(frame, position))
    writer.close()
    right = MovieFacts(20, 64, 64, 25)
    ends = {0: frames[0], 19: frames[19]}
    writer.verify(right, ends)
    for wrong in (MovieFacts(21, 64, 64, 25), MovieFacts(20, 66, 64, 25), MovieFacts(20, 64, 64, 25.1)):
        with pytest.raises(OutputError, match="not written well: it holds 20 frames of 64 x 64 at 25"):
            writer.verify(wrong, ends)
    for spoilt, other in [(0, 1), (19, 18), (19, 0)]:
        for part in ({spoilt: frames[other]}, {**ends, spoilt: frames[other]}):
            with pytest.raises(OutputError, match=f"frame {spoilt} does not come back"):
                writer.verify(right, part)
    whole = path.read_bytes()
    for size in (0, 100, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(OutputError, match="not written well"):
            writer.verify(right, ends)
    path.write_bytes(bytes(len(whole)))
    with pytest.raises(OutputError, match="not written well"):
        writer.verify(right, ends)


@pytest.mark.parametrize("codec", [name for name, row in CODECS.items() if row.small])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_short_movies_are_predicted_too(tmp_path: Path, codec: str, count: int) -> None:
    path = tmp_path / "x.mp4"
    for _ in range(20):  # x265 leaves the times of two frames to chance
        writer = open_movie(path, (64, 64), Settings(format="mp4", codec=codec, small=True, fps=25))
        encode = writer.encoder()
        for position in range(count):
            writer.write(encode(rng.integers(0, 256, (64, 64)).astype(np.uint8), position))
        writer.close()
        with av.open(str(path)) as container:
            assert sum(1 for _ in container.decode(video=0)) == count


def test_a_wrong_byte_in_an_avi_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "x.avi"
    frame = rng.integers(0, 256, (64, 64)).astype(np.uint8)
    writer = open_movie(path, (64, 64), Settings())
    writer.write(writer.encoder()(frame, 0))
    writer.close()
    data = bytearray(path.read_bytes())
    data[data.rindex(b"\xff\xd9") - 3] ^= 1  # the last pixels of the JPEG
    path.write_bytes(data)
    with pytest.raises(OutputError, match="frame 0 does not come back"):
        writer.verify(MovieFacts(1, 64, 64, 30), {0: frame})


@pytest.mark.parametrize("quality", [1, 30])
@pytest.mark.parametrize("way", WAYS)
def test_a_coarse_picture_is_no_failure(tmp_path: Path, way: list[str], quality: int) -> None:
    source = write_mrc(tmp_path / "in.mrc", rng.normal(size=(4, 64, 64)).astype(np.float32))
    assert run(source, tmp_path / "out", *way, "--quality", quality) == 0


def test_a_directory_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    writer = open_movie(tmp_path / "missing" / "x.mp4", (64, 64), Settings(format="mp4"))
    packet = writer.encoder()(np.zeros((64, 64), np.uint8), 0)
    with pytest.raises(OutputError, match="the movie cannot be written"):
        writer.write(packet)


@pytest.mark.parametrize("container", ["mp4", "avi"])
def test_names_with_colons_and_other_letters_are_files(
    tmp_path: Path, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # what begins with "a:" could be a protocol
    source = write_mrc(Path("x:ä.mrc"), scene())
    assert run(source, Path("a:b ünï"), "--format", container) == 0
    assert len(pictures(tmp_path / "a:b ünï" / f"x:ä.{container}")) == 8


@pytest.mark.parametrize("quality", [75, 90, 95])
def test_quality_means_the_same_picture_in_every_codec(tmp_path: Path, quality: int) -> None:
    noise = cv2.GaussianBlur(rng.standard_normal((256, 256), np.float32), (0, 0), 0.7)
    source = write_mrc(tmp_path / "in.mrc", noise[None])
    (frame,) = reference(noise[None], -2, 2)

    def psnr(codec: str) -> float:
        settings = Settings(codec=codec, quality=quality, clip_limit=0, range="-2,2")
        convert(source, tmp_path / f"in.{settings.format}", settings)
        (shown,) = pictures(tmp_path / f"in.{settings.format}")
        return float(10 * np.log10(255**2 / np.mean(np.square(np.subtract(shown, frame, dtype=float)))))

    expected = psnr("MJPG")
    for codec in ("H264", "HEVC", "VP9", "AV1"):
        assert psnr(codec) == pytest.approx(expected, abs=1.5), codec


@pytest.mark.parametrize("codec", ["H264", "HEVC", "VP9", "AV1"])
def test_small_is_smaller_where_sections_resemble_their_neighbours(tmp_path: Path, codec: str) -> None:
    noise = np.random.default_rng(3).normal(size=(30, 128, 128)).cumsum(axis=0).astype(np.float32)
    means = (noise[11:] - noise[:-11]) / 11
    source = write_mrc(tmp_path / "in.mrc", means)
    sizes = [
        convert(source, tmp_path / "in.out", Settings(codec=codec, small=small, range="minmax")).record.movie.size
        for small in (False, True)
    ]
    assert sizes[1] < 0.75 * sizes[0]
