"""Byte order, stamps, extended headers, axes, sizes: what makes the whole header sane against the file decides."""

import math
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from movies import less_memory_than, ramp
from mrc_bytes import IMOD_STAMP, described, header, mrc, read, section_of, stored, write
from numpy.typing import NDArray

from mrc2movie.cli import main
from mrc2movie.errors import InputError
from mrc2movie.readers import open_volume

Movie = Callable[..., NDArray[np.uint8]]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("machst", ["44440000", "44410000", "11110000", "44000000", "44200000", "00000000", "ffffffff"])
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_byte_order_is_what_makes_the_sizes_sane_whatever_the_stamp(
    tmp_path: Path, order: str, machst: str, mode: int
) -> None:
    voxels = ramp(2, 3, 5)
    path = write(tmp_path / "a.mrc", mrc(voxels, mode, order, machst=bytes.fromhex(machst)))
    np.testing.assert_array_equal(read(path), voxels)
    assert described(path).header["byte_order"] == ("little" if order == "<" else "big")


def test_a_stamp_of_the_other_byte_order_is_noted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", mrc(ramp(1, 2, 3), 1, ">", machst=b"\x44\x44\0\0"))
    assert any("machine stamp" in note for note in described(path).notes)
    assert not described(write(tmp_path / "b.mrc", mrc(ramp(1, 2, 3), 1, ">"))).notes


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mapcrs", [(0, 0, 0), (1, 1, 1), (7, 8, 9)])
def test_byte_order_is_found_without_map_stamp_and_axes(
    tmp_path: Path, order: str, mapcrs: tuple[int, int, int]
) -> None:
    voxels = ramp(2, 3, 5)
    data = mrc(voxels, 0, order, machst=b"\0\0\0\0", map=b"\0\0\0\0", mapcrs=mapcrs, nversion=0)
    np.testing.assert_array_equal(read(write(tmp_path / "a.mrc", data)), voxels)


def test_byte_order_of_a_truncated_file_is_found_without_stamp_and_axes(tmp_path: Path) -> None:
    voxels = ramp(2, 3, 5)
    data = mrc(voxels, 0, ">", machst=b"\0\0\0\0", mapcrs=(0, 0, 0))
    np.testing.assert_array_equal(read(write(tmp_path / "a.mrc", data[:-1])), voxels[:1])


@pytest.mark.parametrize("nsymbt", [0, 80])
def test_byte_order_is_the_one_in_which_the_sections_fill_the_file(tmp_path: Path, nsymbt: int) -> None:
    # 256 x 65536 has as many voxels in both byte orders, but one section in this and 16777216 in the other.
    path = write(tmp_path / "a.mrc", header(256, 65536, 1, 0, ">", machst=b"", mapcrs=(0, 0, 0), nsymbt=nsymbt))
    with path.open("r+b") as file:
        file.truncate(1024 + 2**24)
    assert described(path).shape == (1, 65536, 256)


@pytest.mark.parametrize(
    ("machst", "shape"),
    [(b"\x11\x11\0\0", (1, 65536, 256)), (b"\x44\x44\0\0", (1, 256, 65536)), (b"\0\0\0\0", (1, 256, 65536))],
)
def test_the_stamp_breaks_a_tie(tmp_path: Path, machst: bytes, shape: tuple[int, int, int]) -> None:
    # 65792 is the same number in both byte orders, and of its sections the file holds one either way.
    path = write(tmp_path / "a.mrc", header(256, 65536, 65792, 0, ">", mapcrs=(0, 0, 0), machst=machst))
    with path.open("r+b") as file:
        file.truncate(1024 + 2**24)
    assert described(path).shape == shape


