"""HDF5 files by the conventions of EMAN2, Berkeley, Velox and HyperSpy, and as nobody should write them."""

import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from fuzz_target import examine
from hdf5_bytes import berkeley, eman2, velox
from movies import less_memory_than, ramp, run, shown
from mrc_bytes import read, sections_of, write
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from rsciio.emd import file_reader as read_emd
from rsciio.emd import file_writer as write_emd
from rsciio.hspy import file_writer as write_hspy

from mrc2movie import Settings, convert
from mrc2movie.errors import InputError
from mrc2movie.info import inspect
from mrc2movie.readers import hdf5, open_volume
from mrc2movie.readers.hdf5.pieces import Pieces
from mrc2movie.readers.volume import Description


def opened(path: Path, dataset: str | None = None) -> tuple[Description, NDArray[Any]]:
    """What the reader knows of a file, and its sections: looking into a file takes a process."""
    with open_volume(path, dataset=dataset) as volume:
        return volume.description, sections_of(volume)


STORED: tuple[dict[str, Any], ...] = (
    {},
    {"chunks": (1, 6, 10)},
    {"chunks": (2, 4, 4), "compression": "gzip", "shuffle": True, "fletcher32": True},
    {"chunks": (2, 6, 10)},
    {"chunks": (2, 4, 3)},
    {"chunks": (2, 4, 10)},
)


@pytest.mark.parametrize(
    ("dtype", "how"),
    [
        *(("u1", 0), ("i1", 1), (">f4", 2), ("<f2", 2), ("<f8", 0), ("bool", 0), ("<u2", 3), (">i2", 4)),
        *(
            pytest.param(*each, marks=pytest.mark.large)
            for each in (
                *(("<u2", 2), (">i2", 0), ("<i4", 1), ("<f8", 2), ("bool", 2), (">i2", 2)),
                *((">i2", 3), ("<f4", 4), ("<f8", 4), (">f4", 5)),
            )
        ),
    ],
)
def test_every_type_in_every_arrangement_is_exact(tmp_path: Path, dtype: str, how: int) -> None:
    voxels = ramp(5, 6, 10).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("volume", data=voxels, **STORED[how])
    found = read(tmp_path / "a.h5")
    assert_array_equal(found, voxels)
    assert found.dtype == {"bool": np.uint8, "<f8": np.float32}.get(dtype, np.dtype(dtype).newbyteorder("="))


def test_eman2s_stacks_are_read_image_by_image_with_row_0_at_the_bottom(tmp_path: Path) -> None:
    images = ramp(12, 6, 10, "float32")
    path = eman2(tmp_path / "a.hdf", images, apix=1.75)
    description, found = opened(path)
    assert_array_equal(found, images)
    assert description.voxel_size_A == (1.75, 1.75, 1.75)
    assert description.header["dialect"] == "EMAN2 (HDF5)"
    assert_array_equal(shown(tmp_path, path, "--range=0,765"), np.rint(images[:, ::-1] / 3))


def test_a_volume_of_eman2_is_read_section_by_section(tmp_path: Path) -> None:
    voxels = ramp(6, 5, 7, "float32")
    assert_array_equal(read(eman2(tmp_path / "a.hdf", voxels[None])), voxels)
    volumes = voxels.reshape(2, 3, 5, 7)
    assert_array_equal(read(eman2(tmp_path / "b.hdf", volumes, compression="gzip")), voxels)


def test_numbers_that_eman2_keeps_in_a_few_bits_get_their_values_back(tmp_path: Path) -> None:
    stored = ramp(3, 6, 10, "uint8")
    path = eman2(tmp_path / "a.hdf", stored, compression="gzip", shuffle=True)
    limits = ((-1, 1), (0, 510), (2, 2))
    with h5py.File(path, "a") as file:
        for number, (least, most) in enumerate(limits):
            told = file[f"MDF/images/{number}"].attrs
            told["EMAN.stored_renderbits"] = 8
            told["EMAN.stored_rendermin"], told["EMAN.stored_rendermax"] = np.float32(least), np.float32(most)
    found = read(path)
    assert found.dtype == np.float32
    wanted = stored[0] / 127.5 - 1, stored[1] * 2.0, stored[2]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_berkeleys_emd_is_read_with_row_0_at_the_top(tmp_path: Path) -> None:
    voxels = ramp(3, 6, 10, "uint16")
    path = berkeley(tmp_path / "a.emd", voxels)
    description, _ = opened(path)
    assert description.voxel_size_A == pytest.approx((5, 5, 5))
    assert description.header["dialect"] == "Berkeley (EMD)"
    assert_array_equal(shown(tmp_path, path, "--range=0,255"), voxels)


