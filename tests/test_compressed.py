"""gzip, bzip2, xz and Zstandard: by content, section by section, in any order, and what is left of a damaged one."""

import bz2
import errno
import gzip
import io
import lzma
import re
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import faulty, installed
from movies import less_memory_than, thinned
from mrc_bytes import header, mrc, read, section_of, sections_of, write
from numpy.typing import NDArray

from mrc2movie import Settings, convert
from mrc2movie.errors import InputError, OutputError
from mrc2movie.readers import open_volume
from mrc2movie.readers.compressed import DecompressedStream
from mrc2movie.readers.volume import SizeLearned

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Movie = Callable[..., NDArray[np.uint8]]
Compress = Callable[[bytes], bytes]

COMPRESS: dict[str, Compress] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd.compress}
every = pytest.mark.parametrize("kind", COMPRESS)
every_second = pytest.mark.parametrize("kind", thinned(COMPRESS, 2))

NOISE = np.random.default_rng(7).integers(0, 30000, (6, 40, 50))
DATA = mrc(NOISE, 1)
SECTION = 40 * 50 * 2


@every
@pytest.mark.parametrize("name", ["a.mrc", "a.mrc.gz", "a.rec"])
def test_compression_is_known_by_its_content_whatever_the_name(tmp_path: Path, kind: str, name: str) -> None:
    path = write(tmp_path / name, COMPRESS[kind](DATA))
    np.testing.assert_array_equal(read(path), NOISE)
    with open_volume(path) as volume:
        names = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "Zstandard"}
        assert str(volume.description.header["dialect"]).endswith(f", in {names[kind]}")


@pytest.mark.parametrize("columns", [35615, 0x00388B1F & 0xFFFF])
def test_35615_columns_are_no_gzip(tmp_path: Path, columns: int) -> None:
    data = header(columns, 1, 1, 0, stats=(0, 200, 0)) + bytes(range(256)) * 140
    assert data[:2] == b"\x1f\x8b"
    assert read(write(tmp_path / "a.mrc", data[: 1024 + columns])).shape == (1, 1, columns)


@every
def test_streams_strung_together_are_one(tmp_path: Path, kind: str) -> None:
    compress = COMPRESS[kind]
    parts = [compress(DATA[:700]), compress(DATA[700:9000]), compress(DATA[9000:])]
    padding = bytes(8) if kind in ("gz", "xz") else b""
    np.testing.assert_array_equal(read(write(tmp_path / "a.mrc", padding.join(parts) + padding)), NOISE)


def test_a_stream_of_tiny_streams_takes_no_long_time(tmp_path: Path) -> None:
    tiny = gzip.compress(b"") * 100_000
    path = write(tmp_path / "a.mrc", gzip.compress(DATA[:2000]) + tiny + gzip.compress(DATA[2000:]))
    begin = time.process_time()
    np.testing.assert_array_equal(read(path), NOISE)
    assert time.process_time() - begin < 5


def test_zstandard_may_begin_with_a_skippable_frame(tmp_path: Path) -> None:
    skippable = struct.pack("<2I", 0x184D2A53, 5) + b"hello"
    path = write(tmp_path / "a.mrc", skippable + zstd.compress(DATA[:5000]) + skippable + zstd.compress(DATA[5000:]))
    np.testing.assert_array_equal(read(path), NOISE)


@every
def test_what_follows_the_stream_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "a.mrc", COMPRESS[kind](DATA) + b"trailing garbage")
    with open_volume(path) as volume:
        np.testing.assert_array_equal(sections_of(volume), NOISE)
        assert volume.description.warnings == ()


@every
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--order=file"], [0, 1, 2, 3, 4]),
        (["--order=file", "--playback=backward"], [4, 3, 2, 1, 0]),
        (["--order=tilt"], [1, 4, 2, 0, 3]),
        (["--order=tilt", "--playback=backward"], [3, 0, 2, 4, 1]),
    ],
)
def test_sections_come_in_any_order(
    tmp_path: Path, movie: Movie, kind: str, options: list[str], expected: list[int]
) -> None:
    voxels = np.zeros((5, 2, 2), int) + np.arange(5)[:, None, None] * 10
    (tmp_path / "a.rawtlt").write_text("20\n-40\n0\n40\n-20\n")
    frames = movie(write(tmp_path / "a.mrc.gz", COMPRESS[kind](mrc(voxels, 1))), "--range=0,40", *options)
    assert [round(level * 40 / 255 / 10) for level in frames[:, 0, 0, 0].tolist()] == expected