@pytest.mark.parametrize("mark", [b"MAP ", b"MAP\0", b"\0\0\0\0", struct.pack("<f", 12.5)])
def test_the_word_map_is_not_needed(tmp_path: Path, mark: bytes) -> None:
    voxels = ramp(2, 3, 5)
    path = write(tmp_path / "a.mrc", mrc(voxels, 1, map=mark, nversion=0))
    np.testing.assert_array_equal(read(path), voxels)
    expected = "MRC2000 or CCP4" if mark[:3] == b"MAP" else "old MRC, without MAP"
    assert described(path).header["dialect"] == expected


def test_an_extended_header_is_skipped(tmp_path: Path) -> None:
    voxels = ramp(2, 3, 5)
    path = write(tmp_path / "a.mrc", mrc(voxels, 1, extended=b"\x07" * 77, exttyp=b"CCP4"))
    np.testing.assert_array_equal(read(path), voxels)


@pytest.mark.parametrize("claimed", [-1, -(2**31), 80, 1024, 2**31 - 1])
def test_an_extended_header_that_is_claimed_but_absent_is_none(tmp_path: Path, claimed: int) -> None:
    voxels = ramp(2, 3, 5)
    path = write(tmp_path / "a.mrc", mrc(voxels, 1, nsymbt=claimed))
    np.testing.assert_array_equal(read(path), voxels)
    assert any(f"{claimed} bytes that is not there" in note for note in described(path).notes)


@pytest.mark.parametrize("claimed", [-1, -(2**31), 2**31 - 1])
def test_an_absurd_extended_header_is_refused_where_the_size_does_not_explain_it(tmp_path: Path, claimed: int) -> None:
    path = write(tmp_path / "a.mrc", mrc(ramp(2, 3, 5), 1, nsymbt=claimed) + b"\0")
    with pytest.raises(InputError, match=f"extended header of {claimed} bytes, which is not there"):
        open_volume(path)


@pytest.mark.parametrize("axes", [(2, 1, 3), (3, 1, 2), (1, 3, 2)])
def test_stored_sections_are_shown_whatever_the_axes(tmp_path: Path, axes: tuple[int, int, int]) -> None:
    voxels = ramp(2, 3, 5)
    path = write(tmp_path / "a.mrc", mrc(voxels, 1, mapcrs=axes))
    np.testing.assert_array_equal(read(path), voxels)
    assert described(path).notes == (f"axes {axes}: the stored sections are shown, not permuted",)


@pytest.mark.parametrize("axes", [(0, 0, 0), (1, 1, 2), (4, 5, 6)])
def test_axes_that_make_no_sense_are_noted(tmp_path: Path, axes: tuple[int, int, int]) -> None:
    path = write(tmp_path / "a.mrc", mrc(ramp(2, 3, 5), 1, mapcrs=axes))
    assert described(path).notes == (f"the axes {axes} make no sense: taken as (1, 2, 3)",)
    assert described(path).voxel_size_A == (2, 3, 4)


@pytest.mark.parametrize(
    ("axes", "expected"),
    [((1, 2, 3), (2, 3, 4)), ((3, 1, 2), (4, 2, 3)), ((2, 3, 1), (3, 4, 2)), ((1, -2, 3), (2, 3, 4))],
)
def test_the_voxel_size_is_that_of_the_stored_columns_rows_and_sections(
    tmp_path: Path, axes: tuple[int, int, int], expected: tuple[float, float, float]
) -> None:
    """The cell is along x, y and z, and so is its sampling."""
    assert described(write(tmp_path / "a.mrc", mrc(ramp(2, 3, 5), 1, mapcrs=axes))).voxel_size_A == expected


@pytest.mark.parametrize(("ispg", "mz"), [(0, 1), (1, 4), (401, 2), (401, 3), (401, 0), (-7, -1)])
def test_all_sections_are_shown_whatever_ispg_and_mz(tmp_path: Path, ispg: int, mz: int) -> None:
    voxels = ramp(4, 2, 3)
    np.testing.assert_array_equal(read(write(tmp_path / "a.mrc", mrc(voxels, 1, ispg=ispg, mz=mz))), voxels)


