"""Reading ahead: a batch from a slow disk against reading alone and converting alone.

    python tests/benchmarks/slow_disk.py [--small] [--data DIR] [--only NAME] [--repeats 3]

makes the batches of batch.py, and lets the C library's reads of them be slow (``tests/faults.c``, preloaded; needs cc):
each takes 5 ms more, or all together get 200 or 1000 MB a second. Reading alone is one thread that reads every section
twice, as the two passes do, one after the other. The run may take 1.1 times as long as the longer of this and of
converting alone from the page cache. Elapsed times mean little on a machine that does something else.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import mrcfile
from batch import BATCHES
from speed import COMMAND, Bounds, warm

MOST = 1.1
DISKS = {
    "5 ms a read": {"FAULT_SLEEP": "0.005"},
    "200 MB/s": {"FAULT_RATE": "200e6"},
    "1000 MB/s": {"FAULT_RATE": "1000e6"},
}


def read_twice(files: Sequence[Path]) -> None:
    """Read every section of every file twice, one after the other; run in its own process."""
    for file in files:
        with mrcfile.mmap(file, permissive=True) as mrc:
            section, sections = bytearray(mrc.data[0].nbytes), len(mrc.data)
        descriptor = os.open(file, os.O_RDONLY)
        for number in 2 * list(range(sections)):
            assert os.preadv(descriptor, [section], 1024 + number * len(section)) == len(section)
        os.close(descriptor)


def seconds(words: Sequence[str | Path], environment: Mapping[str, str], out: Path) -> float:
    """How long a command takes; what it wrote is removed."""
    begin = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    elapsed = time.perf_counter() - begin
    shutil.rmtree(out, ignore_errors=True)
    return elapsed


def measure(source: Path, library: Path, scratch: Path, repeats: int, bounds: Bounds) -> None:
    """Print the figures of one batch."""
    files, out = sorted(source.iterdir()), scratch / "out"
    converting: list[str | Path] = [COMMAND, source, out, "--quiet"]
    reading: list[str | Path] = [sys.executable, __file__, "--read", *files]
    for file in files:
        warm(file)
    alone = median(seconds(converting, {}, out) for _ in range(repeats))
    print(f"\n{source.name}: {len(files)} files")
    bounds.hold("converting alone", alone, "s")
    for disk, faults in DISKS.items():
        slow = {"LD_PRELOAD": str(library), "FAULT_CALL": "read", "FAULT_MATCH": str(source), **faults}
        read = median(seconds(reading, slow, out) for _ in range(repeats))
        run = median(seconds(converting, slow, out) for _ in range(repeats))
        bounds.hold(f"{disk}: reading alone", read, "s")
        bounds.hold(f"{disk}: the run over the longer of the two", run / max(alone, read), "times", at_most=MOST)


def main() -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a quick look at smaller batches")
    parser.add_argument("--data", type=Path, help="keep the data here for the next time")
    parser.add_argument("--only", default="", help="only the batches whose names hold this word")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("--read", nargs="+", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        read_twice(arguments.read)
        return 0
    bounds = Bounds(held=not arguments.small)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        library, faults = scratch / "faults.so", Path(__file__).parents[1] / "faults.c"
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, faults, "-ldl", "-lm"], check=True)
        for batch in BATCHES:
            if arguments.only in batch.name:
                source = batch.made(arguments.data or scratch / "data", arguments.small)
                measure(source, library, scratch, arguments.repeats, bounds)
    return 0 if bounds.kept else 1


if __name__ == "__main__":
    sys.exit(main())
