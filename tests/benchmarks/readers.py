"""What a section costs in each format, by what it costs in an MRC file of the same type and byte order.

    python tests/benchmarks/readers.py [WORD]

writes 12 sections of 2048 x 2048 in every format, or in those with the word in their names, in turn handles all of them
and those of the MRC file, and prints two ratios of processor times: of reading alone, and of the whole conversion. The
exit status is 1 where the whole exceeds 1.3 for a file that is not compressed. Reading alone takes milliseconds, which
other work on the machine changes by half; where sections are stored in one piece, it is the same positioned read for
all formats. Tiles must be put together.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from dm_bytes import dm
from hdf5_bytes import berkeley, eman2, velox
from mrc_bytes import mrc
from stack_bytes import em, imagic, ser, spider

from mrc2movie import Settings, convert
from mrc2movie.readers import open_volume

SHAPE = 12, 2048, 2048
READING_ROUNDS, ROUNDS = 7, 3
BOUND = 1.3
MODES = {"uint8": 0, "int16": 1, "float32": 2}

Write = Callable[[Path, NDArray[Any]], object]


def bytes_of(make: Callable[..., bytes], *arguments: Any) -> Write:
    """Writes what a function makes of the voxels."""
    return lambda path, voxels: path.write_bytes(make(voxels, *arguments))


def tiff(**options: Any) -> Write:
    """Writes a TIFF file."""
    return lambda path, voxels: tifffile.imwrite(path, voxels, photometric="minisblack", **options)


def hdf5(make: Callable[..., Path], **options: Any) -> Write:
    """Writes an HDF5 file."""
    return lambda path, voxels: make(path, voxels, **options)


def pair(path: Path, voxels: NDArray[Any]) -> None:
    """Writes an IMAGIC stack."""
    headers, pixels = imagic(voxels)
    path.write_bytes(headers)
    path.with_suffix(".img").write_bytes(pixels)


FORMATS: dict[str, Write] = {
    "TIFF": tiff(),
    "TIFF, 64 strips, big-endian": tiff(rowsperstrip=32, byteorder=">"),
    "TIFF, tiles of 256": tiff(tile=(256, 256)),
    "TIFF, LZW": tiff(compression="lzw"),
    "TIFF, deflate": tiff(compression="zlib"),
    "DM4": bytes_of(dm),
    "DM3, big-endian": bytes_of(dm, 3, ">"),
    "EM": bytes_of(em),
    "SER": bytes_of(ser),
    "SPIDER stack": lambda path, voxels: path.write_bytes(spider(voxels, stack=True)),
    "IMAGIC": pair,
    "HDF5, EMAN2": hdf5(eman2),
    "HDF5, Velox": hdf5(velox),
    "HDF5, Berkeley": hdf5(berkeley),
    "HDF5, tiles of 256": hdf5(berkeley, chunks=(1, 256, 256)),
    "HDF5, deflate": hdf5(berkeley, chunks=(1, 2048, 2048), compression="gzip"),
}
COMPRESSED, BIG_ENDIAN = ("LZW", "deflate"), "big-endian"
ONLY_FLOATS = "SPIDER"


def seconds_of_reading(path: Path) -> float:
    """Processor time of all sections, one after the other."""
    with open_volume(path) as volume:
        scratch = np.empty(volume.scratch_bytes, np.uint8)
        begin = time.process_time()
        for number in range(volume.description.shape[0]):
            volume.section(number)(scratch)
        return time.process_time() - begin


def seconds_of_conversion(path: Path) -> float:
    """Processor time of the whole, without the process that looks into an HDF5 file."""
    begin = time.process_time()
    convert(path, path.with_name("movie.avi"), Settings(playback="forward", overwrite=True))
    return time.process_time() - begin


def ratio(seconds: Callable[[Path], float], path: Path, reference: Path, rounds: int) -> float:
    """Of the best of all rounds: other work on the machine only ever adds."""
    pairs = [(seconds(path), seconds(reference)) for _ in range(rounds)]
    return min(one for one, _ in pairs) / min(other for _, other in pairs)


def main() -> int:
    """Measure everything; the exit status is 1 where a bound was missed."""
    missed = False
    counts = np.random.default_rng(0).poisson(40, SHAPE)
    wanted = {what: write for what, write in FORMATS.items() if not sys.argv[1:] or sys.argv[1] in what}
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for dtype, mode in MODES.items():
            voxels = counts.astype(dtype)
            references = {order: directory / f"{'big' if order == '>' else 'little'}.mrc" for order in "<>"}
            for order, reference in references.items():
                reference.write_bytes(mrc(voxels, mode, order))
            for what, write in wanted.items():
                if what.startswith(ONLY_FLOATS) and dtype != "float32":
                    continue
                path, reference = directory / "a.hed", references[">" if BIG_ENDIAN in what else "<"]
                path.unlink(missing_ok=True)
                write(path, voxels)
                reading = ratio(seconds_of_reading, path, reference, READING_ROUNDS)
                whole = ratio(seconds_of_conversion, path, reference, ROUNDS)
                if not any(word in what for word in COMPRESSED):
                    missed |= whole > BOUND
                print(f"{dtype:8s} {what:28s} reading {reading:6.2f}, whole {whole:5.2f} times MRC", flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
