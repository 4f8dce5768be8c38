"""Movies: codecs, sizes, verification."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from movies import frames, packets, ramp, reference, run, write_mrc
from mrc_bytes import header
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from mrc2movie import Settings, convert
from mrc2movie.errors import OutputError
from mrc2movie.writers import check_codec, open_movie
from mrc2movie.writers.movie import MovieFacts

rng = np.random.default_rng(2)


def smooth(sections: int, rows: int, columns: int) -> NDArray[np.float32]:
    """(z, y, x) float32 without noise, brightest in one corner: every codec can show it well."""
    z, y, x = np.ogrid[:sections, :rows, :columns]
    return (np.cos(x / 9) + y / rows + z / sections).astype(np.float32)


def jpeg_parts(packet: bytes) -> tuple[int, tuple[int, ...]]:
    """Number of components and their sampling factors, from the frame header of a JPEG (ITU-T T.81, B.2.2)."""
    start = packet.index(b"\xff\xc0")
    components = packet[start + 9]
    return components, tuple(packet[start + 11 + 3 * i] for i in range(components))


def test_frames_are_three_component_jpegs_with_neutral_chroma_4_2_0(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", rng.normal(size=(2, 32, 48)).astype(np.float32))
    assert run(source, tmp_path / "out") == 0
    for packet in packets(tmp_path / "out" / "in.avi"):
        assert jpeg_parts(packet) == (3, (0x22, 0x11, 0x11))
        colour = cv2.imdecode(np.frombuffer(packet, np.uint8), cv2.IMREAD_COLOR)
        assert colour is not None
        assert np.ptp(colour, axis=2).max() == 0


def test_quality_is_the_quality_of_the_jpegs(tmp_path: Path) -> None:
    source = write_mrc(tmp_path / "in.mrc", rng.normal(size=(1, 64, 64)).astype(np.float32))
    for quality in (30, 90):
        assert (
            run(source, tmp_path / "out", "--quality", quality, "--clip-limit", "0", "--range", "minmax", "--overwrite")
            == 0
        )
        (packet,) = packets(tmp_path / "out" / "in.avi")
        picture = cv2.cvtColor(reference(*_limits(source))[0], cv2.COLOR_GRAY2BGR)
        sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
        assert packet == cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])[1].tobytes()


def _limits(source: Path) -> tuple[NDArray[np.float32], float, float]:
    voxels = np.fromfile(source, np.float32, offset=1024).reshape(1, 64, 64)
    return voxels, float(voxels.min()), float(voxels.max())


@pytest.mark.parametrize("fps", [0.1, 7.3, 23.976, 25, 29.97, 30, 60, 1000])
def test_the_rate_is_the_one_asked_for(tmp_path: Path, fps: float) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp())
    assert run(source, tmp_path / "out", "--fps", fps) == 0
    assert cv2.VideoCapture(str(tmp_path / "out" / "in.avi")).get(cv2.CAP_PROP_FPS) == pytest.approx(fps, abs=1e-3)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 161), (31, 33), (7, 300), (64, 64)])
def test_mjpg_keeps_every_size(tmp_path: Path, rows: int, columns: int) -> None:
    voxels = smooth(3, rows, columns)
    convert(write_mrc(tmp_path / "in.mrc", voxels), tmp_path / "in.avi", Settings(clip_limit=0, playback="forward"))
    found = frames(tmp_path / "in.avi")
    expected = reference(voxels, float(voxels.min()), float(voxels.max()))
    assert [frame.shape for frame in found] == [(rows, columns)] * 3
    assert np.abs(np.subtract(found, expected, dtype=int)).max() <= 8


@pytest.mark.parametrize(("codec", "tolerance"), [("XVID", 9), ("divx", 9), ("FFV1", 0), ("HFYU", 0)])
def test_other_codecs_pad_odd_sizes_and_crop_nothing(
    tmp_path: Path, codec: str, tolerance: int, capsys: pytest.CaptureFixture[str]
) -> None:
    voxels = smooth(4, 31, 33)
    source = write_mrc(tmp_path / "in.mrc", voxels)
    assert run(source, tmp_path / "out", "--codec", codec, "--clip-limit", "0", "--range", "minmax") == 0
    expected = reference(voxels, float(voxels.min()), float(voxels.max()))
    expected = [np.pad(picture, ((0, 1), (0, 1)), mode="edge") for picture in expected]
    found = frames(tmp_path / "out" / "in.avi")
    assert len(found) == 6
    for frame, section in zip(found, (0, 1, 2, 3, 2, 1), strict=True):
        assert frame.shape == (32, 34)
        assert np.abs(np.subtract(frame, expected[section], dtype=int)).mean() <= tolerance
    assert "odd size: padded from 33 x 31 to 34 x 32" in capsys.readouterr().err


def test_a_codec_that_cannot_be_written_is_refused_with_those_that_can(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp())
    assert run(source, tmp_path / "out", "--codec", "QRLE") == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("mrc2movie:")]
    assert "--codec QRLE" in line
    assert "MJPG XVID DIVX" in line
    assert not (tmp_path / "out").exists()


def test_a_size_that_no_jpeg_can_hold_is_refused_with_advice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_mrc(tmp_path / "in.mrc", np.arange(65501, dtype=np.float32).reshape(1, 1, -1))
    assert run(source, tmp_path / "out") == 1
    assert (
        "frames of 65501 x 1 are larger than the 65500 pixels a side of MJPG; make them smaller with --max-size 65500"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "out" / "in.avi").exists()


def test_more_pixels_than_a_movie_can_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="more pixels than a movie can hold"):
        open_movie(tmp_path / "x.avi", (30000, 30000), Settings())


@pytest.mark.parametrize("codec", ["MJPG", "XVID"])
def test_a_movie_that_was_not_written_well_is_found_out(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "x.avi"
    settings = Settings(codec=codec)
    facts = MovieFacts(20, 64, 64, 30.0)
    pictures = [rng.integers(0, 256, (64, 64)).astype(np.uint8) for _ in range(20)]
    writer = open_movie(path, (64, 64), settings)
    encode = writer.encoder()
    for position, picture in enumerate(pictures):
        writer.write(encode(picture, position))
    writer.close()
    ends = {0: pictures[0], 19: pictures[19]}
    writer.verify(facts, ends)
    for wrong in (
        MovieFacts(21, 64, 64, 30.0),
        MovieFacts(20, 66, 64, 30.0),
        MovieFacts(20, 64, 62, 30.0),
        MovieFacts(20, 64, 64, 25.0),
    ):
        with pytest.raises(OutputError, match="not written well"):
            writer.verify(wrong, ends)
    with pytest.raises(OutputError, match="frame 19 does not come back"):
        writer.verify(facts, {0: pictures[0], 19: pictures[0]})
    whole = path.read_bytes()
    for size in (0, 100, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(OutputError, match="not written well"):
            writer.verify(facts, ends)
    path.write_bytes(bytes(len(whole)))
    with pytest.raises(OutputError, match="not written well"):
        writer.verify(facts, ends)


@pytest.fixture
def a_megabyte_a_file() -> Iterator[None]:
    """Writing beyond the first megabyte of a file fails, as beyond 4 GB on FAT32."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("a_megabyte_a_file")
