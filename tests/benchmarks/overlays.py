"""What drawing over the sections costs: the installed command with picks against without, in turn.

    python tests/benchmarks/overlays.py [--small] [--data DIR]

makes a tomogram (400 MB, or 50 MB with --small; kept in DIR if given) and 500 picks in it,
so that each section cuts 120 of their spheres, as a crowded tomogram's do. The exit status is 1 where a movie with them
takes more than 1.25 times the time of the plain one.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from speed import COMMAND, Bounds, Scratch, make, warm

SHAPE = (100, 1024, 1024)
PICKS = 500
ROUNDS = 5
WAYS = ((), ("--format", "mp4"), ("--preset", "tomogram"))
"""AVI and MP4 as they are, and what most people take."""


def seconds_of_processor(words: list[str]) -> float:
    """User and system time of a command: on a machine with other work the elapsed time says little."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


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
        scratch = Scratch(Path(scratch_directory))
        drawn = ("--points", str(points), "--pixel-size", "10", "--point-diameter", "250")
        for way in WAYS:
            ratios = []
            for _ in range(ROUNDS):
                warm(source)
                spent = [
                    seconds_of_processor([str(COMMAND), str(source), str(scratch.fresh()), "--quiet", *way, *more])
                    for more in (("--pixel-size", "10"), drawn)
                ]
                ratios.append(spent[1] / spent[0])
            what = f"{PICKS} picks, {' '.join(way) or 'AVI'}"
            bounds.hold(what, statistics.median(ratios), "times", at_most=1.25)
    return 0 if bounds.kept else 1


if __name__ == "__main__":
    sys.exit(main())
