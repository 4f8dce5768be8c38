"""What is no MRC file is told in one line that says what it is, and never waited for."""

import bz2
import gzip
import json
import os
import struct
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from movies import ramp
from mrc_bytes import mrc, write

from mrc2movie.cli import main
from mrc2movie.errors import InputError
from mrc2movie.readers import open_volume


def image(suffix: str) -> bytes:
    done, data = cv2.imencode(suffix, np.random.default_rng(1).integers(0, 255, (50, 60), np.uint8))
    assert done
    return data.tobytes()


LEADER = b"00714cam a2200205 a 4500001001300000"
SOURCE_MAP = json.dumps({"version": 3, "sources": ["a.js"], "mappings": "AAAA"}).encode()
FOREIGN = {
    "PNG": (image(".png"), "a PNG image"),
    "JPEG": (image(".jpg"), "a JPEG image"),
    "NumPy": (b"\x93NUMPY\1\0" + bytes(2000), "a NumPy array"),
    "ZIP": (b"PK\3\4" + bytes(2000), "a ZIP archive"),
    "MP4": (struct.pack(">I", 24) + b"ftypisom" + bytes(2000), "an MP4 or QuickTime movie"),
    "tar": (b"a.mrc".ljust(257, b"\0") + b"ustar" + bytes(2000), "a tar archive"),
    "text": (b"some notes\n" * 200, "a text file"),
    "short text": (b"x\n", "a text file"),
    "text in UTF-8": ("Größe\n".encode() * 171, "a text file"),
    "text in UTF-16": ("Größe\n".encode("utf-16") * 1, "a text file"),
    "HTML": (b"<!DOCTYPE html>\n<html>not found</html>" * 40, "an HTML or XML text"),
    "JSON": (b'{"a": 1}', "a JSON text"),
    "source map": (SOURCE_MAP, "a JSON text (a source map)"),
    "library records": (LEADER * 60, "a file of library records (MARC)"),
    "AppleDouble": (b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(4000), "an AppleDouble file"),
    "Git-LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n", "a Git-LFS pointer"),
    "zeros": (bytes(5000), "a file of zeros, which nothing was written to yet"),
    "few zeros": (bytes(10), "a file of zeros, which nothing was written to yet"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_foreign_file_is_named_for_what_it_is(tmp_path: Path, what: str) -> None:
    data, words = FOREIGN[what]
    with pytest.raises(InputError) as caught:
        open_volume(write(tmp_path / "a.mrc", data))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["PNG", "text", "zeros"])
def test_so_is_one_inside_a_compressed_stream(tmp_path: Path, what: str) -> None:
    data, words = FOREIGN[what]
    for compress in (gzip.compress, bz2.compress):
        with pytest.raises(InputError, match=words):
            open_volume(write(tmp_path / "a.mrc.gz", compress(data)))


@pytest.mark.parametrize("name", ["a.mrc", "a.mrc.gz"])
def test_an_empty_file_is_empty(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="is empty; was it ever written"):
        open_volume(write(tmp_path / name, b""))


def test_an_empty_stream_is_no_volume(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is empty; was it ever written"):
        open_volume(write(tmp_path / "a.mrc.gz", gzip.compress(b"")))


@pytest.mark.parametrize("size", [1, 100, 1023])
def test_a_file_shorter_than_a_header_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(InputError, match=f"has {size} bytes, fewer than the 1024"):
        open_volume(write(tmp_path / "a.mrc", mrc(ramp(1, 2, 3), 1)[:size].ljust(size, b"\xfe")))


def test_a_pipe_a_device_and_a_directory_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mrc")
    (tmp_path / "directory.mrc").mkdir()
    (tmp_path / "device.mrc").symlink_to("/dev/zero")
    begin = time.process_time()
    for name, words in (
        ("pipe", "is a named pipe, not a file with sections"),
        ("directory", "is a directory, not a file with sections"),
        ("device", "is a character device, not a file with sections"),
    ):
        with pytest.raises(InputError, match=words):
            open_volume(tmp_path / f"{name}.mrc")
    assert time.process_time() - begin < 1


def test_links_that_lead_nowhere_say_so(tmp_path: Path) -> None:
    (tmp_path / "dangling.mrc").symlink_to("gone.mrc")
    (tmp_path / "round.mrc").symlink_to("about.mrc")
    (tmp_path / "about.mrc").symlink_to("round.mrc")
    with pytest.raises(InputError, match=r"is a link to gone\.mrc, which does not exist"):
        open_volume(tmp_path / "dangling.mrc")
    with pytest.raises(InputError, match="is a link that leads round in a circle"):
        open_volume(tmp_path / "round.mrc")
    with pytest.raises(InputError, match="cannot be opened"):
        open_volume(tmp_path / "gone.mrc")
    with pytest.raises(InputError, match="cannot be opened"):
        open_volume(tmp_path / "a\0b.mrc")


def test_a_directory_full_of_oddities_is_converted_as_far_as_it_can_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for number, (data, _) in enumerate(FOREIGN.values()):
        write(source / f"{number}.mrc", data)
    write(source / "good.mrc", mrc(ramp(3, 16, 16), 1))
    os.mkfifo(source / "pipe.mrc")
    (source / "dangling.mrc").symlink_to("gone.mrc")
    (source / "directory.mrc").mkdir()
    begin = time.process_time()
    assert main([str(source), str(tmp_path / "out")]) == 1
    assert time.process_time() - begin < 10
    messages = capsys.readouterr().err.splitlines()
    assert messages[-1] == f"1 converted, {len(FOREIGN) + 2} failed"
    assert not any("Traceback" in line for line in messages)
    # One for each that fails, and for the run, the greys, the movie, the totals and the counts.
    assert len(messages) == len(FOREIGN) + 2 + 5