def test_another_order_unpacks_each_byte_once_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.mrc.gz", gzip.compress(DATA))
    unpacked = []
    pull = DecompressedStream._pull

    def counting(stream: DecompressedStream, count: int) -> bytes:
        data = pull(stream, count)
        unpacked.append(len(data))
        return data

    with open_volume(path, spool_directory=tmp_path) as volume:
        order = [5, 0, 4, 1, 3, 2]
        volume.expect(order, rising=False)
        monkeypatch.setattr(DecompressedStream, "_pull", counting)
        for number in order * 2:
            np.testing.assert_array_equal(section_of(volume, number), NOISE[number])
        assert sum(unpacked) == len(DATA)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.mrc.gz"]


@pytest.mark.parametrize(
    ("options", "status"), [([], 0), (["--discard-range", "1", "3"], 0), (["--playback=backward"], 1)]
)
def test_only_an_order_that_is_not_rising_needs_disk_space(tmp_path: Path, options: list[str], status: int) -> None:
    path = write(tmp_path / "a.mrc.gz", gzip.compress(DATA))
    full = faulty("write", " (deleted)", error=errno.ENOSPC)  # as files without a name are called
    result = installed(path, tmp_path / "out", *options, env=full)
    assert result.returncode == status
    assert bool(re.search(r"\(No space left on device\).*--order file", result.stderr)) == status


def test_a_directory_that_takes_no_temporary_file_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc.gz", gzip.compress(DATA))
    with (
        open_volume(path, spool_directory=tmp_path / "gone") as volume,
        pytest.raises(OutputError, match=r"No such file or directory.*--order file"),
    ):
        volume.expect([1, 0], rising=False)


