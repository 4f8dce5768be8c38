"""EM files: as emfile writes them, of every machine, and as nobody should."""

import os
import struct
from pathlib import Path

import emfile
import numpy as np
import pytest
from movies import ramp, refused_at_once, run, shown
from mrc_bytes import described, mrc, read, write
from numpy.testing import assert_array_equal
from stack_bytes import em

from mrc2movie.errors import InputError
from mrc2movie.readers import open_volume


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32", "float64"])
def test_what_emfile_writes_is_read(tmp_path: Path, dtype: str) -> None:
    voxels = ramp(3, 6, 10, dtype)
    emfile.write(tmp_path / "a.em", voxels)
    found = read(tmp_path / "a.em")
    assert_array_equal(found, voxels)
    assert found.dtype == (np.float32 if dtype == "float64" else dtype)
    description = described(tmp_path / "a.em")
    assert description.voxel_size_A is None
    assert description.kind == "volume"


@pytest.mark.parametrize("order", "<>")
def test_the_parameters_of_the_microscope_are_told(tmp_path: Path, order: str) -> None:
    data = em(ramp(3), 6, order, p0=300000, p5=500, p6=2620, p10=-40000, p18=-12000)
    description = described(write(tmp_path / "a.em", data))
    assert description.voxel_size_A == pytest.approx((2.62, 2.62, 2.62))
    assert description.optics.voltage_kV == 300
    assert description.optics.defocus_um == pytest.approx(4)
    told = description.header["sections"]
    assert isinstance(told, dict)
    assert told["exposure_s"] == [0.5] * 3
    assert told["tilt_degrees"] == [-12] * 3


@pytest.mark.parametrize("machine", range(7))
@pytest.mark.parametrize("order", "<>")
def test_the_size_of_the_file_tells_the_byte_order_whatever_the_machine(
    tmp_path: Path, machine: int, order: str
) -> None:
    voxels = ramp(3, 6, 10)
    assert_array_equal(read(write(tmp_path / "a.em", em(voxels, machine, order))), voxels)
    assert_array_equal(read(write(tmp_path / "a.mrc", em(voxels, machine, order))), voxels)


@pytest.mark.parametrize(("machine", "order"), [(3, ">"), (4, ">"), (5, ">"), (0, ">"), (1, "<"), (6, "<")])
def test_of_a_cut_file_the_machine_tells_the_byte_order(tmp_path: Path, machine: int, order: str) -> None:
    voxels = ramp(2, 256, 512)  # sizes that make sense in both
    path = write(tmp_path / "a.em", em(voxels, machine, order)[:-1])
    assert_array_equal(read(path), voxels[:1])


def test_a_movie_shows_row_0_at_the_bottom_as_of_an_mrc_file(tmp_path: Path) -> None:
    voxels = ramp(3, 6, 10)
    frames = shown(tmp_path, write(tmp_path / "a.em", em(voxels)), "--range=0,255")
    assert_array_equal(frames, voxels[:, ::-1])


def test_bytes_are_unsigned_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    voxels = ramp(1, 16, 16, "uint8")
    path = write(tmp_path / "a.em", em(voxels))
    assert_array_equal(read(path), voxels)
    with open_volume(path, "signed") as volume:
        assert volume.description.dtype == np.int8


def test_a_transform_is_shown_by_its_amplitude(tmp_path: Path) -> None:
    waves = np.exp(1j * ramp(2, 6, 10)).astype(np.complex64)
    waves[:, 3, 5] = 100
    for order in "<>":
        path = write(tmp_path / "a.em", em(waves, order=order))
        np.testing.assert_allclose(read(path), np.log1p(np.abs(waves)), rtol=1e-5)
        assert described(path).kind == "transform"


def test_lists_are_refused_by_name(tmp_path: Path) -> None:
    motives = np.arange(20 * 37, dtype=np.float32).reshape(1, 37, 20)
    with pytest.raises(InputError, match="is a motive list of 37 particles"):
        open_volume(write(tmp_path / "motl_1.em", em(motives)))
    for shape in ((1, 1, 41), (1, 41, 1)):
        with pytest.raises(InputError, match="is an EM file with a list of 41 numbers, which is no picture"):
            open_volume(write(tmp_path / "a.em", em(motives.ravel()[:41].reshape(shape))))


def test_a_truncated_file_is_known_by_its_name_and_shows_its_whole_sections(tmp_path: Path) -> None:
    path = write(tmp_path / "a.em", em(ramp(5, 6, 10)))
    os.truncate(path, path.stat().st_size - 1)
    assert_array_equal(read(path), ramp(4, 6, 10))
    assert described(path).warnings == ("truncated: 4 of 5 sections are there and shown",)
    os.truncate(path, 600)
    with pytest.raises(InputError, match="its header says 5 sections of 10 x 6, but not one is whole"):
        open_volume(path)


def test_absurd_sizes_are_refused_and_allocate_nothing(tmp_path: Path) -> None:
    head = bytearray(em(ramp(1, 6, 10)))
    for sizes in ((2**20, 2**20, 2**20), (0, 6, 1), (-1, -6, 1), (2**31 - 1, 1, 1)):
        struct.pack_into("<3i", head, 4, *sizes)
        refused_at_once(write(tmp_path / "a.em", bytes(head)))


def test_an_mrc_file_named_em_is_an_mrc_file(tmp_path: Path) -> None:
    voxels = ramp(2, 6, 10)
    assert_array_equal(read(write(tmp_path / "a.em", mrc(voxels, 1))), voxels)


def test_em_files_are_taken_from_a_directory(tmp_path: Path) -> None:
    write(tmp_path / "a.em", em(ramp(2, 8, 8)))
    assert run(tmp_path, tmp_path / "out") == 0
    assert (tmp_path / "out" / "a.avi").exists()