def test_the_names_of_berkeleys_dimensions_tell_rows_from_columns(tmp_path: Path) -> None:
    voxels = ramp(6, 5, 7)
    path = berkeley(tmp_path / "a.emd", voxels)
    with h5py.File(path, "a") as file:
        group = file["data/stack"]
        del group["data"]
        group["data"] = voxels.T
        for number, (name, length) in enumerate((("x", 7), ("y", 5), ("z", 6)), start=1):
            del group[f"dim{number}"]
            group[f"dim{number}"] = np.arange(length) * number / 10
            group[f"dim{number}"].attrs["name"], group[f"dim{number}"].attrs["units"] = name, "[n_m]"
    description, found = opened(path)
    assert_array_equal(found, voxels)
    assert description.voxel_size_A == pytest.approx((1, 2, 3))
    with h5py.File(path, "a") as file:
        group = file["data/stack"]
        del group["data"]
        group["data"] = voxels.reshape(2, 3, 5, 7).T
    assert_array_equal(read(path), voxels)


def test_dimensions_before_the_last_two_count_sections(tmp_path: Path) -> None:
    voxels = ramp(6, 5, 7)
    stored: tuple[dict[str, Any], ...] = ({}, {"chunks": (1, 1, 5, 7)})
    for number, options in enumerate(stored):
        path = berkeley(tmp_path / f"{number}.emd", voxels.reshape(2, 3, 5, 7), **options)
        assert_array_equal(read(path), voxels)


def test_images_that_share_pieces_are_unpacked_once_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voxels = np.random.default_rng(4).integers(0, 99, (3, 21, 30, 40)).astype(np.int16)
    path = berkeley(tmp_path / "a.emd", voxels, chunks=(1, 8, 16, 16), compression="gzip")
    unpacked = 0
    unfiltered = Pieces._unfiltered

    def counting(pieces: Pieces, data: bytes | memoryview, mask: int) -> bytes | memoryview:
        nonlocal unpacked
        unpacked += 1
        return unfiltered(pieces, data, mask)

    monkeypatch.setattr(Pieces, "_unfiltered", counting)
    with open_volume(path) as volume:
        assert_array_equal(sections_of(volume), voxels.reshape(-1, 30, 40))
        assert unpacked == 3 * 3 * 2 * 3
        scratch = np.empty(volume.scratch_bytes, np.uint8)
        for number in (62, 0, 20, 21, 41, 7, 8):
            assert_array_equal(volume.section(number)(scratch), voxels.reshape(-1, 30, 40)[number])


def axes(shape: tuple[int, ...], signal: int = 2) -> list[dict[str, Any]]:
    return [
        {
            **{"name": "zyx"[number - len(shape)], "size": size, "scale": 0.25, "offset": 0.0, "units": "nm"},
            **{"navigate": number < len(shape) - signal, "index_in_array": number, "_type": "UniformDataAxis"},
            "is_binned": False,
        }
        for number, size in enumerate(shape)
    ]


def signal(data: Any, signal_dimensions: int = 2) -> dict[str, Any]:
    """What RosettaSciIO wants to write."""
    return {
        "data": data,
        "axes": axes(data.shape, signal_dimensions),
        "metadata": {
            "General": {"title": "a stack", "time": "12:00:00", "date": "2026-01-01", "authors": ""},
            "Signal": {"signal_type": ""},
            "Sample": {},
        },
        "original_metadata": {},
        "attributes": {"_lazy": False},
        "package": "hyperspy",
        "package_version": "2.0",
        "learning_results": {},
        "tmp_parameters": {},
        "package_info": {"package": "hyperspy", "package_version": "2.0"},
        "models": {},
    }