@every_second
def test_a_cut_stream_shows_its_whole_sections_with_a_warning(
    tmp_path: Path, movie: Movie, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = COMPRESS[kind](mrc(np.random.default_rng(1).integers(0, 30000, (40, 200, 210)), 1))
    path = write(tmp_path / "a.mrc.gz", whole[: len(whole) * 6 // 10])
    frames = movie(path)
    assert 12 <= len(frames) <= 25  # bzip2 gives its blocks of 900 kB whole or not at all
    messages = capsys.readouterr().err
    assert f"truncated: {len(frames)} of 40 sections are there and shown" in messages
    assert "stream is cut short after" in messages


@every_second
def test_a_corrupt_stream_shows_the_whole_sections_before_the_damage(
    tmp_path: Path, movie: Movie, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    voxels = np.random.default_rng(1).integers(0, 30000, (40, 200, 210))
    whole = bytearray(COMPRESS[kind](mrc(voxels, 1)))
    middle = len(whole) // 2
    whole[middle : middle + 300_000] = b"\xff" * 300_000  # long enough to meet the header of a block
    frames = movie(write(tmp_path / "a.mrc.gz", bytes(whole)), "--range=0,30000", "--flip=no")
    assert 5 <= len(frames) < 40
    np.testing.assert_allclose(frames[:5, ..., 0], voxels[:5] * (255 / 30000), atol=1)
    messages = capsys.readouterr().err
    assert f"truncated: {len(frames)} of 40 sections" in messages
    assert "stream is damaged after" in messages


def test_sections_before_a_cut_are_all_kept(tmp_path: Path) -> None:
    stored = zlib.compressobj(0, zlib.DEFLATED, 31)  # not compressed: what is cut is known to the byte
    whole = stored.compress(DATA) + stored.flush()
    at = whole.index(DATA[1024 + 3 * SECTION : 1024 + 3 * SECTION + 20])
    with open_volume(write(tmp_path / "a.gz", whole[: at + 10])) as volume:
        np.testing.assert_array_equal(sections_of(volume), NOISE[:3])
        assert volume.description.shape[0] == 3


@pytest.mark.parametrize("any_order", [False, True])
@pytest.mark.parametrize("whole_sections", [1, 300, 777])
def test_sections_before_a_damage_are_all_kept_in_any_order(
    tmp_path: Path, any_order: bool, whole_sections: int
) -> None:
    voxels = np.zeros((1000, 40, 50), int) + np.arange(1000)[:, None, None]
    end = 1024 + whole_sections * SECTION + 600
    stored = zlib.compressobj(0, zlib.DEFLATED, 31)
    data = mrc(voxels, 1)
    whole = stored.compress(data[:end]) + stored.flush(zlib.Z_FULL_FLUSH) + b"\x07" * 100  # no kind of block
    with open_volume(write(tmp_path / "a.gz", whole)) as volume:
        if any_order:
            volume.expect([999, 0], rising=False)
        with pytest.raises(SizeLearned):
            section_of(volume, 999)
        np.testing.assert_array_equal(sections_of(volume), voxels[:whole_sections])
        assert "stream is damaged after" in volume.description.warnings[1]


def test_a_wrong_checksum_is_warned_of_and_everything_shown(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(DATA))
    whole[-6] ^= 1
    with open_volume(write(tmp_path / "a.gz", bytes(whole))) as volume:
        np.testing.assert_array_equal(sections_of(volume), NOISE)
        assert "its checksum is wrong" in volume.description.warnings[0]


@pytest.mark.parametrize("options", [{}, {"playback": "backward"}, {"average": 3}, {"axis": "y"}, {"axis": "x"}])
@pytest.mark.parametrize("damage", ["checksum", "trailer"])
def test_damage_that_takes_no_section_is_told_with_the_movie(
    tmp_path: Path, options: dict[str, Any], damage: str
) -> None:
    whole = bytearray(gzip.compress(DATA))
    if damage == "checksum":
        whole[-6] ^= 1
    else:
        del whole[-8:]
    source = write(tmp_path / "a.mrc.gz", bytes(whole))
    record = convert(source, tmp_path / "a.avi", Settings(**options)).record
    assert [warning for warning in record.warnings if "the gzip stream is" in warning]


@every
@pytest.mark.parametrize("keep", [0.02, 0.0])
def test_a_stream_cut_before_its_first_section_is_refused(tmp_path: Path, kind: str, keep: float) -> None:
    whole = COMPRESS[kind](mrc(np.random.default_rng(1).integers(0, 30000, (4, 200, 210)), 1))
    path = write(tmp_path / "a.mrc.gz", whole[: max(12, int(len(whole) * keep))])
    with pytest.raises(InputError, match="cut short"), open_volume(path) as volume:
        sections_of(volume)


@pytest.mark.parametrize(("sections", "left"), [(0, 700), (1, 700), (2, 0)])
def test_a_cut_stream_of_transforms_is_told_as_such(tmp_path: Path, sections: int, left: int) -> None:
    waves = np.fft.rfft2(np.random.default_rng(2).uniform(5, 9, (3, 16, 16))).astype("<c8")
    whole = zlib.compressobj(0, zlib.DEFLATED, 31)
    size = 16 * 9 * 8
    data = whole.compress(header(9, 16, 3, 4) + waves.tobytes()[: sections * size + left])
    path = write(tmp_path / "a.gz", data + whole.flush(zlib.Z_FULL_FLUSH))
    if sections == 0:
        with pytest.raises(InputError, match="holds nothing to show: the gzip stream is cut short"):
            open_volume(path)
        return
    with open_volume(path) as volume:
        shown = sections_of(volume)
        assert shown.shape == (sections, 16, 9)
        assert np.argwhere(shown[0] == shown[0].max()).tolist() == [[8, 0]]


@every
@pytest.mark.parametrize("claimed", [-1, 2**31 - 1, 80])
def test_an_absent_extended_header_is_found_out_in_a_stream(tmp_path: Path, kind: str, claimed: int) -> None:
    path = write(tmp_path / "a.mrc.gz", COMPRESS[kind](mrc(NOISE, 1, nsymbt=claimed)))
    np.testing.assert_array_equal(read(path), NOISE)


def test_only_what_the_header_says_is_unpacked(tmp_path: Path) -> None:
    """What follows is damaged, which nobody who does not unpack it can notice."""
    whole = gzip.compress(DATA + np.random.default_rng(8).bytes(3_000_000))
    with open_volume(write(tmp_path / "a.gz", whole[: len(whole) // 2])) as volume:
        np.testing.assert_array_equal(sections_of(volume), NOISE)
        assert "cut short" not in " ".join(volume.description.warnings)


def test_zstandard_without_its_package_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.zst", zstd.compress(DATA))
    for module in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"Zstandard; pip install 'mrc2movie\[zst\]'"):
        open_volume(path)


def zeros(kind: str, head: bytes, megabytes: int) -> bytes:
    """A bomb: a header and so many megabytes of zeros, compressed without being made."""
    if kind == "zst":
        compressor = zstd.ZstdCompressor()
        return (
            b"".join([compressor.compress(head), *(compressor.compress(bytes(1 << 20)) for _ in range(megabytes))])
            + compressor.flush()
        )
    target = io.BytesIO()
    opened: Any = {"gz": gzip.open, "bz2": bz2.open, "xz": partial(lzma.open, preset=0)}[kind]
    with opened(target, "wb") as file:
        file.write(head)
        for _ in range(megabytes):
            file.write(bytes(1 << 20))
    return target.getvalue()


@every
@pytest.mark.parametrize(
    "head",
    thinned(
        [
            b"",  # no MRC file at all
            header(20000, 20000, 1, 0) + np.random.default_rng(3).bytes(3000),
            header(20000, 20000, 10, 4),
            header(2**31 - 1, 2**31 - 1, 2**31 - 1, 2),
            header(9000, 9000, 1, 2, nsymbt=-1),
            header(10, 10, 1, 0, nsymbt=2**31 - 1),
        ],
        3,
    ),
)
def test_a_bomb_is_refused_at_once_and_without_memory(tmp_path: Path, kind: str, head: bytes) -> None:
    path = write(tmp_path / "a.mrc.gz", zeros(kind, head, 60))
    begin = time.process_time()
    with less_memory_than(30_000_000), pytest.raises(InputError):
        open_volume(path)
    assert time.process_time() - begin < 1


@pytest.mark.parametrize(
    ("megabytes", "limit_megabytes"),
    [(64, 200), pytest.param(1024, 300, marks=pytest.mark.large)],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_converting_a_gzip_takes_no_more_memory_than_a_few_sections(
    tmp_path: Path, megabytes: int, limit_megabytes: int
) -> None:
    section = np.random.default_rng(5).normal(0, 40, (1024, 1024)).astype("<i2").tobytes()
    count = megabytes * 2**20 // len(section)
    path = tmp_path / "a.mrc.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header(1024, 1024, count, 1))
        for _ in range(count):
            file.write(section)
    code = (
        "import re, sys; from mrc2movie.cli import main; status = main(sys.argv[1:]); "
        r"print(status, re.search(r'VmHWM:\s+(\d+)', open('/proc/self/status').read())[1])"
    )
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "movies"), "--jobs=2", "--playback=forward"],
        capture_output=True,
        text=True,
        check=True,
    )
    status, peak = map(int, done.stdout.split())
    print(f"{megabytes} MB in gzip: peak {peak / 1024:.0f} MB, {time.perf_counter() - begin:.1f} s")
    assert status == 0
    assert peak / 1024 < limit_megabytes


def far_back_xz(megabytes: int) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": megabytes << 20, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3}]
    return lzma.compress(DATA, lzma.FORMAT_XZ, filters=filters)


def far_back_zstandard(window_log: int, known_size: bool) -> bytes:
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: window_log})
    if not known_size:
        return packer.compress(DATA) + packer.flush()
    frame = bytearray(zstd.compress(DATA[:256]))
    assert frame[4] == 0x20 | 0x40, "a single segment, its size in two bytes"
    # The same frame, which says now in eight bytes that it will be of a gigabyte.
    return bytes(frame[:4]) + bytes([0x20 | 0xC0]) + (2**30).to_bytes(8, "little") + bytes(frame[7:])


@pytest.mark.parametrize(
    ("data", "megabytes"),
    [
        (far_back_xz(512), 512),
        (far_back_xz(768), 768),
        (far_back_zstandard(30, False), 1024),
        (far_back_zstandard(28, False), 256),
        (far_back_zstandard(0, True), 1024),
    ],
    ids=["xz", "xz of 3 * 2**n", "Zstandard", "Zstandard --ultra", "Zstandard of one segment"],
)
def test_a_stream_that_needs_much_memory_is_told_from_a_damaged_one(
    tmp_path: Path, data: bytes, megabytes: int
) -> None:
    with pytest.raises(InputError) as caught:
        read(write(tmp_path / "a.mrc", data))
    assert caught.value.in_words == (
        f"needs {megabytes} MB of memory to be unpacked, which is too much here; unpack it first"
    )


def test_xz_with_a_large_dictionary_within_bounds_is_read(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(write(tmp_path / "a.mrc", far_back_xz(192))), NOISE)


@pytest.mark.parametrize("flags", range(32))
def test_whatever_fields_the_header_of_a_gzip_member_has_they_are_skipped(tmp_path: Path, flags: int) -> None:
    plain = gzip.compress(DATA)
    assert plain[3] == 0
    fields = b"".join(
        field
        for bit, field in ((4, b"\x05\x01hello" + bytes(256)), (8, b"a.mrc\0"), (16, b"a comment\0"), (2, b"\1\2"))
        if flags & bit
    )
    data = plain[:3] + bytes([flags]) + plain[4:10] + fields + plain[10:]
    np.testing.assert_array_equal(read(write(tmp_path / "a.mrc", data)), NOISE)
