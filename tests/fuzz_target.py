"""What no file may break: every input becomes a volume or an error of ours. Run as a program it fuzzes with atheris.

``python tests/fuzz_target.py -runs=200000 CORPUS`` takes libFuzzer's options; ``CORPUS`` gets a valid file of every
dialect if it is empty, or only of those that begin as MRC2MOVIE_FUZZ says: ``MRC``, ``TIFF``, ``DM``,
``stack``.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import re
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import tifffile

if __name__ == "__main__":
    import atheris

    with atheris.instrument_imports(include=["mrc2movie"]):  # so that it sees which branches an input takes
        import mrc2movie.readers  # noqa: F401

from dm_bytes import dm
from mrc_bytes import IMOD_STAMP, header, mrc, section_of
from stack_bytes import em, ser, spider

from mrc2movie.errors import InputError
from mrc2movie.readers import open_volume
from mrc2movie.readers.volume import SizeLearned

SCRATCH_AT_MOST = 64 * 2**20


def seeds() -> dict[str, bytes]:
    """A small valid file of every dialect."""
    voxels = np.arange(24).reshape(3, 2, 4)
    fei = struct.pack("<3i", 768, 1, 1 << 7 | 1 << 14).ljust(768, b"\0") * 3
    chunk = blosc2.compress2(bytes(range(8)), typesize=1)
    files = {
        **{f"mode {mode}": mrc(voxels, mode) for mode in (0, 1, 2, 6, 7, 8, 12, 17)},
        "big-endian": mrc(voxels, 1, ">"),
        "old": mrc(voxels, 0, map=b"\0\0\0\0", machst=b"\0\0\0\0", nversion=0),
        "complex": header(3, 4, 2, 4) + np.arange(48, dtype="<f4").tobytes(),
        "complex integers": header(3, 4, 2, 3) + np.arange(48, dtype="<i2").tobytes(),
        "colour": header(3, 2, 2, 16) + bytes(range(36)),
        "4-bit": header(5, 2, 2, 101) + bytes(range(12)),
        "IMOD": mrc(voxels, 0, imod_stamp=IMOD_STAMP, imod_flags=17, label=b"a label", nlabl=1),
        "SerialEM": mrc(voxels, 1, extended=struct.pack("<3h", 0, 300, -300), exttyp=b"SERI", nint=2, nreal=1),
        "FEI1": mrc(voxels, 6, extended=fei, exttyp=b"FEI1", nversion=20140),
        "Agard": mrc(voxels, 1, extended=struct.pack("<6f", *range(6)), exttyp=b"AGAR", nreal=2),
        "MRCZ": header(4, 2, 1, 6000, exttyp=b"json", nsymbt=8) + b'{"a": 1}' + chunk,
    }
    plain = files["mode 1"]
    files.update(gzip=gzip.compress(plain), bzip2=bz2.compress(plain), xz=lzma.compress(plain))
    return {f"MRC, {name}": data for name, data in files.items()} | tiffs() | dms() | stacks()


def tiffs() -> dict[str, bytes]:
    """TIFF files, each way to compress and arrange them once."""
    voxels = np.arange(2 * 17 * 18).reshape(2, 17, 18)
    options: dict[str, dict[str, Any]] = {
        "TIFF": {},
        "TIFF, strips": {"rowsperstrip": 5, "byteorder": ">"},
        "TIFF, LZW": {"compression": "lzw", "predictor": 2, "rowsperstrip": 5},
        "TIFF, deflate": {"compression": "zlib", "bigtiff": True, "tile": (16, 16)},
        "TIFF, PackBits": {"compression": "packbits"},
        "TIFF, ImageJ": {"imagej": True},
        "TIFF, OME": {"ome": True},
    }
    files = {}
    for name, option in options.items():
        written = io.BytesIO()
        tifffile.imwrite(written, voxels.astype(np.uint16), **{"photometric": "minisblack", **option})
        files[name] = written.getvalue()
    return files


def dms() -> dict[str, bytes]:
    """DM3 and DM4 files."""
    voxels = np.arange(24).reshape(3, 2, 4)
    files = {
        f"DM{version}, {order}": dm(voxels.astype("u2"), version, order, units=("nm",) * 3, scales=(0.5,) * 3)
        for version in (3, 4)
        for order in "<>"
    }
    return {**files, "DM4, a transform": dm(voxels.astype("c8"))}


def stacks() -> dict[str, bytes]:
    """Files of the simple formats."""
    voxels = np.arange(24).reshape(3, 2, 4)
    return {
        "stack, EM": em(voxels.astype("i2")),
        "stack, EM of a Sun": em(voxels.astype("f4"), 4, ">"),
        "stack, EM, a transform": em(voxels.astype("c8")),
        "stack, SER": ser(voxels.astype("u2")),
        "stack, SER, long": ser(voxels.astype("f8"), 0x220),
        "stack, SPIDER": spider(voxels),
        "stack, SPIDER stack": spider(voxels, ">", stack=True),
    }


def examine(path: Path) -> bool:
    """Open a file and read its ends and its middle; returns whether it is a volume.

    Raises:
        Exception: Anything but an error of ours, which is what must not be.
    """
    try:
        with open_volume(path) as volume:
            json.dumps(volume.description.header, allow_nan=False)
            assert volume.scratch_bytes <= max(SCRATCH_AT_MOST, path.stat().st_size)
            last = volume.description.shape[0] - 1
            for number in (0, last, last // 2):
                try:
                    section = section_of(volume, number)
                except SizeLearned:
                    continue
                assert section.shape[:2] == volume.description.shape[1:]
    except InputError as error:
        assert "\n" not in error.message
        return False
    return True


def write_seeds(corpus: Path) -> None:
    """Fill an empty corpus."""
    corpus.mkdir(exist_ok=True)
    wanted = os.environ.get("MRC2MOVIE_FUZZ", "")
    for number, data in enumerate(data for name, data in seeds().items() if name.startswith(wanted)):
        (corpus / f"seed{number}").write_bytes(data)


def peak_megabytes() -> int:
    """The most memory that this process ever had; Linux only."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) // 1024 if found else 0


def main() -> None:
    """Fuzz until libFuzzer has had enough; the last line says how many inputs took how long."""
    write_seeds(Path(sys.argv[-1]))
    # In memory where there is such a place: a disk would make most of the time.
    memory = Path("/dev/shm")
    directory = memory if memory.is_dir() else Path(tempfile.gettempdir())
    path = directory / f"mrc2movie-fuzz-{os.getpid()}.mrc"
    begun = time.perf_counter()
    before = peak_megabytes()
    inputs = volumes = 0
    slowest = 0.0

    def one_input(data: bytes) -> None:
        nonlocal inputs, volumes, slowest
        path.write_bytes(data)
        start = time.process_time()  # not by the clock: others may hold the processor or the disk
        try:
            volumes += examine(path)
        finally:
            path.unlink()
        slowest = max(slowest, time.process_time() - start)
        inputs += 1
        if inputs % 10_000 == 0:
            grown = peak_megabytes() - before
            print(
                f"{inputs} inputs, {volumes} of them volumes, in {time.perf_counter() - begun:.0f} s; "
                f"slowest {slowest:.3f} s, memory grew by {grown} MB",
                flush=True,
            )

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
