"""What is drawn over the sections, or stands beside them: what it costs.

The installed command with picks, a mask, three directions or another volume against without, in turn.

    python tests/benchmarks/overlays.py [--small] [--data DIR]

makes a tomogram (400 MB, or 50 MB with --small; kept in DIR if given) and 500 picks in it,
so that each section cuts 120 of their spheres, as a crowded tomogram's do; and a mask of the membranes of 40 vesicles,
binned by 4. The exit status is 1 where a movie with them, or from three directions, takes more than 1.25 times the time
of the plain one, or one of two volumes twice that.
"""

import argparse
import itertools
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import mrcfile
import numpy as np
from speed import COMMAND, Bounds, Scratch, make, warm

SHAPE = (100, 1024, 1024)
PICKS = 500
ROUNDS = 3
WAYS = ((), ("--format", "mp4"), ("--preset", "tomogram"))
"""AVI and MP4 as they are, and what most people take."""


def seconds_of_processor(words: list[str]) -> float:
    """User and system time of a command: on a machine with other work the elapsed time says little."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def vesicles(path: Path, shape: tuple[int, int, int]) -> Path:
    """A mask, binned by 4, of shells of 3 voxels."""
    side, rng = [size // 4 for size in shape], np.random.default_rng(3)
    places = np.indices(side)
    mask = np.zeros(side, np.int8)
    for centre, radius in zip(rng.uniform(0, side, (40, 3)), rng.uniform(5, 20, 40), strict=True):
        distance = np.sqrt(np.square(places - centre[:, None, None, None]).sum(axis=0))
        mask[np.abs(distance - radius) < 1.5] = 1
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(mask)
    return path


def main() -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a quick look at smaller data")
    parser.add_argument("--data", type=Path, help="keep the data here for the next time")
    arguments = parser.parse_args()
    shape = (SHAPE[0] // 2, SHAPE[1] // 2, SHAPE[2] // 2) if arguments.small else SHAPE
    bounds = Bounds(held=not arguments.small)
    with tempfile.TemporaryDirectory() as scratch_directory:
        data = arguments.data or Path(scratch_directory)
        source = make(data / f"tomogram_{shape[0]}_{shape[1]}.mrc", shape, "float32")
        points = data / "picks.csv"
        places = np.random.default_rng(2).uniform(0, shape[::-1], (PICKS, 3))
        rows = (f"{x:.2f},{y:.2f},{z:.2f},class {n % 4}\n" for n, (x, y, z) in enumerate(places))
        points.write_text("x,y,z,class\n" + "".join(rows))
        drawn = {
            f"{PICKS} picks": ("--points", str(points), "--point-diameter", "250"),
            "a mask": ("--mask", str(vesicles(data / "membranes.mrc", shape))),
            "three directions": ("--view", "ortho"),
            "two volumes": ("--compare", str(source.parent)),
        }
        scratch = Scratch(Path(scratch_directory))
        for (what, more), way in itertools.product(drawn.items(), WAYS):
            command = [str(COMMAND), str(source), "--quiet", "--pixel-size", "10", *way]
            ratios = []
            for _ in range(ROUNDS):
                warm(source)
                plain = seconds_of_processor([*command, str(scratch.fresh())])
                ratios.append(seconds_of_processor([*command, *more, str(scratch.fresh())]) / plain)
            most = 2.0 if what == "two volumes" else 1.25
            bounds.hold(f"{what}, {' '.join(way) or 'AVI'}", statistics.median(ratios), "times", at_most=most)
    return 0 if bounds.kept else 1


if __name__ == "__main__":
    sys.exit(main())
