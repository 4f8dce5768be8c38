"""What each option costs: the installed command with it against without, and against the option's bare arithmetic.

    python tests/benchmarks/options.py [--small] [--data DIR] [--only WORD]

makes its data (about 2 GB, or 100 MB with --small; kept in DIR if given). With and without an option take turns, so
that each ratio is of neighbouring runs. The bare arithmetic is that of plain NumPy and OpenCV in as many threads as
there are processors, once for each of the two passes that need it. The exit status is 1 where a bound is missed.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import mrcfile
import numpy as np
from numpy.typing import NDArray
from speed import CORES, Bounds, Scratch, make, warm

from mrc2movie.picture.labels import label_font, put_text
from mrc2movie.store.files import remove

SHAPE = (256, 1024, 1024)
"""Of a volume of 1 GB in float32, which is the type of most tomograms."""

NOISE = 0.05
"""Of the plain time: so much neighbouring runs of the same command differ."""

Sections = NDArray[np.float32]
"""(z, y, x)."""


def _average(sections: Sections) -> None:
    for z in range(len(sections)):
        window = sections[max(0, z - 2) : z + 3]
        mean = window[0].copy()
        for section in window[1:]:
            mean += section
        mean *= np.float32(1 / len(window))


def _lowpass(sections: Sections) -> None:
    for section in sections:
        cv2.GaussianBlur(section, (0, 0), 60 / 13.6 * 0.187)


def _means(sections: Sections) -> None:
    for section in sections:
        section.mean(dtype=np.float64)


def _negatives(sections: Sections) -> None:
    frame = np.zeros(sections.shape[1:], np.uint8)
    for _ in sections:
        cv2.bitwise_not(frame)


def _texts(sections: Sections) -> None:
    ink, font = np.zeros((56, sections.shape[2] // 2), np.uint8), label_font()
    for z in range(len(sections)):
        put_text(ink, f"section {z}", (4, 44), font, 42)
        cv2.GaussianBlur(cv2.dilate(ink, np.ones((7, 7), np.uint8)), (3, 3), 0)


def _small_pictures(sections: Sections) -> None:
    frame = np.random.default_rng(0).integers(0, 255, sections.shape[1:], np.uint8)
    for side in (*[240] * 20, 300):
        cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA)
    cv2.imencode(".png", frame)  # of about as many pixels as twenty sections of 240 x 240


@dataclass(frozen=True)
class Contest:
    """An option against the conversion without it.

    Attributes:
        words: As typed.
        beside: Other options, which both have.
        at_most: Bound on the ratio of times, where there is one.
        arithmetic: What the option computes; None where only the ratio counts.
        passes: How many passes compute it.
        growth: Bound on the peak memory of four times as many sections: planes along x and y then are four times as
            large.
    """

    words: tuple[str, ...]
    beside: tuple[str, ...] = ()
    at_most: float | None = None
    arithmetic: Callable[[Sections], None] | None = None
    passes: int = 1
    growth: float = 1.1

    @property
    def name(self) -> str:
        """For the printed lines."""
        return " ".join((*self.words, *self.beside))


CONTESTS = (
    Contest(("--average", "5"), arithmetic=_average, passes=2),
    Contest(("--bin", "2"), at_most=1),
    Contest(("--max-size", "512"), at_most=1),
    Contest(("--lowpass", "60", "--pixel-size", "13.6"), arithmetic=_lowpass, passes=2),
    Contest(("--match-mean",), arithmetic=_means),
    Contest(("--invert",), arithmetic=_negatives),
    Contest(("--label", "section", "--scale-bar", "--pixel-size", "13.6"), arithmetic=_texts),
    Contest(("--thumbnail", "300", "--contact-sheet"), arithmetic=_small_pictures),
    Contest(("--report",), at_most=1.05),
    Contest(("--every", "2"), at_most=1),
    Contest(("--volume", "averaged"), at_most=1.5),
    Contest(("--volume", "averaged"), beside=("--average", "5"), at_most=1.5),
    Contest(("--volume", "binned"), beside=("--bin", "2")),
    Contest(("--volume", "averaged", "--volume-format", "mrcz"), beside=("--average", "5")),
    Contest(("--volume", "averaged", "--volume-format", "zarr"), beside=("--average", "5")),
    Contest(("--axis", "y"), at_most=3, growth=1.25),
    Contest(("--axis", "x"), at_most=3, growth=1.25),
)


def compare(contest: Contest, source: Path, repeats: int, scratch: Scratch, bounds: Bounds) -> None:
    """Hold one option against the conversion without it."""
    plain: list[float] = []
    optional: list[float] = []
    for _ in range(repeats):
        for seconds, words in ((plain, ()), (optional, contest.words)):
            warm(source)
            spent, _, out = scratch.convert(source, *words, *contest.beside)
            seconds.append(spent)
            for made in out.glob(f"{source.stem}.*"):
                remove(made)
    ratio = statistics.median(one / other for one, other in zip(optional, plain, strict=True))
    bounds.hold(contest.name, ratio, "times", at_most=contest.at_most)
    if contest.arithmetic:
        usual = statistics.median(plain)
        own = contest.passes * bare(contest.arithmetic, source)
        more = statistics.median(one - other for one, other in zip(optional, plain, strict=True))
        bounds.hold("  seconds more", more, "s", at_most=own + NOISE * usual)
        print(f"  seconds of its own arithmetic {own:34.2f} s", flush=True)


def bare(arithmetic: Callable[[Sections], None], source: Path) -> float:
    """Seconds for an option's arithmetic on all sections, all processors working side by side."""
    cv2.setNumThreads(1)
    spent = 0.0
    with mrcfile.mmap(source, permissive=True) as mrc, ThreadPoolExecutor(CORES) as pool:
        for first in range(0, len(mrc.data), 32 * CORES):  # in memory, as the sections that the workers have just read
            batches = np.array_split(np.array(mrc.data[first : first + 32 * CORES]), CORES)
            begin = time.perf_counter()
            list(pool.map(arithmetic, batches))
            spent += time.perf_counter() - begin
    return spent