def test_what_rosettasciio_writes_is_read(tmp_path: Path) -> None:
    voxels = ramp(4, 6, 10, "float32")
    write_hspy(tmp_path / "a.hspy", signal(voxels))
    write_emd(tmp_path / "a.emd", signal(voxels))
    for name, dialect in (("a.hspy", "HyperSpy (HDF5)"), ("a.emd", "Berkeley (EMD)")):
        description, found = opened(tmp_path / name)
        assert_array_equal(found, voxels)
        assert description.header["dialect"] == dialect
        assert description.voxel_size_A == pytest.approx((2.5, 2.5, 2.5))


def test_spectra_of_hyperspy_are_no_images(tmp_path: Path) -> None:
    write_hspy(tmp_path / "a.hspy", signal(ramp(4, 6, 10), 1))
    with pytest.raises(InputError, match=r"without a data set that could be images; name one with --dataset PATH"):
        open_volume(tmp_path / "a.hspy")


def test_velox_images_are_read_as_another_reader_reads_them(tmp_path: Path) -> None:
    images = ramp(4, 6, 10, "uint16")
    path = velox(tmp_path / "a.emd", images)
    description, found = opened(path)
    assert_array_equal(found, images)
    (other,) = read_emd(path)
    assert_array_equal(other["data"], images)
    assert description.voxel_size_A == pytest.approx((2, 2, None))
    assert description.optics.voltage_kV == 200
    assert_array_equal(shown(tmp_path, path, "--range=0,255"), images)


def test_of_several_data_sets_the_largest_is_shown_and_dataset_chooses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = velox(tmp_path / "a.emd", ramp(2, 6, 10), "small")
    velox(path, ramp(5, 6, 10), "large")
    description, found = opened(path)
    assert_array_equal(found, ramp(5, 6, 10))
    (note,) = description.notes
    assert note == (
        "Data/Image/large/Data is shown: it has Data/Image/large/Data, Data/Image/small/Data; --dataset PATH chooses "
        "another"
    )
    for asked in ("Data/Image/small/Data", "/Data/Image/small/"):
        assert opened(path, asked)[0].shape == (2, 6, 10)
    assert len(shown(tmp_path, path, "--dataset=/Data/Image/small")) == 2
    assert inspect(path, Settings(dataset="Data/Image/small")).facts()["size"].startswith("10 x 6 x 2")
    capsys.readouterr()
    assert run(path, tmp_path / "out", "--dataset", "nothing", "--overwrite") == 1
    said = capsys.readouterr().err
    assert (
        "has no images in a data set 'nothing': it has Data/Image/large/Data, Data/Image/small/Data; give another"
        in said
    )


def test_dataset_takes_what_no_convention_names(tmp_path: Path) -> None:
    path = velox(tmp_path / "a.emd", ramp(2, 6, 10))
    with h5py.File(path, "a") as file:
        file["extra/flat"] = ramp(3, 4, 5)
    assert_array_equal(opened(path, "extra/flat")[1], ramp(3, 4, 5))


def test_another_data_set_makes_the_movie_anew(tmp_path: Path) -> None:
    path = velox(tmp_path / "a.emd", ramp(2, 16, 16), "b")
    velox(path, ramp(5, 16, 16), "c")
    made = convert(path, tmp_path / "a.avi", Settings(dataset="Data/Image/b", playback="forward"))
    assert made.record.frames.frames == 2
    assert made.record.settings["dataset"] == "Data/Image/b"


def test_a_transform_is_shown_by_its_amplitude(tmp_path: Path) -> None:
    waves = np.exp(1j * ramp(2, 6, 10)).astype(np.complex64)
    waves[:, 3, 5] = 100
    path = berkeley(tmp_path / "a.emd", waves)
    description, found = opened(path)
    np.testing.assert_allclose(found, np.log1p(np.abs(waves)), rtol=1e-5)
    assert description.kind == "transform"


