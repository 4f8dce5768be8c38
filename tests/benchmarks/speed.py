"""How fast, how much memory: the installed command against the plain way and against what the arithmetic costs.

    python tests/benchmarks/speed.py [--small] [--data DIR]

makes its data (about 3 GB, or 100 MB with --small; kept in DIR if given), runs everything in turn and prints ratios of
times measured in this one run. Each bound is that of the project; the exit status is 1 where one is missed.
"""

import argparse
import compileall
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import mrcfile
import numpy as np
from numpy.typing import NDArray

import mrc2movie

COMMAND = Path(sys.executable).with_name("mrc2movie")
CORES = len(os.sched_getaffinity(0))
QUALITY = 90
JPEG = [
    *(cv2.IMWRITE_JPEG_QUALITY, QUALITY),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420),
]


@dataclass(frozen=True)
class DataSet:
    """A volume to be made: (z, y, x), its type, and the bound on the ratio to the plain way, if there is one."""

    name: str
    shape: tuple[int, int, int]
    dtype: str
    times_as_fast: float | None

    def shrunk(self) -> "DataSet":
        """The small variant, for a quick look."""
        z, y, x = self.shape
        return DataSet(self.name, (z // 5, y // 2, x // 2), self.dtype, self.times_as_fast)


DATA = (
    DataSet("tomogram_f32", (300, 1024, 1024), "float32", 7),
    DataSet("tilts_i16", (41, 4096, 4096), "int16", 7),
    DataSet("tomogram_i8", (464, 928, 960), "int8", None),
)


class Bounds:
    """Prints a line for each measurement and remembers whether all bounds were kept.

    Small data are held against none: there process start and the ends of the movies weigh too much.
    """

    def __init__(self, held: bool) -> None:
        self._held = held
        self.kept = True

    def hold(
        self, what: str, value: float, unit: str, at_most: float | None = None, at_least: float | None = None
    ) -> None:
        """Print a figure beside its bound."""
        if not self._held:
            at_most = at_least = None
        bound = f"at most {at_most:g}" if at_most is not None else f"at least {at_least:g}" if at_least else ""
        good = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
        self.kept &= good
        print(f"{what:58s} {value:8.2f} {unit:6s} {bound:14s} {'' if good else 'MISSED'}", flush=True)


def make(path: Path, shape: tuple[int, int, int], dtype: str) -> Path:
    """Write a volume of smoothed noise with gold beads and, as detectors have them, a few hot pixels."""
    if path.exists():
        return path
    rng = np.random.default_rng(1)
    gold = rng.uniform(0, 1, (40, 3))
    scale = {"float32": 1.0, "int16": 300.0, "int8": 22.0}[dtype]
    with mrcfile.new_mmap(path, shape, mrc_mode={"float32": 2, "int16": 1, "int8": 0}[dtype], overwrite=True) as mrc:
        for z in range(shape[0]):
            section = cv2.GaussianBlur(rng.standard_normal(shape[1:], np.float32), (0, 0), 0.8)
            for depth, row, column in gold:
                radius = 8 - abs(depth * shape[0] - z)
                if radius > 0:
                    cv2.circle(section, (int(column * shape[2]), int(row * shape[1])), int(radius) + 1, -5.0, -1)
            section[rng.integers(0, shape[1]), rng.integers(0, shape[2])] = 5.5
            mrc.data[z] = section * scale
    return path


def plain_way(source: Path, target: Path) -> None:
    """What people write: whole file, float normalisation, CLAHE, `cv2.VideoWriter` frame by frame, both ways."""
    with mrcfile.open(source, permissive=True) as mrc:
        data = mrc.data.astype(np.float32)
    data = (data - data.min()) / (data.max() - data.min()) * 255
    clahe = cv2.createCLAHE(2.0, (8, 8))
    frames = [clahe.apply(section.astype(np.uint8)) for section in data]
    height, width = frames[0].shape
    writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"MJPG"), 30, (width, height), isColor=False)
    for frame in frames + frames[-2:0:-1]:
        writer.write(frame)
    writer.release()


