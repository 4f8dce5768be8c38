"""A bad file never hurts its neighbours: 120 files, a third of them broken in every way."""

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faults import closing_line, installed, unfinished
from movies import LOSSLESS, reference, sections_seen
from mrc_bytes import header, mrc, write
from numpy.typing import NDArray
from test_not_mrc import FOREIGN

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has neither pipes nor such links")

GOOD = mrc(np.arange(3 * 16 * 16).reshape(3, 16, 16), 1)
BROKEN: dict[str, Callable[[Path], object]] = {
    **{what: lambda path, data=data: write(path, data) for what, (data, _) in FOREIGN.items()},  # type: ignore[misc]
    "empty": lambda path: write(path, b""),
    "cut in the header": lambda path: write(path, GOOD[:700]),
    "header only": lambda path: write(path, GOOD[:1024]),
    "half a section": lambda path: write(path, GOOD[: 1024 + 200]),
    "noise": lambda path: write(path, np.random.default_rng(5).bytes(5000)),
    "unknown mode": lambda path: write(path, header(16, 16, 3, 5) + bytes(768)),
    "negative size": lambda path: write(path, header(-16, 16, 3, 1) + bytes(1536)),
    "no columns": lambda path: write(path, header(0, 16, 3, 1) + bytes(1536)),
    "claims 2^31": lambda path: write(path, header(2**31 - 1, 2**31 - 1, 2**31 - 1, 2) + bytes(100)),
    "extended header past the end": lambda path: write(path, header(16, 16, 3, 1, nsymbt=2**31 - 1) + bytes(100)),
    "gzip cut in the header": lambda path: write(path, gzip.compress(GOOD)[:40]),
    "gzip of noise": lambda path: write(path, gzip.compress(np.random.default_rng(6).bytes(3000))),
    "bzip2 damaged": lambda path: write(path, bz2.compress(GOOD)[:20] + bytes(99)),
    "xz damaged": lambda path: write(path, lzma.compress(GOOD)[:30] + bytes(99)),
    "pipe": os.mkfifo,
    "dangling link": lambda path: path.symlink_to("gone.mrc"),
    "circular link": lambda path: path.symlink_to(path.name),
    "device": lambda path: path.symlink_to("/dev/zero"),
}
FILES = 120
BAD = range(1, FILES, 3)
"""Every third file."""


def sections(number: int) -> NDArray[np.int64]:
    """The number of the file is its grey, so that no movie can be another's; the corner counts the sections."""
    voxels = np.full((3, 16, 16), number)
    voxels[:, 0, 0] = 10, 100, 190
    return voxels


@pytest.mark.parametrize("jobs", [4, pytest.param(1, marks=pytest.mark.large)])
def test_of_120_files_a_third_is_broken_and_the_rest_is_converted(tmp_path: Path, jobs: int) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    ways = list(BROKEN.values())
    assert len(ways) < len(BAD)
    for number in range(FILES):
        path = source / f"{number}.mrc"
        if number in BAD:
            ways[number // 3 % len(ways)](path)
        else:
            write(path, mrc(sections(number), 1))
    words = (source, out, *LOSSLESS, "--range", f"0,{FILES}", "--playback", "forward", "--jobs", str(jobs))
    result = installed(*words)
    assert result.returncode == 1
    assert closing_line(result) == f"{FILES - len(BAD)} converted, {len(BAD)} failed"
    for number in range(FILES):
        lines = [line for line in result.stderr.splitlines() if f"{source}/{number}.mrc" in line]
        movie = out / f"{number}.avi"
        assert movie.exists() == (number not in BAD)
        assert len(lines) == 1 or number not in BAD, lines
        if number not in BAD:
            assert sections_seen(movie, reference(sections(number), 0, FILES)) == [0, 1, 2]
    assert "Traceback" not in result.stderr
    assert unfinished(out) == []
    again = installed(*words, "--verbose")
    assert again.returncode == 1
    assert "Traceback" not in again.stderr
    assert closing_line(again) == f"{FILES - len(BAD)} up to date, {len(BAD)} failed"