def test_hdf5_files_are_taken_from_a_directory(tmp_path: Path) -> None:
    eman2(tmp_path / "a.hdf", ramp(2, 8, 8))
    berkeley(tmp_path / "b.emd", ramp(2, 8, 8))
    berkeley(tmp_path / "c.h5", ramp(2, 8, 8))
    assert run(tmp_path, tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.avi")) == ["a.avi", "b.avi", "c.avi"]


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = berkeley(tmp_path / "a.emd", ramp())
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"is an HDF5 file; pip install 'mrc2movie\[hdf5\]' to read it"):
        open_volume(path)


# What is hostile or broken


def test_what_describes_images_is_not_read_where_it_takes_much_memory(tmp_path: Path) -> None:
    path = berkeley(tmp_path / "a.emd", ramp())
    with h5py.File(path, "a") as file:
        attributes = dict(file["data/stack/dim3"].attrs)
        del file["data/stack/dim3"]
        size = 2**26 + 1
        positions = file["data/stack"].create_dataset("dim3", (size,), "u1", chunks=(size,), compression=1)
        positions[1] = 1
        positions.attrs.update(attributes)
    assert opened(path)[0].voxel_size_A is None


def test_links_out_of_the_file_are_never_followed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    other = berkeley(tmp_path / "other.emd", ramp())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["outside"] = h5py.ExternalLink("pipe", "/data")
        file["Data/Image"] = h5py.ExternalLink(str(other), "/data")
        file["MDF"] = h5py.SoftLink("/outside")
        raw = [(str(tmp_path / "pipe"), 0, 480)]
        file.create_dataset("raw", (2, 6, 10), "i4", external=raw)
        layout = h5py.VirtualLayout((4, 6, 10), "i2")
        layout[:] = h5py.VirtualSource(str(other), "data/stack/data", (4, 6, 10))
        file.create_virtual_dataset("virtual", layout)
    for asked in (None, "outside/a", "raw", "virtual"):
        with pytest.raises(InputError, match=r"without a data set that could be images|has no images in a data set"):
            open_volume(tmp_path / "a.h5", dataset=asked)