def floor_seconds(source: Path) -> float:
    """Seconds of one thread for minimum and maximum, conversion, CLAHE and 4:2:0 JPEG of all sections, bare OpenCV."""
    cv2.setNumThreads(1)
    clahe = cv2.createCLAHE(2.0, (8, 8))
    with mrcfile.mmap(source, permissive=True) as mrc:
        spent = 0.0
        for section in mrc.data:
            values = np.array(section)
            values = values.astype(np.int16) if values.dtype == np.int8 else values  # OpenCV converts no int8
            begin = time.perf_counter()
            low, high, _, _ = cv2.minMaxLoc(values)
            scale = 255 / (high - low)
            grey = clahe.apply(cv2.convertScaleAbs(values, alpha=scale, beta=-low * scale))
            cv2.imencode(".jpg", cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), JPEG)
            spent += time.perf_counter() - begin
    return spent


_LAUNCHER = """
import os, subprocess, sys, time
begin = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - begin, usage.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def timed(words: Sequence[str | Path]) -> tuple[float, float]:
    """Run a command; returns wall seconds and the peak of its resident memory in MB.

    A small process starts it: a child's peak begins with that of its parent, and this one is large.
    """
    launcher = [sys.executable, "-S", "-c", _LAUNCHER, *map(str, words)]
    seconds, megabytes = subprocess.run(launcher, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), float(megabytes)


def median(runs: int, measure: Callable[[], float]) -> float:
    """The median of several runs."""
    return statistics.median(measure() for _ in range(runs))


def warm(path: Path) -> None:
    """Bring a file into the page cache, and what is still to be written out of it: the disk is not measured."""
    os.sync()
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


class Scratch:
    """Output directories that are empty each time, in a directory that vanishes in the end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    def fresh(self) -> Path:
        """A name that does not exist yet."""
        self._count += 1
        return self._directory / f"out{self._count}"

    def convert(self, source: Path, *options: str) -> tuple[float, float, Path]:
        """Run the installed command into a fresh directory: seconds, MB, and where the movies are."""
        out = self.fresh()
        # The picture of the plain way, which knows no outliers: a higher contrast would cost more JPEG bits.
        return *timed([COMMAND, source, out, "--quiet", "--range", "minmax", *options]), out


def compare(data: DataSet, source: Path, scratch: Scratch, start: float, bounds: Bounds) -> None:
    """Speed against the plain way and the floor, and memory, for one data set."""
    print(f"\n{data.name}: {data.shape[0]} x {data.shape[1]} x {data.shape[2]} {data.dtype}")
    ours, plain, floors, peak = [], [], [], 0.0
    for _ in range(3):
        warm(source)
        seconds, megabytes, out = scratch.convert(source)
        ours.append(seconds)
        peak = max(peak, megabytes)
        record = json.loads(next(out.glob(".mrc2movie/*.json")).read_text())
        target = scratch.fresh().with_suffix(".avi")
        warm(source)
        plain.append(timed([sys.executable, __file__, "--plain", source, target])[0])
        floors.append(floor_seconds(source) / CORES)
        target.unlink()
        for movie in out.glob("*.avi"):
            movie.unlink()
    to_plain = statistics.median(slow / fast for slow, fast in zip(plain, ours, strict=True))
    to_floor = statistics.median((fast - start) / floor for fast, floor in zip(ours, floors, strict=True))
    bounds.hold("seconds, process start included", statistics.median(ours), "s")
    bounds.hold("the plain way against it", to_plain, "times", at_least=data.times_as_fast)
    bounds.hold("it, less process start, against the floor", to_floor, "times", at_most=1.3)
    stages = ", ".join(f"{name} {spent:.2f}" for name, spent in record["seconds"].items())
    print(f"  where it goes: seconds of all {CORES} threads together: {stages}")
    section_mb = np.prod(data.shape[1:]) * np.dtype(data.dtype).itemsize / 1e6
    bounds.hold("peak memory", peak, "MB", at_most=200 + 8 * section_mb * CORES)