@pytest.mark.parametrize(
    ("name", "ispg", "nz", "kind"),
    [
        ("a.mrc", 0, 4, "image stack"),
        ("a.mrc", 1, 4, "volume"),
        ("a.map", 4, 4, "volume"),
        ("a.mrc", 401, 4, "volume stack"),
        ("a.mrc", 0, 1, "image"),
        ("a.st", 1, 4, "tilt series"),
        ("a.PREALI", 1, 4, "tilt series"),
        ("a.rec", 0, 4, "volume"),
        ("a.mrcs", 1, 4, "particle stack"),
    ],
)
def test_the_kind_shows_in_suffix_and_ispg(tmp_path: Path, name: str, ispg: int, nz: int, kind: str) -> None:
    assert described(write(tmp_path / name, mrc(ramp(nz, 2, 3), 1, ispg=ispg))).kind == kind


def test_one_section_is_a_movie_of_one_frame(tmp_path: Path, movie: Movie) -> None:
    assert movie(write(tmp_path / "a.mrc", mrc(ramp(1, 4, 6), 1, ispg=0))).shape == (1, 4, 6, 3)


@pytest.mark.parametrize("left", [1, 7, 4 * 6 * 2 - 1, 4 * 6 * 2])
def test_a_truncated_file_shows_its_whole_sections_and_warns(tmp_path: Path, movie: Movie, left: int) -> None:
    data = mrc(ramp(5, 4, 6), 1)
    path = write(tmp_path / "a.mrc", data[: 1024 + 3 * 48 + left])
    count = 4 if left == 48 else 3
    assert described(path).warnings == (f"truncated: {count} of 5 sections are there and shown",)
    assert len(movie(path)) == count


def test_a_file_without_a_whole_section_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", mrc(ramp(5, 4, 6), 1)[: 1024 + 47])
    with pytest.raises(InputError, match="says 5 sections of 6 x 4, but not one is whole"):
        open_volume(path)


def test_a_file_that_is_longer_than_its_header_says_is_accepted(tmp_path: Path) -> None:
    voxels = ramp(2, 3, 5)
    path = write(tmp_path / "a.mrc", mrc(voxels, 1) + bytes(10))
    np.testing.assert_array_equal(read(path), voxels)
    assert described(path).notes == described(path).warnings == ()
    path.write_bytes(mrc(voxels, 1) + bytes(30))
    assert described(path).notes == ("there is room for 3 sections in the file: the header says 2, which are shown",)


@pytest.mark.parametrize("field", ["nx", "ny", "nz"])
@pytest.mark.parametrize("value", [0, -1, -(2**31)])
def test_a_size_that_is_not_positive_is_refused_by_name(tmp_path: Path, field: str, value: int) -> None:
    path = write(tmp_path / "a.mrc", header(5, 3, 2, 1, **{field: value}) + stored(ramp(2, 3, 5), 1))
    with pytest.raises(InputError, match=f"its header says {field} = {value}"):
        open_volume(path)


BIG = 2**31 - 1


@pytest.mark.parametrize(
    "fields",
    [
        {"nx": 65536, "ny": 65536, "nz": 1, "mode": 2},
        {"nx": BIG, "ny": BIG, "nz": BIG},
        {"nx": 1, "ny": 1, "nz": 1, "nsymbt": BIG},
        {"nx": BIG, "ny": 1, "nz": 1, "mode": 101},
        {"nx": 30000, "ny": 30000, "nz": 1, "mode": 6004},
        {"nx": BIG, "ny": BIG, "nz": BIG, "mode": 6002, "nsymbt": -1},
    ],
)
def test_absurd_sizes_are_refused_at_once_and_without_memory(tmp_path: Path, fields: dict[str, int]) -> None:
    path = write(tmp_path / "a.mrc", header(1, 1, 1, 4, **fields) + bytes(40))
    begin = time.process_time()
    with less_memory_than(10_000_000), pytest.raises(InputError):
        open_volume(path)
    assert time.process_time() - begin < 1