def test_groups_that_hold_each_other_are_walked_once(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        inner = file.create_group("a/b")
        inner["again"] = file["a"]
        inner["root"] = file["/"]
        file["a/volume"] = ramp()
        file["a/same"] = file["a/volume"]
    description, found = opened(tmp_path / "a.h5")
    assert_array_equal(found, ramp())
    assert description.notes == ()


@pytest.mark.parametrize(
    ("shape", "chunks", "message"),
    [
        ((1, 2**20, 2**20), (1, 64, 64), "says pieces of 2199023255552 bytes, which so small a file cannot hold"),
        ((2**40, 64, 64), (1, 64, 64), "says 9007199254740992 bytes, and 0 were written"),
        ((4, 8192, 8192), (1, 8192, 8192), "says pieces of 134217728 bytes, which so small a file cannot hold"),
        ((2**20, 16, 16), (2**20, 16, 16), "says 536870912 bytes, and 0 were written"),
    ],
)
def test_what_was_never_written_is_refused_and_allocates_nothing(
    tmp_path: Path, shape: tuple[int, ...], chunks: tuple[int, ...], message: str
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("volume", shape, "i2", chunks=chunks)
    begin = time.process_time()
    with less_memory_than(2**21), pytest.raises(InputError, match=message):
        open_volume(tmp_path / "a.h5")
    assert time.process_time() - begin < 1


def test_chunks_larger_than_what_is_in_them_allocate_nothing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        huge = file.create_dataset("volume", (2, 6, 10), "i2", chunks=(1, 8192, 8192), maxshape=(None,) * 3)
        huge.id.write_direct_chunk((0, 0, 0), bytes(120))
    with less_memory_than(2**21), pytest.raises(InputError, match="says pieces of 134217728 bytes"):
        open_volume(tmp_path / "a.h5")


def test_a_truncated_file_is_refused_in_a_line(tmp_path: Path) -> None:
    path = berkeley(tmp_path / "a.emd", ramp(40, 32, 32))
    for length in (path.stat().st_size - 1, 600, 9):
        os.truncate(path, length)
        with pytest.raises(InputError, match=r"cannot be read: the HDF5 library says '.*'; copy it again") as caught:
            open_volume(path)
        assert "\n" not in str(caught.value)


def test_a_damaged_chunk_names_its_section(tmp_path: Path) -> None:
    voxels = np.random.default_rng(1).integers(0, 9, (3, 64, 64)).astype(np.int16)
    path = berkeley(tmp_path / "a.emd", voxels, chunks=(1, 64, 64), compression="gzip")
    with h5py.File(path) as file:
        where = file["data/stack/data"].id.get_chunk_info(1).byte_offset
    data = bytearray(path.read_bytes())
    data[where + 20 : where + 200] = bytes(180)
    with (
        open_volume(write(path, bytes(data))) as volume,
        pytest.raises(InputError, match=r"section 1 cannot be read: .*--discard-range 1 2"),
    ):
        for number in range(3):
            volume.section(number)(np.empty(volume.scratch_bytes, np.uint8))


@pytest.mark.parametrize("size", [64, 63])
def test_a_wrong_checksum_names_its_section(tmp_path: Path, size: int) -> None:
    voxels = np.random.default_rng(1).integers(0, 256, (3, size, size)).astype(np.uint8)
    path = berkeley(tmp_path / "a.emd", voxels, chunks=(1, size, size), fletcher32=True)
    assert_array_equal(read(path), voxels)
    with h5py.File(path) as file:
        where = file["data/stack/data"].id.get_chunk_info(1).byte_offset
    data = bytearray(path.read_bytes())
    data[where + 20] ^= 1
    with pytest.raises(InputError, match="section 1 cannot be read: its checksum is wrong"):
        read(write(path, bytes(data)))


def test_an_image_unlike_the_first_one_is_refused_when_it_is_met(tmp_path: Path) -> None:
    path = eman2(tmp_path / "a.hdf", ramp(3, 6, 10))
    with h5py.File(path, "a") as file:
        del file["MDF/images/1/image"]
        file["MDF/images/1/image"] = ramp(1, 7, 7)[0]
    with pytest.raises(InputError, match="section 1 cannot be read: it is of another size or type than the first one"):
        read(path)


def test_a_filter_that_is_not_there_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dcpl = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        dcpl.set_chunk((1, 6, 10))
        dcpl.set_filter(31234, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((3, 6, 10))
        h5py.h5d.create(file.id, b"volume", h5py.h5t.STD_I16LE, space, dcpl)
    with pytest.raises(InputError, match="is compressed with filter 31234, which is not read"):
        open_volume(tmp_path / "a.h5")


@pytest.mark.parametrize("times", [6, pytest.param(200, marks=pytest.mark.large)])
def test_changed_bytes_end_in_a_volume_or_an_error_of_ours(tmp_path: Path, times: int) -> None:
    """Many of them crash the HDF5 library."""
    files = [
        eman2(tmp_path / "1.hdf", ramp(2, 4, 5)).read_bytes(),
        velox(tmp_path / "2.emd", ramp(2, 4, 5)).read_bytes(),
        berkeley(tmp_path / "3.emd", ramp(2, 4, 5), chunks=(1, 4, 5), compression="gzip").read_bytes(),
    ]
    dice = random.Random(3)
    volumes = 0
    for number in range(times):
        data = bytearray(files[number % 3])
        for _ in range(dice.randint(1, 8)):
            data[dice.randrange(8, len(data))] = dice.choice([0, 1, 2, 8, 127, 255, dice.randrange(256)])
        volumes += examine(write(tmp_path / "a.h5", bytes(data)))
    assert 0 < volumes < times


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os; os.abort()", "makes the HDF5 library crash; it is damaged: copy it again"),
        ("raise ImportError('no such thing')", r"cannot be read with h5py here \(ImportError: no such thing\)"),
        ("while True: pass", "keeps the HDF5 library busy for more than 0.5 s"),
    ],
)
def test_a_library_that_crashes_or_hangs_costs_only_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    path = berkeley(tmp_path / "a.emd", ramp())
    monkeypatch.setattr(hdf5, "_LOCATE", tmp_path / "program.py")
    monkeypatch.setattr(hdf5, "_LOCATED_IN_S", 0.5)
    (tmp_path / "program.py").write_text(program)
    with pytest.raises(InputError, match=message):
        open_volume(path)