def memory_growth(contests: Sequence[Contest], directory: Path, small: bool, scratch: Scratch, bounds: Bounds) -> None:
    """Peak memory of four times as many sections of the same size, with each option.

    Forward only: what is kept for the way back grows up to a share of the free memory.
    """
    size = 128 if small else 600
    sources = [make(directory / f"sections_{count}_{size}.mrc", (count, size, size), "int16") for count in (300, 1200)]
    print("\npeak memory of 1200 sections against 300")
    for contest in contests:
        words = (*contest.words, *contest.beside, "--playback", "forward")
        peaks = [scratch.convert(source, *words)[1] for source in sources]
        bounds.hold(f"{contest.name} ({peaks[0]:.0f} MB)", peaks[1] / peaks[0], "times", at_most=contest.growth)


def main() -> int:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a quick look at smaller data")
    parser.add_argument("--data", type=Path, help="keep the data here for the next time")
    parser.add_argument("--repeats", type=int, default=5, help="runs with and without each option (default: 5)")
    parser.add_argument("--only", default="", metavar="WORD", help="only the options in which this word occurs")
    arguments = parser.parse_args()
    contests = [contest for contest in CONTESTS if arguments.only in contest.name]
    bounds = Bounds(held=not arguments.small)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Scratch(Path(temporary))
        directory = arguments.data or Path(temporary) / "data"
        directory.mkdir(parents=True, exist_ok=True)
        shape = tuple(side // 4 for side in SHAPE) if arguments.small else SHAPE
        source = make(directory / f"volume_{shape[0]}.mrc", (shape[0], shape[1], shape[2]), "float32")
        print(f"{CORES} processors, {' x '.join(map(str, shape))} float32: times of the plain conversion")
        for contest in contests:
            compare(contest, source, arguments.repeats, scratch, bounds)
        memory_growth(contests, directory, arguments.small, scratch, bounds)
    return 0 if bounds.kept else 1


if __name__ == "__main__":
    sys.exit(main())
