"""From voxels to decoded frames: MRC files written by mrcfile, the command, movies decoded by OpenCV, a reference."""

import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from mrc2movie.cli import main
from mrc2movie.errors import InputError
from mrc2movie.readers import open_volume
from mrc2movie.readers.source import InputFile
from mrc2movie.readers.volume import Description

LOSSLESS = ("--codec", "FFV1", "--clip-limit", "0")
"""Options under which a decoded frame is exactly the 8-bit picture."""


def write_mrc(
    path: Path, voxels: NDArray[Any], *, voxel_size_A: float | tuple[float, float, float] = 0, **header: Any
) -> Path:
    """Write (z, y, x) voxels as an MRC file, with a voxel size along (x, y, z) and header fields as given."""
    if voxel_size_A:
        sizes = voxel_size_A if isinstance(voxel_size_A, tuple) else (voxel_size_A,) * 3
        header["cella"] = tuple(np.float32(size * n) for size, n in zip(sizes, voxels.shape[::-1], strict=True))
    with warnings.catch_warnings(action="ignore"), mrcfile.new(path, overwrite=True) as mrc:  # of NaN and overflow
        mrc.set_data(voxels)
        for name, value in header.items():
            mrc.header[name] = value
    return path


@contextmanager
def less_memory_than(most: int) -> Iterator[None]:
    """The block never holds so many bytes at a time, as Python and NumPy allocate them."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def refused_at_once(path: Path, message: str | None = None) -> None:
    """Opening the file ends with a line that a regular expression finds, in little memory and time."""
    begin = time.process_time()
    with less_memory_than(2**20), pytest.raises(InputError, match=message) as caught:
        open_volume(path)
    assert "\n" not in str(caught.value)
    assert time.process_time() - begin < 1


def ramp(sections: int = 4, rows: int = 6, columns: int = 10, dtype: str = "int16") -> NDArray[Any]:
    """(z, y, x) voxels that are all different and grow along x, y and z: any flip, swap or reordering shows."""
    return np.arange(sections * rows * columns).reshape(sections, rows, columns).astype(dtype)


def shown(tmp_path: Path, volume: Path | NDArray[Any], *options: str, **header: Any) -> list[NDArray[np.uint8]]:
    """The frames of the way forward, decoded from a lossless movie.

    Args:
        tmp_path: Where the movie goes: in the directory `out`.
        volume: A file, or (z, y, x) voxels for one.
        options: More words for the command.
        header: Of the file that is written, as for `write_mrc`.
    """
    source = volume if isinstance(volume, Path) else write_mrc(tmp_path / "in.mrc", volume, **header)
    assert run(source, tmp_path / "out", *LOSSLESS, "--playback=forward", "--overwrite", *options) == 0
    (movie,) = (tmp_path / "out").glob("*.avi")
    return frames(movie)


def description_of(
    sections: int, rows: int, columns: int, voxel_size_A: tuple[float, float, float] | None = None
) -> Description:
    """What a reader would make of a volume of this shape, int16."""
    return Description((sections, rows, columns), np.dtype(np.int16), True, voxel_size_A, {})


def packets(movie: Path) -> list[bytes]:
    """The encoded frames of a movie as they lie in the container."""
    capture = cv2.VideoCapture(str(movie), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    return [packet.tobytes() for packet in _read_all(capture)]


def frames(movie: Path) -> list[NDArray[np.uint8]]:
    """The decoded frames of a movie: (y, x), grey."""
    return [frame[..., 0] for frame in coloured_frames(movie)]


def coloured_frames(movie: Path) -> list[NDArray[np.uint8]]:
    """The decoded frames of a movie: (y, x, 3), blue, green, red."""
    return _read_all(cv2.VideoCapture(str(movie), cv2.CAP_FFMPEG))


def _read_all(capture: cv2.VideoCapture) -> list[NDArray[np.uint8]]:
    found = []
    while (answer := capture.read())[0]:
        found.append(np.asarray(answer[1], np.uint8))
    return found


def reference(sections: NDArray[Any], low: float, high: float) -> list[NDArray[np.uint8]]:
    """The 8-bit pictures of (z, y, x) sections, written the slow and obvious way: row 0 is the bottom."""
    values = (sections.astype(np.float64) - low) / (high - low) * 255
    return [np.flipud(np.rint(np.clip(section, 0, 255))).astype(np.uint8) for section in values]


def sections_seen(movie: Path, sections: Sequence[NDArray[np.uint8]]) -> list[int]:
    """Which of the pictures each frame of a lossless movie shows; -1 for none."""
    return [
        next((i for i, picture in enumerate(sections) if np.array_equal(frame, picture)), -1) for frame in frames(movie)
    ]


def run(*words: str | float | Path) -> int:
    """The command line, in this process."""
    return main([str(word) for word in words])


class Reads:
    """Counts how often each byte of files is read, whatever the reader asks for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times: Counter[int] = Counter()
        read_into = InputFile.read_into

        def counting(file: InputFile, offset: int, buffer: memoryview) -> int:
            count = read_into(file, offset, buffer)
            self.times.update(range(offset, offset + count))
            return count

        monkeypatch.setattr(InputFile, "read_into", counting)

    def of_sections(self, count: int, section_bytes: int) -> list[int]:
        """The most times that a byte of each section was read."""
        starts = range(1024, 1024 + count * section_bytes, section_bytes)
        return [max(self.times[byte] for byte in range(start, start + section_bytes)) for start in starts]


def thinned(cases: Iterable[Any], stride: int) -> list[Any]:
    """The cases of a test, for `pytest.mark.parametrize`: every so many by default, the others with ``-m large``."""
    return [
        case
        if place % stride == 0
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.large)
        for place, case in enumerate(cases)
    ]
