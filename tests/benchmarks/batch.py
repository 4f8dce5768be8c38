"""What a batch costs: processors kept busy, work beyond the bare arithmetic, bytes written, and the serial part.

    python tests/benchmarks/batch.py [--small] [--data DIR] [--formats avi,mp4] [--repeats 3]

makes three batches (about 7 GB, or 500 MB with --small; kept in DIR if given) and converts each with the installed
command. It prints medians of these figures; all are measured in this one run:

- elapsed seconds; busy processors: user and system time over elapsed; peak memory;
- work: user time over that of the bare kernels in one thread with the same grey range: minimum and maximum, to 8 bits,
  CLAHE, and the encoder;
- written: bytes that the process gives to the system over the bytes of the movies;
- serial: the processor time of the thread that calls `convert`, for one file; section: that of the workers for one
  section; and how many processors a file keeps busy at 8, 32 and 64 cores by Amdahl's law;
- today's script (AVI only, as in speed.py), in pairs with the command: elapsed and user time over the command's.

Elapsed times mean little on a machine that does something else. The exit status is 1 where a bound is missed.
"""

import argparse
import compileall
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2
import mrcfile
import numpy as np
from speed import COMMAND, CORES, Bounds, make, plain_way, warm

import mrc2movie
from mrc2movie import Settings, convert
from mrc2movie.writers import open_movie

MANY_CORES = (8, 32, 64)
MOST_WORK = 1.25
MOST_WRITTEN = 1.1

_LAUNCHER = """
import os, subprocess, sys, time
begin = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
elapsed = time.perf_counter() - begin
with open(f"/proc/{process.pid}/io") as io:  # it is there until the process is waited for
    written = dict(line.split(": ") for line in io)["wchar"]
_, status, usage = os.wait4(process.pid, 0)
print(elapsed, usage.ru_utime, usage.ru_stime, usage.ru_maxrss / 1024, written)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Batch:
    """Files of one shape, (z, y, x), and one type."""

    name: str
    files: int
    shape: tuple[int, int, int]
    dtype: str

    def made(self, directory: Path, small: bool) -> Path:
        """The directory of the files."""
        place = directory / f"{self.name}{'_small' if small else ''}"
        place.mkdir(parents=True, exist_ok=True)
        files = max(2, self.files // 8) if small else self.files
        shape = (max(1, self.shape[0] // 4), *self.shape[1:]) if small and self.files < 60 else self.shape
        for number in range(files):
            make(place / f"{number:02d}.mrc", shape, self.dtype)
        return place


BATCHES = (
    Batch("small_i16", 60, (41, 512, 512), "int16"),
    Batch("tomograms_f32", 8, (60, 1024, 1024), "float32"),
    Batch("tilts_i16", 3, (41, 3838, 3710), "int16"),
)


@dataclass(frozen=True)
class Cost:
    """What a process took: seconds, MB, and the bytes that it gave to the system."""

    elapsed: float
    user: float
    system: float
    megabytes: float
    written: float

    @classmethod
    def of(cls, words: Sequence[str | Path]) -> "Cost":
        """Run a command; a small process starts it, since a child's peak begins with that of its parent."""
        launcher = [sys.executable, "-S", "-c", _LAUNCHER, *map(str, words)]
        told = subprocess.run(launcher, check=True, capture_output=True, text=True).stdout.split()
        return cls(*map(float, told))


def kernel_seconds(source: Path, container: str, low: float, high: float, scratch: Path) -> float:
    """Seconds of user time of the bare kernels for all sections of a file, in one thread, with this grey range."""
    cv2.setNumThreads(1)
    clahe, scale, spent = cv2.createCLAHE(2.0, (8, 8)), 255 / (high - low), 0.0
    with mrcfile.mmap(source, permissive=True) as mrc:
        writer = open_movie(scratch / f"kernels.{container}", mrc.data.shape[1:], Settings(format=container))
        encode = writer.encoder()
        for position, section in enumerate(mrc.data):
            values = np.array(section)
            begin = _user_time()
            minimum, maximum, _, _ = cv2.minMaxLoc(values)
            if minimum < low or maximum > high:
                values = values.clip(low, high)
            grey = clahe.apply(cv2.convertScaleAbs(values, alpha=scale, beta=-low * scale))
            encode(np.asarray(grey, np.uint8), position)
            spent += _user_time() - begin
        writer.close()
    return spent


def _user_time() -> float:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_utime


