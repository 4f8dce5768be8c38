"""IMAGIC stacks by the published description: two files, of which either is the stack."""

import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from fuzz_target import examine
from movies import less_memory_than, ramp, run, shown
from mrc_bytes import described, read, write
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from stack_bytes import imagic

from mrc2movie.errors import InputError
from mrc2movie.readers import open_volume


def written(directory: Path, images: NDArray[np.generic], order: str = "<", **options: object) -> Path:
    """A pair of files; returns the one of headers."""
    headers, pixels = imagic(images, order, **options)  # type: ignore[arg-type]
    write(directory / "a.img", pixels)
    return write(directory / "a.hed", headers)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["f4", "i2", "u1"])
def test_a_stack_is_read_by_either_of_its_files(tmp_path: Path, dtype: str, order: str) -> None:
    images = ramp(4, 6, 10).astype(dtype)
    path = written(tmp_path, images, order)
    for name in (path, path.with_suffix(".img")):
        found = read(name)
        assert_array_equal(found, images)
        assert found.dtype == dtype


def test_a_movie_shows_row_0_at_the_top(tmp_path: Path) -> None:
    images = ramp(3, 6, 10, "float32")
    frames = shown(tmp_path, written(tmp_path, images), "--range=0,255")
    assert_array_equal(frames, images)


def test_planes_make_a_volume(tmp_path: Path) -> None:
    assert described(written(tmp_path, ramp(4, 6, 10), planes=4)).kind == "volume"
    assert described(written(tmp_path, ramp(4, 6, 10))).kind == "image stack"
    assert described(written(tmp_path, ramp(1, 6, 10))).kind == "image"


def test_a_transform_is_shown_by_its_amplitude(tmp_path: Path) -> None:
    waves = np.exp(1j * ramp(2, 6, 10)).astype(np.complex64)
    waves[:, 3, 5] = 100
    np.testing.assert_allclose(read(written(tmp_path, waves)), np.log1p(np.abs(waves)), rtol=1e-5)


def test_a_directory_gives_one_movie_a_pair(tmp_path: Path) -> None:
    written(tmp_path, ramp(2, 8, 8))
    assert run(tmp_path, tmp_path / "out") == 0
    assert [path.name for path in (tmp_path / "out").glob("*.avi")] == ["a.avi"]


def test_other_pixels_make_the_movie_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, ramp(2, 8, 8))
    for expected in (1, 0):
        assert run(path, tmp_path / "out") == 0
        assert ("1 converted" in capsys.readouterr().err) == expected
    write(tmp_path / "a.img", ramp(2, 8, 8)[::-1].tobytes())
    assert run(path, tmp_path / "out") == 0
    assert "1 converted" in capsys.readouterr().err


def test_upper_case_belongs_together_as_well(tmp_path: Path) -> None:
    headers, pixels = imagic(ramp(2, 8, 8))
    write(tmp_path / "a.HED", headers)
    write(tmp_path / "a.IMG", pixels)
    for name in ("a.HED", "a.IMG"):
        assert_array_equal(read(tmp_path / name), ramp(2, 8, 8))


def test_headers_without_pixels_say_which_file_is_missing(tmp_path: Path) -> None:
    path = written(tmp_path, ramp(2, 8, 8))
    (tmp_path / "a.img").unlink()
    with pytest.raises(InputError, match=r"is an IMAGIC header without its images: a\.img is not there"):
        open_volume(path)


def test_pixels_without_headers_are_nothing_that_is_known(tmp_path: Path) -> None:
    path = written(tmp_path, ramp(2, 8, 8))
    for change in (lambda: path.write_bytes(b"no headers"), path.unlink):
        change()
        with pytest.raises(InputError, match="it is no MRC file"):
            open_volume(tmp_path / "a.img")


def test_cut_pixels_give_whole_images(tmp_path: Path) -> None:
    path = written(tmp_path, ramp(5, 6, 10))
    os.truncate(tmp_path / "a.img", 5 * 120 - 1)
    assert_array_equal(read(path), ramp(4, 6, 10))
    assert described(path).warnings == ("truncated: 4 of 5 sections are there and shown",)
    os.truncate(tmp_path / "a.img", 100)
    with pytest.raises(InputError, match="not one is whole"):
        open_volume(path)


@pytest.mark.parametrize("machine", [b"\1\0\0\0", b"\0\0\0\1"])
def test_floats_of_a_vax_are_refused(tmp_path: Path, machine: bytes) -> None:
    with pytest.raises(InputError, match="with the floats of a VAX, which are not read"):
        open_volume(written(tmp_path, ramp(2, 8, 8, "float32"), machine=machine))
    assert_array_equal(read(written(tmp_path, ramp(2, 8, 8), machine=machine)), ramp(2, 8, 8))


def test_absurd_headers_allocate_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, ramp(2, 8, 8))
    for place, value in ((4, 2**31 - 1), (4, -5), (48, 2**20), (52, 2**31 - 1), (48, 0)):
        headers = bytearray(imagic(ramp(2, 8, 8))[0])
        struct.pack_into("<i", headers, place, value)
        write(path, bytes(headers))
        with less_memory_than(2**20):
            try:
                found = described(path)
            except InputError as error:
                assert "\n" not in str(error)
            else:
                assert found.shape[0] <= 2


def test_changed_headers_end_in_a_volume_or_an_error_of_ours(tmp_path: Path) -> None:
    path = written(tmp_path, ramp(2, 8, 8))
    dice = random.Random(5)
    for _ in range(500):
        headers = bytearray(imagic(ramp(2, 8, 8))[0][: dice.choice([2048, 1024, 1000])])
        for place in dice.sample(range(300), dice.randint(1, 4)):
            headers[place] = dice.choice([0, 1, 2, 4, 127, 128, 255])
        write(path, bytes(headers))
        for name in (path, tmp_path / "a.img"):
            examine(name)
