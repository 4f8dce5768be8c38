"""MRCZ files as the ``mrcz`` package writes them: every codec, dtype and backend, in any order, damaged and absent."""

import gzip
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blosc2
import mrcz
import numpy as np
import pytest
from mrc_bytes import header, read, section_of, sections_of, write
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.readers import open_volume

Movie = Callable[..., NDArray[np.uint8]]

CODECS = [None, "blosclz", "lz4", "lz4hc", "zlib", "zstd"]
DTYPES = ["int8", "int16", "uint16", "int32", "uint32", "float32", "float64", "complex64"]


def voxels(dtype: str) -> NDArray[Any]:
    """(5, 6, 8) of which no two sections, rows or columns are alike; the first bytes need their sign."""
    numbers = np.arange(5 * 6 * 8).reshape(5, 6, 8)
    if np.dtype(dtype).kind == "i":
        numbers = numbers - 120
    return numbers.astype(dtype)


def written(path: Path, data: NDArray[Any], **options: Any) -> Path:
    with np.errstate(over="ignore"):  # mrcz adds up the mean of 8-bit voxels in 8 bits
        mrcz.writeMRC(data, str(path), **options)
    return path


@pytest.mark.parametrize("backend", ["blosc1", "blosc2"])
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_codec_and_dtype_is_read(tmp_path: Path, dtype: str, codec: str | None, backend: str) -> None:
    data = voxels(dtype)
    if dtype == "complex64":
        data = np.fft.fftshift(np.fft.fft2(np.random.default_rng(2).uniform(9, 12, data.shape)), axes=(1, 2))
        data = data.astype(dtype)
    path = written(tmp_path / "a.mrcz", data, compressor=codec, backend=backend if codec else None)
    found = read(path)
    if dtype == "complex64":
        np.testing.assert_allclose(found, np.log1p(np.abs(data)), rtol=1e-5)
        return
    assert found.dtype == np.dtype("float32" if dtype == "float64" else dtype)
    np.testing.assert_array_equal(found, data)


def test_4_bit_voxels_are_read(tmp_path: Path) -> None:
    data = (np.arange(5 * 6 * 8).reshape(5, 6, 8) * 7 % 16).astype(np.uint8)
    path = written(tmp_path / "a.mrc", data, dtype="uint4")
    np.testing.assert_array_equal(read(path), data)


@pytest.mark.parametrize("endian", ["le", "be"])
def test_both_byte_orders_are_read(tmp_path: Path, endian: str) -> None:
    data = voxels("int16").astype("<i2" if endian == "le" else ">i2")
    path = written(tmp_path / "a.mrcz", data, compressor="zstd", endian=endian)
    np.testing.assert_array_equal(read(path), data)


def test_sections_are_read_in_any_order(tmp_path: Path, movie: Movie) -> None:
    data = voxels("int16")
    path = written(tmp_path / "a.mrcz", data, compressor="lz4")
    with open_volume(path) as volume:
        for number in (4, 0, 3, 3, 1):
            np.testing.assert_array_equal(section_of(volume, number), data[number])
    frames = movie(path, "--playback=backward", "--range=-120,135")
    np.testing.assert_array_equal(frames[..., 0], (data[::-1, ::-1] + 120).clip(0, 255))


@pytest.mark.parametrize("codec", [None, "zstd"])
def test_channels_are_shown_one_after_the_other(tmp_path: Path, movie: Movie, codec: str | None) -> None:
    data = np.arange(6 * 6 * 8).reshape(3, 2, 6, 8).astype("int16")  # three images of two channels
    path = tmp_path / "a.mrcz"
    mrcz.writeMRC(list(data), str(path), compressor=codec)
    again, _ = mrcz.readMRC(str(path))
    np.testing.assert_array_equal(np.array(again), data)
    with open_volume(path) as volume:
        assert volume.description.channels == 2
        assert volume.description.storage["channels"] == "2 sections an image"
    wanted = np.concatenate([data[:, 0], data[:, 1]])
    frames = movie(path, "--range=0,255")
    np.testing.assert_array_equal(frames[..., 0], wanted[:, ::-1].clip(0, 255))
    frames = movie(path, "--range=0,255", "--only=3:", "--every=2")
    np.testing.assert_array_equal(frames[..., 0], wanted[3::2, ::-1].clip(0, 255))
    frames = movie(path, "--range=0,255", "--order=file")
    np.testing.assert_array_equal(frames[..., 0], data.reshape(6, 6, 8)[:, ::-1].clip(0, 255))


@pytest.mark.parametrize(
    ("label", "mz", "nz", "channels"),
    [
        ("MRCZ0.5.0", 2, 4, 2),
        ("MRCZ0.4.1", 2, 4, 1),
        ("MRCZ0.5.0", 3, 4, 1),
        ("MRCZ1.0", 0, 4, 1),
        ("MRCZ0.50", 2, 4, 2),
    ],
)
def test_channels_are_believed_where_they_make_sense(
    tmp_path: Path, label: str, mz: int, nz: int, channels: int
) -> None:
    head = header(3, 2, nz, 0, mz=mz, label=label.encode(), nlabl=1)
    with open_volume(write(tmp_path / "a.mrcz", head + bytes(6 * nz))) as volume:
        assert volume.description.channels == channels


