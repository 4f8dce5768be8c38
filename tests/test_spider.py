"""SPIDER files: images that Pillow writes, stacks that it reads, volumes by the published description."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from movies import ramp, refused_at_once, run, shown
from mrc_bytes import described, read, write
from numpy.testing import assert_array_equal
from PIL import Image
from stack_bytes import spider

from mrc2movie.errors import InputError
from mrc2movie.readers import open_volume


def test_an_image_that_pillow_writes_is_read(tmp_path: Path) -> None:
    for columns in (10, 256, 300):
        image = ramp(1, 6, columns, "float32")[0]
        Image.fromarray(image).save(tmp_path / "a.spi", format="SPIDER")
        assert_array_equal(read(tmp_path / "a.spi")[0], image)
        assert described(tmp_path / "a.spi").kind == "image"


@pytest.mark.parametrize("order", "<>")
def test_a_stack_is_read_as_pillow_reads_it(tmp_path: Path, order: str) -> None:
    images = ramp(4, 6, 10)
    path = write(tmp_path / "a.spi", spider(images, order, stack=True))
    assert_array_equal(read(path), images)
    for number in range(4):
        with Image.open(path) as other:  # it forgets how many there are when it has shown one
            other.seek(number)
            assert_array_equal(np.asarray(other), images[number])


@pytest.mark.parametrize("order", "<>")
def test_volumes_and_stacks_of_them_are_read_section_by_section(tmp_path: Path, order: str) -> None:
    voxels = ramp(6, 5, 7)
    path = write(tmp_path / "a.spi", spider(voxels, order, f38=1.5))
    assert_array_equal(read(path), voxels)
    assert described(path).kind == "volume"
    assert described(path).voxel_size_A == (1.5, 1.5, 1.5)
    path = write(tmp_path / "b.spi", spider(voxels.reshape(2, 3, 5, 7), order, stack=True))
    assert_array_equal(read(path), voxels)


def test_a_movie_shows_row_0_at_the_top(tmp_path: Path) -> None:
    voxels = ramp(3, 6, 10)
    frames = shown(tmp_path, write(tmp_path / "a.spi", spider(voxels, stack=True)), "--range=0,255")
    assert_array_equal(frames, voxels)


def test_a_cut_file_shows_its_whole_sections(tmp_path: Path) -> None:
    for stack in (False, True):
        path = write(tmp_path / "a.spi", spider(ramp(5, 6, 10), stack=stack))
        os.truncate(path, path.stat().st_size - 1)
        assert_array_equal(read(path), ramp(4, 6, 10))
        assert described(path).warnings == ("truncated: 4 of 5 sections are there and shown",)
        os.truncate(path, 1100)
        with pytest.raises(InputError, match="not one is whole; copy it again"):
            open_volume(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        *(({"f5": form}, "is a Fourier transform of SPIDER, which is not shown") for form in (-11, -12, -21, -22)),
        ({"f24": -2}, "is a SPIDER stack with an index, which is not read; copy its images into a plain stack"),
        ({"f24": 2, "f26": 0}, "a stack of 0 images, but not one is whole"),
        ({"f24": 2, "f26": 2.0**23}, "a stack of 8388608 images, but not one is whole"),
        ({"f24": 2, "f26": 2.0**23, "f1": 2.0**23}, "not one is whole"),
        ({"f2": 2.0**23}, "3 sections of 10 x 8388608, but not one is whole"),
        ({"f2": float("nan")}, "it is no MRC file"),
        ({"f12": float("inf")}, "it is no MRC file"),
        ({"f22": 4.0, "f13": 1.0, "f12": 1.0, "f23": 4.0}, "it is no MRC file"),
    ],
)
def test_what_is_not_shown_is_refused_in_a_line(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    data = spider(ramp(3, 6, 10), **fields)
    path = write(tmp_path / "a.spi", data[:2000] if "f24" in fields else data)
    refused_at_once(path, message)


def test_a_million_sections_that_are_claimed_take_no_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.spi", spider(ramp(3, 6, 10), f1=2.0**23))
    begin = time.process_time()
    assert described(path).shape == (3, 6, 10)
    assert time.process_time() - begin < 1


def test_spider_files_are_taken_from_a_directory(tmp_path: Path) -> None:
    write(tmp_path / "a.spi", spider(ramp(2, 8, 8)))
    assert run(tmp_path, tmp_path / "out") == 0
    assert (tmp_path / "out" / "a.avi").exists()