def test_sections_that_are_claimed_but_absent_cost_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", header(1, 1, BIG, 0) + bytes(3))
    begin = time.process_time()
    assert described(path).shape == (3, 1, 1)
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("mode", [-1, 5, 9, 18, 99, 102, 999, 7002, 9001, 2**31 - 1])
def test_an_unknown_mode_is_refused_by_number(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "a.mrc", header(5, 3, 2, mode) + stored(ramp(2, 3, 5), 1))
    with pytest.raises(InputError, match=f"its header says mode {mode}, which is none that is known"):
        open_volume(path)


@pytest.mark.parametrize(
    ("cella", "mx", "expected"),
    [
        ((10, 9, 8), 5, (2, 3, 4)),
        ((0, 9, 8), 5, None),
        ((-10, 9, 8), 5, None),
        ((math.nan, 9, 8), 5, None),
        ((math.inf, 9, 8), 5, None),
        ((10, 9, 8), 0, None),
        ((10, 9, 8), -5, None),
    ],
)
def test_a_voxel_size_that_makes_no_sense_is_not_known(
    tmp_path: Path, cella: tuple[float, float, float], mx: int, expected: tuple[float, float, float] | None
) -> None:
    path = write(tmp_path / "a.mrc", mrc(ramp(2, 3, 5), 1, cella=cella, mx=mx))
    assert described(path).voxel_size_A == expected


@pytest.mark.parametrize("z", [0, -8, math.nan, math.inf])
def test_an_unknown_spacing_along_z_leaves_the_pixel_size_what_it_is(tmp_path: Path, z: float) -> None:
    path = write(tmp_path / "a.mrc", mrc(ramp(3, 40, 50), 1, cella=(100, 120, z)))
    description = described(path)
    assert description.voxel_size_A == (2, 3, None)
    assert description.header["voxel_size_A"] == (2, 3, None)
    # An MRC file whose columns run along z has no pixel size then.
    assert described(write(path, mrc(ramp(2, 3, 5), 1, cella=(10, 9, z), mapcrs=(3, 2, 1)))).voxel_size_A is None


def test_without_a_spacing_along_z_there_is_no_depth_but_a_scale_bar_and_a_low_pass(
    tmp_path: Path, movie: Movie, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.mrc", mrc(ramp(3, 120, 160), 1, cella=(1600, 1200, 0)))
    plain, labelled = movie(path), movie(path, "--scale-bar", "--label=depth")
    assert (plain != labelled).any()
    warned = capsys.readouterr().err
    assert "--label depth: no voxel size along z is known, so none is written" in warned
    assert "--scale-bar" not in warned
    movie(path, "--lowpass=60")
    assert main(["--info", str(path)]) == 0
    assert "10 x 10 x ? Å" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("mz", "depth", "expected"),
    [
        (1, 40, (2, 3, 2)),  # a volume, 20 sections of 2 Å
        (1, 2, (2, 3, 2)),  # a stack of images, whose cell is one voxel deep
        (1, 400, (2, 3, 400)),
        (20, 40, (2, 3, 2)),
        (10, 40, (2, 3, 4)),
    ],
)
def test_one_step_along_z_is_taken_for_all_sections_where_the_cell_is_that_deep(
    tmp_path: Path, mz: int, depth: float, expected: tuple[float, float, float]
) -> None:
    path = write(tmp_path / "a.mrc", mrc(ramp(20, 3, 5), 1, mz=mz, cella=(10, 9, depth)))
    assert described(path).voxel_size_A == expected


def test_one_step_along_z_is_looked_for_where_the_sections_run(tmp_path: Path) -> None:
    data = mrc(ramp(20, 3, 5), 1, mx=1, my=3, mz=5, cella=(40, 9, 10), mapcrs=(3, 2, 1))
    assert described(write(tmp_path / "a.mrc", data)).voxel_size_A == (2, 3, 2)


