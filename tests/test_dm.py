"""DM3 and DM4: written by the published description, and held against an independent reader."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dm_bytes import Dm, dm, image
from movies import ramp, refused_at_once, run, shown
from mrc_bytes import described, mrc, read, write
from numpy.testing import assert_array_equal
from rsciio.digitalmicrograph import file_reader

from mrc2movie.errors import InputError
from mrc2movie.readers import open_volume

TAGS: dict[str, Any] = {
    "Microscope Info": {
        "Voltage": 300000.0,
        "Indicated Magnification": 53000.0,
        "Stage Position": {"Stage Alpha": 12.5},
    },
    "DataBar": {"Exposure Time (s)": 0.25},
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64", "int64"]
)
def test_every_type_is_read_as_others_read_it(tmp_path: Path, version: int, order: str, dtype: str) -> None:
    voxels = ramp(5, 6, 10, dtype)
    path = write(tmp_path / f"a.dm{version}", dm(voxels, version, order))
    found = read(path)
    assert_array_equal(found, voxels)
    assert found.dtype == (dtype if np.dtype(dtype).itemsize < 8 else np.float32)
    if order == "<" and dtype != "int64":  # it knows of no more
        assert_array_equal(file_reader(path)[-1]["data"], voxels)


def test_a_movie_shows_row_0_at_the_top(tmp_path: Path) -> None:
    voxels = ramp(3, 6, 10, "uint16")
    path = write(tmp_path / "a.dm4", dm(voxels))
    assert_array_equal(shown(tmp_path, path, "--range=0,255"), voxels)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("version", [3, 4])
def test_scale_exposure_voltage_and_magnification_are_told(tmp_path: Path, version: int, order: str) -> None:
    data = dm(ramp(3, 6, 10), version, order, units=("nm", "nm", "s"), scales=(0.25, 0.5, 2.0), **TAGS)
    description = described(write(tmp_path / "a.dm4", data))
    assert description.voxel_size_A == pytest.approx((2.5, 5, None))
    told = description.header["sections"]
    assert isinstance(told, dict)
    assert told["exposure_s"] == [0.25] * 3
    assert told["voltage_kV"] == [300] * 3
    assert told["magnification"] == [53000] * 3
    assert told["tilt_degrees"] == [12.5] * 3
    assert description.optics.voltage_kV == 300
    assert description.header["dialect"] == f"DM{version}"
    assert description.header["byte_order"] == ("little" if order == "<" else "big")
    assert description.kind == "image stack"


@pytest.mark.parametrize(
    ("unit", "scale", "size"),
    [
        ("µm", 0.001, 10),
        ("nm", 0.1, 1),
        ("Å", 1.5, 1.5),
        ("pm", 50.0, 0.5),
        ("1/nm", 0.1, None),
        ("", 1.0, None),
        ("nm", 0.0, None),
    ],
)
def test_lengths_of_any_unit_become_angstroms(tmp_path: Path, unit: str, scale: float, size: float | None) -> None:
    data = dm(ramp(1, 6, 10)[0], units=(unit, unit), scales=(scale, scale))
    found = described(write(tmp_path / "a.dm4", data)).voxel_size_A
    assert (found and found[0]) == (pytest.approx(size) if size else None)


def test_all_dimensions_but_two_count_sections(tmp_path: Path) -> None:
    voxels = ramp(12, 6, 10)
    for shape in ((6, 10), (12, 6, 10), (3, 4, 6, 10), (2, 3, 2, 6, 10), (12, 1, 6, 10)):
        some = voxels[0] if len(shape) == 2 else voxels
        path = write(tmp_path / "a.dm4", dm(some.reshape(shape)))
        assert_array_equal(read(path), some.reshape(-1, 6, 10))
        assert_array_equal(file_reader(path)[-1]["data"].reshape(-1, 6, 10), some.reshape(-1, 6, 10))
    assert described(path).notes == ()
    notes = described(write(path, dm(voxels.reshape(3, 4, 6, 10)))).notes
    assert notes == ("4 x 3 images: shown one after the other, the first of these fastest",)


def test_the_thumbnail_is_not_the_picture(tmp_path: Path) -> None:
    voxels = ramp(1, 2, 3, "uint8")[0]
    assert_array_equal(read(write(tmp_path / "a.dm3", dm(voxels, 3)))[0], voxels)
    assert_array_equal(read(write(tmp_path / "a.dm3", dm(voxels, 3, thumbnail=False)))[0], voxels)


def test_of_several_images_the_largest_is_shown_with_a_note(tmp_path: Path) -> None:
    images = [image(ramp(1, 4, 5)[0]), image(ramp(3, 4, 5)), image(ramp(1, 6, 5)[0])]
    path = write(tmp_path / "a.dm4", Dm(4, "<").file({"ImageList": images}))
    assert_array_equal(read(path), ramp(3, 4, 5))
    assert described(path).notes == ("3 images are in the file: the largest is shown",)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_a_transform_is_shown_by_its_amplitude(tmp_path: Path, dtype: str) -> None:
    waves = np.exp(1j * ramp(1, 6, 10)[0]).astype(dtype)
    waves[3, 5] = 100
    path = write(tmp_path / "a.dm4", dm(waves))
    np.testing.assert_allclose(read(path)[0], np.log1p(np.abs(waves)), rtol=1e-5)
    assert described(path).kind == "transform"


def spectra() -> bytes:
    return dm(ramp(3, 6, 10), units=("eV", "nm", "nm"), scales=(1.0, 1.0, 1.0))


def coloured() -> dict[str, Any]:
    changed = image(np.zeros((4, 4), np.uint32))
    changed["ImageData"]["DataType"] = 23
    return changed


def nested(deep: int) -> bytes:
    """Groups in groups, each the only tag of the one above."""
    level = b"\1\0" + struct.pack(">Q", 1) + struct.pack(">BH", 20, 1) + b"a" + struct.pack(">Q", 0)
    return struct.pack(">IQI", 4, 99, 1) + level * deep + b"\1\0" + bytes(8)


def with_tag(content: bytes) -> bytes:
    return Dm(4, "<").file({"ImageList": [], "a": content})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (spectra(), "is a DM4 file without an image that can be shown: it has spectra; save it as an image"),
        (dm(ramp()[0, 0]), "it has spectra"),
        (Dm(3, "<").file({"a": 1}), "is a DM3 file without an image that can be shown: it has none"),
        (Dm(3, "<").file({"ImageList": [coloured()]}), "its pixels are in colour"),
        (nested(70), "is a DM4 file that makes no sense: its tags are nested more than 64 deep; copy it again"),
        (nested(10**5), "nested more than 64 deep"),
        (with_tag(Dm(4, "<").words(20, 10, 2**40)), "it ends within its tags"),
        (with_tag(Dm(4, "<").words(20, 4, 2**62)), "it ends within its tags"),
        (with_tag(Dm(4, "<").words(18, 2**40)), "it ends within its tags"),
        (with_tag(Dm(4, "<").words(15, 0, 2**40)), "its tag 'a' makes no sense"),
        (with_tag(Dm(4, "<").words(99)), "its tag 'a' makes no sense"),
        (with_tag(Dm(4, "<").words(20, 99, 3)), "its tag 'a' is of no type that is known"),
        (with_tag(Dm(4, "<").count(2**63)), "its tag 'a' makes no sense"),
        (
            struct.pack(">IQI2BQ", 4, 99, 1, 1, 0, 3) + Dm(4, "<").tag("a", 1) + b"\x07\0\0" * 50,
            "is of no kind that is known",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused_in_a_line(tmp_path: Path, data: bytes, message: str) -> None:
    refused_at_once(write(tmp_path / "a.dm4", data), message)


def test_dimensions_beyond_the_data_are_refused_or_cut(tmp_path: Path) -> None:
    for dimensions, message in (
        ([10**9, 10**9], "1000000000 x 1000000000 pixels are more than there are"),
        ([10, 0], r"it says dimensions \(10, 0\)"),
        ([], r"it says dimensions \(\)"),
    ):
        changed = image(ramp(3, 6, 10))
        changed["ImageData"]["Dimensions"] = dimensions
        path = write(tmp_path / "a.dm4", Dm(4, "<").file({"ImageList": [changed]}))
        with pytest.raises(InputError, match=message):
            open_volume(path)
    changed["ImageData"]["Dimensions"] = [10, 6, 2**31]
    write(path, Dm(4, "<").file({"ImageList": [changed]}))
    assert_array_equal(read(path), ramp(3, 6, 10))
    assert described(path).warnings == (f"truncated: 3 of {2**31} sections are there and shown",)


def test_a_file_that_ends_anywhere_is_refused(tmp_path: Path) -> None:
    data = dm(ramp(2, 3, 4), 3)
    for length in range(32, len(data) - 9, 7):
        with pytest.raises(InputError, match="DM3 file that makes no sense: it ends within its tags"):
            open_volume(write(tmp_path / "a.dm3", data[:length]))


def test_many_tags_take_bounded_time(tmp_path: Path) -> None:
    tags = b"\x15\0\0%%%%" + struct.pack(">2IB", 1, 10, 7)
    count = 1_000_001
    path = write(tmp_path / "a.dm3", struct.pack(">3I2BI", 3, 99, 1, 1, 0, 2000) + count * tags)
    with pytest.raises(InputError):
        open_volume(path)


@pytest.mark.parametrize(("columns", "rows", "mode"), [(3, 700, 1), (4, 2, 1), (4, 2, 0)])
def test_an_mrc_file_of_three_or_four_columns_is_no_dm_file(tmp_path: Path, columns: int, rows: int, mode: int) -> None:
    voxels = ramp(1, rows, columns)
    path = write(tmp_path / "a.mrc", mrc(voxels, mode, ">"))
    assert_array_equal(read(path), voxels)


def test_dm_files_are_taken_from_a_directory(tmp_path: Path) -> None:
    for number in (3, 4):
        write(tmp_path / f"a{number}.dm{number}", dm(ramp(2, 8, 8), number))
    assert run(tmp_path, tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.avi")) == ["a3.avi", "a4.avi"]