def test_json_pixel_size_and_codec_are_kept(tmp_path: Path) -> None:
    meta = {"voltage": 300, "names": ["ä", "b"], "nested": {"x": 1.5}}
    data = voxels("int8")
    path = written(tmp_path / "a.mrcz", data, meta=meta, compressor="zstd", pixelsize=[0.4, 0.3, 0.2], pixelunits="nm")
    with open_volume(path) as volume:
        description = volume.description
        np.testing.assert_array_equal(sections_of(volume), data)
    document = description.header["document"]
    assert isinstance(document, dict)
    assert meta.items() <= document.items()
    assert description.header["dialect"] == "MRCZ, zstd"
    assert description.voxel_size_A == pytest.approx((2, 3, 4))


@pytest.mark.parametrize("broken", [b"{", b"[" * 100_000, b"\xff\xfe", b'{"a": NaN}', b'{"a": -1e999}'])
def test_json_that_makes_no_sense_is_left_out(tmp_path: Path, broken: bytes) -> None:
    chunk = blosc2.compress2(bytes(range(6)), typesize=1)
    path = write(tmp_path / "a.mrcz", header(3, 2, 1, 6000, exttyp=b"json", nsymbt=len(broken)) + broken + chunk)
    with open_volume(path) as volume:
        assert volume.description.header.get("document", {"a": None}) == {"a": None}
        assert sections_of(volume).ravel().tolist() == list(range(6))


def test_a_file_as_long_as_if_it_were_not_compressed_has_its_extended_header_all_the_same(tmp_path: Path) -> None:
    chunk = blosc2.compress2(bytes(1000), typesize=1)
    document = b'{"a": 1}'.ljust(1000 - len(chunk))
    data = header(100, 10, 1, 6000, exttyp=b"json", nsymbt=len(document)) + document + chunk
    assert len(data) == 1024 + 1000
    with open_volume(write(tmp_path / "a.mrcz", data)) as volume:
        assert volume.description.header["document"] == {"a": 1}
        assert not sections_of(volume).any()


def test_a_cut_file_shows_its_whole_sections_with_a_warning(tmp_path: Path) -> None:
    data = voxels("int16")
    path = written(tmp_path / "a.mrcz", data, compressor="zlib")
    path.write_bytes(path.read_bytes()[:-1])
    with open_volume(path) as volume:
        assert volume.description.warnings == ("truncated: 4 of 5 sections are there and shown",)
        np.testing.assert_array_equal(sections_of(volume), data[:4])
    path.write_bytes(path.read_bytes()[:1100])
    with pytest.raises(InputError, match="says 5 sections, but not one is whole"):
        open_volume(path)


@pytest.mark.parametrize("packed", [0, 15, 2**32 - 1])
def test_a_chunk_of_no_sane_length_ends_the_walk(tmp_path: Path, packed: int) -> None:
    chunk = blosc2.compress2(bytes(range(6)), typesize=1)
    wrong = chunk[:12] + struct.pack("<I", packed) + chunk[16:]
    path = write(tmp_path / "a.mrcz", header(3, 2, 2**31 - 1, 6000) + chunk + wrong)
    begin = time.process_time()
    with open_volume(path) as volume:
        assert volume.description.shape == (1, 2, 3)
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("length", [5, 7])
def test_a_chunk_of_another_size_than_a_section_ends_the_walk(tmp_path: Path, length: int) -> None:
    good, other = (blosc2.compress2(bytes(range(count)), typesize=1) for count in (6, length))
    with open_volume(write(tmp_path / "a.mrcz", header(3, 2, 2, 6000) + good + other)) as volume:
        assert volume.description.shape == (1, 2, 3)


def test_a_chunk_that_cannot_be_unpacked_names_its_section(tmp_path: Path) -> None:
    good = blosc2.compress2(bytes(range(6)), typesize=1)
    bad = good[:4] + good[4:16] + b"\xff" * (len(good) - 16)
    bad = b"\x63" + bad[1:]  # no version of Blosc
    path = write(tmp_path / "a.mrcz", header(3, 2, 2, 6000) + good + bad)
    with (
        open_volume(path) as volume,
        pytest.raises(InputError, match=r"section 1 cannot be unpacked: it is damaged.*--discard-range 1 2"),
    ):
        sections_of(volume)


def test_a_chunk_that_claims_more_than_so_small_a_file_can_hold_is_refused(tmp_path: Path) -> None:
    side = 12000
    chunk = blosc2.compress2(np.zeros(side * side, np.uint8), typesize=1)
    assert len(chunk) < 100
    path = write(tmp_path / "a.mrcz", header(side, side, 1, 6000) + chunk)
    with pytest.raises(InputError, match="sections of 144000000 bytes, which so small a file cannot hold"):
        open_volume(path)


def test_mrcz_without_blosc_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.mrcz", voxels("int8"), compressor="zstd")
    monkeypatch.setitem(sys.modules, "blosc2", None)
    with pytest.raises(InputError, match=r"Blosc \(MRCZ\); pip install 'mrc2movie\[mrcz\]'"):
        open_volume(path)


def test_mrcz_inside_gzip_is_refused_in_words(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mrcz", voxels("int8"), compressor="zstd")
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(InputError, match="is an MRCZ file inside gzip; unpack it first"):
        open_volume(path)