def picture_quality(source: Path, sections: int, scratch: Scratch, bounds: Bounds) -> None:
    """PSNR of the JPEG frames against the same frames written without loss."""
    few = ("--discard-range", str(min(10, sections // 2)), str(sections), "--playback", "forward")
    decoded = []
    for options in (("--quality", str(QUALITY)), ("--codec", "FFV1")):
        _, _, out = scratch.convert(source, *few, *options)
        decoded.append(_frames(next(out.glob("*.avi"))))
    worst = min(cv2.PSNR(ours, exact) for ours, exact in zip(*decoded, strict=True))
    bounds.hold(f"worst PSNR of decoded frames at quality {QUALITY}", worst, "dB", at_least=35)


def _frames(movie: Path) -> list[NDArray[np.uint8]]:
    capture, found = cv2.VideoCapture(str(movie)), []
    while (answer := capture.read())[0]:
        found.append(np.asarray(answer[1][..., 0], np.uint8))
    return found


def memory_growth(directory: Path, small: bool, scratch: Scratch, bounds: Bounds) -> None:
    """Peak memory of four times as many sections of the same size, forward only.

    What is kept for the way back grows up to a share of the free memory, see `mrc2movie.store.spool`.
    """
    size = 256 if small else 1024
    peaks = []
    for count in (300, 1200):
        source = make(directory / f"sections_{count}_{size}.mrc", (count, size, size), "int16")
        _, megabytes, out = scratch.convert(source, "--playback", "forward")
        peaks.append(megabytes)
        for movie in out.glob("*.avi"):
            movie.unlink()
    print(f"  {peaks[0]:.0f} MB for 300 sections, {peaks[1]:.0f} MB for 1200")
    bounds.hold("peak memory of 1200 sections against 300", peaks[1] / peaks[0], "times", at_most=1.1)


def many_files(directory: Path, count: int, scratch: Scratch, bounds: Bounds) -> None:
    """Milliseconds a file for many small files in one run."""
    files = directory / f"files_{count}"
    files.mkdir(exist_ok=True)
    voxels = np.random.default_rng(0).integers(-99, 99, (16, 64, 64)).astype(np.int16)
    for number in range(count):
        path = files / f"{number}.mrc"
        if not path.exists():
            with mrcfile.new(path) as mrc:
                mrc.set_data(voxels)
    bounds.hold(f"{count} files of 16 x 64 x 64, each", scratch.convert(files)[0] / count * 1000, "ms", at_most=25)


def main() -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a quick look at smaller data")
    parser.add_argument("--data", type=Path, help="keep the data here for the next time")
    parser.add_argument("--plain", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain:
        plain_way(*arguments.plain)
        return 0
    # pip does so where it installs a package, but not where it leaves an editable one in its place.
    compileall.compile_dir(Path(mrc2movie.__file__).parent, quiet=1)
    bounds = Bounds(held=not arguments.small)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Scratch(Path(temporary))
        directory = arguments.data or Path(temporary) / "data"
        directory.mkdir(parents=True, exist_ok=True)
        tiny = make(directory / "tiny.mrc", (1, 16, 16), "int16")
        start = median(7, lambda: scratch.convert(tiny)[0])
        numpy_start = median(15, lambda: timed([sys.executable, "-c", "import numpy"])[0])
        help_start = median(15, lambda: timed([COMMAND, "--help"])[0])
        print(f"{CORES} cores")
        bounds.hold("process start with one tiny section", start, "s")
        bounds.hold("--help against importing numpy", help_start / numpy_start, "times", at_most=2)
        many_files(directory, 200 if arguments.small else 1000, scratch, bounds)
        memory_growth(directory, arguments.small, scratch, bounds)
        for data in DATA:
            data = data.shrunk() if arguments.small else data
            source = make(directory / f"{data.name}_{data.shape[0]}.mrc", data.shape, data.dtype)
            compare(data, source, scratch, start, bounds)
            picture_quality(source, data.shape[0], scratch, bounds)
    return 0 if bounds.kept else 1


if __name__ == "__main__":
    sys.exit(main())
