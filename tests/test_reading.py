"""MRC files as they come: sizes, byte orders, signs, damage."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from movies import LOSSLESS, frames, ramp, reference, run, write_mrc
from mrc_bytes import read
from numpy.testing import assert_array_equal

from mrc2movie import Settings, convert
from mrc2movie.errors import InputError
from mrc2movie.readers import open_volume
from mrc2movie.readers.source import InputFile


def patched(path: Path, offset: int, layout: str, *values: object) -> Path:
    """Overwrite header bytes of a file."""
    content = bytearray(path.read_bytes())
    struct.pack_into(layout, content, offset, *values)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i1", "i2", "u2", "f4", "f2"])
def test_voxels_come_in_native_byte_order_and_in_place(tmp_path: Path, dtype: str, byte_order: str) -> None:
    voxels = ramp(dtype=byte_order + dtype)
    found = read(write_mrc(tmp_path / "in.mrc", voxels))
    assert found.dtype == np.dtype(dtype)
    assert_array_equal(found, voxels)


@pytest.mark.parametrize(
    ("statistics", "imod_flags", "nversion", "signed"),
    [
        ((-128, 127, 0), None, 20140, True),
        ((-3, 90, 0), None, 0, True),
        ((0, 200, 90), None, 20140, False),
        ((-100, 150, 0), None, 0, True),  # 100 > 150 - 128
        ((-20, 200, 0), None, 0, False),  # 20 < 200 - 128
        ((0, 100, 50), None, 20140, True),
        ((0, 100, 50), None, 0, False),
        ((0, -1, -2), None, 20141, True),
        ((0, -1, -2), None, 0, False),
        ((0, 200, 90), 1, 20140, True),
        ((-128, 127, 0), 0, 20140, False),
        ((-128, 127, 0), 4, 20140, False),
    ],
)
def test_8_bit_data_are_signed_by_imods_rule(
    tmp_path: Path, statistics: tuple[float, ...], imod_flags: int | None, nversion: int, signed: bool
) -> None:
    path = write_mrc(tmp_path / "in.mrc", ramp(dtype="int8"), nversion=nversion)
    patched(path, 76, "<3f", *statistics)
    if imod_flags is not None:
        patched(path, 152, "<2i", 1146047817, imod_flags)
    assert read(path).dtype == (np.int8 if signed else np.uint8)


@pytest.mark.parametrize("header", [{"ispg": 0}, {"ispg": 1}, {"ispg": 401}, {"mz": 0}, {"mz": 3}, {"mz": -1}])
def test_space_group_and_sampling_do_not_change_the_sections(tmp_path: Path, header: dict[str, int]) -> None:
    assert_array_equal(read(write_mrc(tmp_path / "in.mrc", ramp(4), **header)), ramp(4))


def test_a_single_image_is_a_stack_of_one(tmp_path: Path) -> None:
    image = ramp(1)[0]
    assert_array_equal(read(write_mrc(tmp_path / "in.mrc", image)), image[None])


def test_voxels_start_after_the_extended_header(tmp_path: Path) -> None:
    path = write_mrc(tmp_path / "in.mrc", ramp())
    content = path.read_bytes()
    path.write_bytes(content[:1024] + b"\xff" * 160 + content[1024:])
    assert_array_equal(read(patched(path, 92, "<i", 160)), ramp())


def test_an_extended_header_that_is_claimed_but_absent_is_passed_over(tmp_path: Path) -> None:
    assert_array_equal(read(patched(write_mrc(tmp_path / "in.mrc", ramp()), 92, "<i", 131072)), ramp())


def test_a_truncated_file_gives_its_whole_sections_and_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_mrc(tmp_path / "in.mrc", ramp(5))
    os.truncate(path, path.stat().st_size - 1)
    assert run(path, tmp_path / "out", *LOSSLESS, "--playback", "forward") == 0
    assert_array_equal(frames(tmp_path / "out" / "in.avi"), reference(ramp(5)[:4], 0, ramp(5)[:4].max()))
    assert f"{path}: truncated: 4 of 5 sections are there and shown" in capsys.readouterr().err


def test_a_longer_file_than_its_header_says_is_read_as_it_says(tmp_path: Path) -> None:
    path = write_mrc(tmp_path / "in.mrc", ramp())
    path.write_bytes(path.read_bytes() + b"more")
    assert_array_equal(read(path), ramp())


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, 0, "nx = 0"),
        (4, -3, "ny = -3"),
        (8, 0, "nz = 0"),
        (12, 99, "mode 99"),
        (0, 2**31 - 1, "not one is whole"),
        (92, 2**31 - 1, "extended header of 2147483647 bytes"),
        (92, -1025, "extended header of -1025 bytes"),
    ],
)
def test_a_header_without_sense_is_refused_with_the_reason(
    tmp_path: Path, offset: int, value: int, message: str
) -> None:
    path = patched(write_mrc(tmp_path / "in.mrc", ramp()), offset, "<i", value)
    path.write_bytes(path.read_bytes() + b"tail")  # so that no file size speaks for it
    with pytest.raises(InputError, match=message) as raised:
        open_volume(path)
    assert str(raised.value).startswith(str(path))


def test_a_file_without_a_whole_header_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.mrc"
    path.write_bytes(b"\1\0\xff")
    with pytest.raises(InputError, match="3 bytes, fewer than the 1024"):
        open_volume(path)


def test_the_voxel_size_is_known_only_where_cell_and_sampling_make_sense(tmp_path: Path) -> None:
    path = write_mrc(tmp_path / "in.mrc", ramp(4, 6, 10))
    patched(path, 28, "<3i3f", 10, 6, 4, 136.0, 81.6, 54.4)
    with open_volume(path) as volume:
        assert volume.description.voxel_size_A == pytest.approx((13.6, 13.6, 13.6))
    for cell in (0.0, -1.0, float("nan"), float("inf")):
        with open_volume(patched(path, 40, "<f", cell)) as volume:
            assert volume.description.voxel_size_A is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_named_pipe_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "in.mrc")
    with pytest.raises(InputError, match="is a named pipe"):
        open_volume(tmp_path / "in.mrc")


@pytest.mark.parametrize("shrunk_after", ["measuring", "converting"])
def test_a_file_that_shrinks_while_it_is_read_fails_with_a_message(tmp_path: Path, shrunk_after: str) -> None:
    source = write_mrc(tmp_path / "in.mrc", ramp(40, 64, 64))

    def shrink(stage: str, done: int, total: int) -> None:
        if stage == shrunk_after:
            os.truncate(source, 1024)

    with pytest.raises(InputError, match="became shorter while it was read"):
        convert(source, tmp_path / "out.avi", Settings(jobs=1), progress=shrink)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mrc"]


def test_positioned_reads_have_fallbacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_mrc(tmp_path / "in.mrc", ramp())
    expected = read(path)
    monkeypatch.delattr(os, "preadv")
    assert_array_equal(read(path), expected)
    monkeypatch.delattr(os, "pread")
    assert_array_equal(read(path), expected)
    source = InputFile(path)
    assert source.read(source.size - 2, 9) == path.read_bytes()[-2:]
    source.close()
