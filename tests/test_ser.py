"""SER files of TIA: written by the published description, and held against rosettasciio."""

import struct
from pathlib import Path

import pytest
from movies import ramp, refused_at_once, run, shown
from mrc_bytes import described, read, section_of, write
from numpy.testing import assert_array_equal
from rsciio.tia import file_reader
from stack_bytes import ser

from mrc2movie.errors import InputError
from mrc2movie.readers import open_volume


@pytest.mark.parametrize("version", [0x210, 0x220])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8"])
def test_every_type_is_read_as_another_reader_reads_it(tmp_path: Path, dtype: str, version: int) -> None:
    images = ramp(3, 10, 10).astype(dtype)
    path = write(tmp_path / "a.ser", ser(images, version))
    assert_array_equal(read(path), images)
    (other,) = file_reader(path)
    assert_array_equal(other["data"], images[:, ::-1])  # which turns them, so that the top comes first


def test_a_movie_shows_row_0_at_the_bottom(tmp_path: Path) -> None:
    images = ramp(3, 6, 10, "uint16")
    frames = shown(tmp_path, write(tmp_path / "a.ser", ser(images)), "--range=0,255")
    assert_array_equal(frames, images[:, ::-1])


def test_the_calibration_is_the_pixel_size(tmp_path: Path) -> None:
    assert described(write(tmp_path / "a.ser", ser(ramp(3)))).voxel_size_A == pytest.approx((2, 4, None))
    reciprocal = described(write(tmp_path / "a.ser", ser(ramp(3), pixel_m=1e7)))
    assert reciprocal.voxel_size_A is None


def test_a_series_that_was_stopped_shows_what_was_taken(tmp_path: Path) -> None:
    description = described(write(tmp_path / "a.ser", ser(ramp(3), total=7)))
    assert description.shape[0] == 3
    assert description.notes == ("3 of 7 images were taken",)


def test_a_cut_file_shows_its_whole_images(tmp_path: Path) -> None:
    images = ramp(5, 32, 32)
    data = ser(images)
    path = write(tmp_path / "a.ser", data[: len(data) - 3 * 2048])
    assert_array_equal(read(path), images[:2])
    assert described(path).warnings == ("truncated: 2 of 5 sections are there and shown",)


def test_an_image_unlike_the_first_one_is_refused_when_it_is_met(tmp_path: Path) -> None:
    images = ramp(3, 6, 10)
    data = bytearray(ser(images))
    second = data.index(images[1].tobytes()) - 50
    struct.pack_into("<2i", data, second + 42, 6, 10)
    path = write(tmp_path / "a.ser", bytes(data))
    with open_volume(path) as volume:
        assert_array_equal(section_of(volume, 2), images[2])
        with pytest.raises(InputError, match=r"section 1 is of another size or type.*--discard-range 1 2"):
            section_of(volume, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ser(ramp(1), kind=0x4120), "is a SER file of spectra, not of images"),
        (ser(ramp(1))[:30], "is a SER file of 30 bytes, which has no whole header"),
        (ser(ramp(1))[:60], "its header says 1 images, whose places are not there"),
        (ser(ramp(1))[:100], "its first image is not there; copy it again, or wait until it is written"),
        (ser(ramp(1))[:200], "its header says 1 images of 10 x 6, but not one is whole"),
        (ser(ramp(1))[:14] + struct.pack("<2I", *[2**32 - 1] * 2) + ser(ramp(1))[22:], "whose places are not there"),
        (ser(ramp(1))[:22] + struct.pack("<I", 2**32 - 1) + ser(ramp(1))[26:], "whose places are not there"),
    ],
)
def test_what_is_no_series_of_images_is_refused_in_a_line(tmp_path: Path, data: bytes, message: str) -> None:
    refused_at_once(write(tmp_path / "a.ser", data), message)


@pytest.mark.parametrize("sizes", [(2**31 - 1, 2**31 - 1), (0, 6), (-10, -6)])
def test_absurd_sizes_are_refused(tmp_path: Path, sizes: tuple[int, int]) -> None:
    images = ramp(1)
    data = bytearray(ser(images))
    struct.pack_into("<2i", data, data.index(images.tobytes()) - 8, *sizes)
    refused_at_once(write(tmp_path / "a.ser", bytes(data)), "its header says images of")


def test_a_single_image_is_one(tmp_path: Path) -> None:
    description = described(write(tmp_path / "a.ser", ser(ramp(1, 8, 8))))
    assert (description.shape, description.kind) == ((1, 8, 8), "image")


def test_ser_files_are_taken_from_a_directory(tmp_path: Path) -> None:
    write(tmp_path / "a_1.ser", ser(ramp(2, 8, 8)))
    assert run(tmp_path, tmp_path / "out") == 0
    assert (tmp_path / "out" / "a_1.avi").exists()