@pytest.mark.parametrize("nversion", [0x20202020, 20139, 21000, -1])
def test_a_format_version_that_is_none_is_not_believed(tmp_path: Path, nversion: int) -> None:
    description = described(write(tmp_path / "a.mrc", mrc(ramp(2, 3, 5), 0, nversion=nversion)))
    assert description.dtype == np.uint8
    assert description.header["dialect"] == "MRC2000 or CCP4"


@pytest.mark.parametrize("stats", [(-1e38, 1e38, 0), (1e38, -1e38, 0), (0, 0, 0), (math.nan,) * 3, (5, 6, 5)])
def test_the_statistics_of_the_header_are_never_used_for_contrast(
    tmp_path: Path, movie: Movie, stats: tuple[float, float, float]
) -> None:
    frames = movie(write(tmp_path / "a.mrc", mrc(ramp(1, 2, 2), 1, stats=stats)), "--flip=no")
    assert frames[0, ..., 0].tolist() == [[0, 85], [170, 255]]


def test_row_0_is_the_bottom_of_the_picture(tmp_path: Path, movie: Movie) -> None:
    path = write(tmp_path / "a.mrc", mrc(ramp(1, 2, 2), 1))
    assert movie(path)[0, ..., 0].tolist() == [[170, 255], [0, 85]]
    assert movie(path, "--flip=no")[0, ..., 0].tolist() == [[0, 85], [170, 255]]


@pytest.mark.parametrize(
    ("fields", "top"),
    [
        ({"exttyp": b"FEI1", "nversion": 20140}, True),
        ({"exttyp": b"FEI2", "nversion": 20140}, True),
        ({"exttyp": b"FEI1", "nversion": 20141}, False),
        ({"exttyp": b"FEI1", "nversion": 0}, False),
        ({"exttyp": b"SERI", "nversion": 20140}, False),
        ({"exttyp": b"FEI1", "nversion": 20140, "imod_stamp": IMOD_STAMP, "imod_flags": 4}, False),
        ({"exttyp": b"FEI1", "nversion": 20140, "imod_stamp": IMOD_STAMP}, False),
        ({"nversion": 20140, "imod_stamp": IMOD_STAMP, "imod_flags": 4}, False),
        ({"mapcrs": (1, -2, 3)}, True),
    ],
)
def test_row_0_is_the_top_only_where_thermo_fisher_wrote_version_20140(
    tmp_path: Path, movie: Movie, fields: dict[str, object], top: bool
) -> None:
    path = write(tmp_path / "a.mrc", mrc(ramp(1, 2, 2), 1, **fields))
    assert movie(path)[0, ..., 0].tolist() == ([[0, 85], [170, 255]] if top else [[170, 255], [0, 85]])


def test_a_file_that_shrinks_while_it_is_read_is_an_error_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mrc", mrc(ramp(3, 40, 50), 2))
    with open_volume(path) as volume:
        path.write_bytes(path.read_bytes()[: 1024 + 40 * 50 * 4 + 5])
        assert section_of(volume, 0)[0, 1] == 1
        with pytest.raises(InputError, match="became shorter while it was read: section 1"):
            section_of(volume, 1)


def test_nan_infinity_and_constant_data_make_a_movie_with_a_warning(
    tmp_path: Path, movie: Movie, capsys: pytest.CaptureFixture[str]
) -> None:
    voxels = np.array([[[math.nan, 1.0], [math.inf, 3.0]]])
    frames = movie(write(tmp_path / "a.mrc", mrc(voxels, 2)), "--flip=no")
    assert frames[0, ..., 0].tolist() == [[0, 0], [0, 255]]
    assert "2 voxels are NaN or infinite" in capsys.readouterr().err