def test_a_movie_that_does_not_come_to_the_disk_is_noticed_while_it_is_written(tmp_path: Path) -> None:
    writer = open_movie(tmp_path / "x.avi", (1024, 1024), Settings(quality=100))
    packet = writer.encoder()(rng.integers(0, 256, (1024, 1024)).astype(np.uint8), 0)
    with pytest.raises(
        OutputError, match=r"\(File too large\); no file may be so large there: take another OUTPUT_DIR"
    ):
        for _ in range(2 * 8 * 2**20 // packet.nbytes):
            writer.write(packet)
    writer.abandon()


@pytest.mark.usefixtures("a_megabyte_a_file")
@pytest.mark.parametrize("options", [[], ["--codec", "HFYU"], ["--format", "mp4"]])
def test_a_file_that_may_not_be_so_large_is_named(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.mrc"
    write_mrc(source, rng.integers(-128, 128, (7, 256, 512)).astype(np.int8))
    assert run(source, tmp_path / "out", *options, "--quality", 100) == 1
    said = capsys.readouterr().err
    assert "the movie cannot be written (File too large); no file may be so large there" in said
    assert "disk full" not in said
    assert not list((tmp_path / "out").glob("in.*"))


def test_threads_that_try_a_codec_at_once_leave_standard_error_as_it_was() -> None:
    before = os.fstat(2)
    for _ in range(5):
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(check_codec, [Settings(codec="XVID")] * 4))
    assert os.path.samestat(os.fstat(2), before)


@pytest.mark.parametrize("shape", [(1, 2**31 - 1), (2**31 - 1, 1), (2, 2**30)])
def test_sections_longer_than_any_picture_are_refused_in_one_line(
    tmp_path: Path, shape: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    source, (rows, columns) = tmp_path / "in.mrc", shape
    source.write_bytes(header(columns, rows, 1, 0))
    os.truncate(source, 1024 + rows * columns)
    assert run(source, tmp_path / "out", "--max-size", 100) == 1
    assert f"in.mrc: sections of {columns} x {rows} are too long for pictures" in capsys.readouterr().err


@pytest.mark.large
def test_a_movie_over_4_gb_is_right(tmp_path: Path) -> None:
    pictures = [rng.integers(0, 256, (2048, 2048)).astype(np.uint8) for _ in range(3)]
    path = tmp_path / "x.avi"
    writer = open_movie(path, (2048, 2048), Settings(quality=100))
    encode = writer.encoder()
    written = [encode(picture, i) for i, picture in enumerate(pictures)]
    count = 4_400_000_000 // len(written[0])
    for i in range(count):
        writer.write(written[i % 3])
    writer.close()
    assert path.stat().st_size > 2**32
    writer.verify(MovieFacts(count, 2048, 2048, 30.0), {0: pictures[0], count - 1: pictures[(count - 1) % 3]})
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    seen = 0
    while (answer := capture.read())[0]:
        assert_array_equal(answer[1].ravel(), written[seen % 3])
        seen += 1
    assert seen == count