def serial_part(source: Path, target: Path) -> None:
    """Print the processor seconds of the calling thread, and of the others, for one file; run in its own process."""
    convert(source, target, Settings(format=target.suffix[1:]))  # imports and first uses are no part of a batch
    target.unlink()
    thread, process = time.thread_time(), time.process_time()
    convert(source, target, Settings(format=target.suffix[1:]))
    thread = time.thread_time() - thread
    print(thread, time.process_time() - process - thread)


def todays_script(source: Path, target: Path) -> None:
    """The plain way, for every file of a directory; run in its own process."""
    for file in sorted(source.iterdir()):
        plain_way(file, target / f"{file.stem}.avi")


def in_own_process(*words: str | Path) -> str:
    """What a part of this script prints."""
    return subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True).stdout


def measure(batch: Batch, container: str, source: Path, scratch: Path, repeats: int, bounds: Bounds) -> None:
    """Convert a batch again and again, and print its figures."""
    files = sorted(source.iterdir())
    sections = batch.shape[0] if source.name == batch.name else max(1, mrcfile.mmap(files[0]).data.shape[0])
    runs, kernels, sizes = [], [], 0
    for repeat in range(repeats):
        for file in files:
            warm(file)
        out = scratch / f"{batch.name}_{container}_{repeat}"
        runs.append(Cost.of([COMMAND, source, out, "--format", container, "--quiet"]))
        movies = sorted(out.glob(f"*.{container}"))
        assert len(movies) == len(files)
        sizes = sum(movie.stat().st_size for movie in movies)
        low, high = json.loads((out / ".mrc2movie" / f"{movies[0].name}.json").read_text())["grey_range"]
        kernels.append(len(files) * kernel_seconds(files[0], container, low, high, scratch))
        shutil.rmtree(out)
    elapsed = median(run.elapsed for run in runs)
    print(f"\n{batch.name} as {container}: {len(files)} files")
    bounds.hold("elapsed", elapsed, "s")
    bounds.hold("busy processors", median((run.user + run.system) / run.elapsed for run in runs), f"of {CORES}")
    work = median(run.user / kernel for run, kernel in zip(runs, kernels, strict=True))
    bounds.hold("user time over the kernels in one thread", work, "times", at_most=MOST_WORK)
    written = median(run.written for run in runs) / sizes
    bounds.hold("bytes written over bytes of the movies", written, "times", at_most=MOST_WRITTEN)
    bounds.hold("peak memory", median(run.megabytes for run in runs), "MB")
    told = in_own_process("--serial", files[0], scratch / f"serial.{container}").split()
    serial, parallel = map(float, told)
    bounds.hold("serial part of a file", 1000 * serial, "ms")
    bounds.hold("a section in the workers, both passes", 1000 * parallel / sections, "ms")
    left = ", ".join(f"{(serial + parallel) / (serial + parallel / n):.1f} of {n}" for n in MANY_CORES)
    print(f"processors that one file keeps busy, by Amdahl's law: {left}")
    if container == "avi":
        plain = scratch / "plain"
        plain.mkdir(exist_ok=True)
        script = [Cost.of([sys.executable, __file__, "--script", source, plain]) for _ in runs]
        shutil.rmtree(plain)
        pairs = list(zip(script, runs, strict=True))
        bounds.hold("today's script, elapsed over ours", median(a.elapsed / b.elapsed for a, b in pairs), "times")
        bounds.hold("today's script, user time over ours", median(a.user / b.user for a, b in pairs), "times")


def main() -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a quick look at smaller batches")
    parser.add_argument("--data", type=Path, help="keep the data here for the next time")
    parser.add_argument("--formats", default="avi,mp4", help="which movies to make (default: avi,mp4)")
    parser.add_argument("--only", default="", help="only the batches whose names hold this word")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("--serial", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--script", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serial:
        serial_part(*arguments.serial)
        return 0
    if arguments.script:
        todays_script(*arguments.script)
        return 0
    compileall.compile_dir(Path(mrc2movie.__file__).parent, quiet=1)
    bounds = Bounds(held=not arguments.small)
    print(f"{CORES} cores")
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        for batch in BATCHES:
            if arguments.only not in batch.name:
                continue
            source = batch.made(arguments.data or scratch / "data", arguments.small)
            for container in arguments.formats.split(","):
                measure(batch, container, source, scratch, arguments.repeats, bounds)
    return 0 if bounds.kept else 1


if __name__ == "__main__":
    sys.exit(main())
