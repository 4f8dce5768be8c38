"""How fast an MP4 is made: against an ordinary encoder fed with the same frames, and against the floor.

Run it with the package installed: ``python tests/benchmarks/mp4.py [--sections 300] [--size 1024] [--repeats 3]``.
It makes its data in a temporary directory. All figures come from this one run, the contestants taking turns.

- mrc2movie: the installed command, forward-backward, the whole process from reading the file to the verified movie, at
  quality 90 whatever players take.
- fitted: the same without a quality, coarser where players need it.
- small: the same as the first with --small, which may take at most ten times as long.
- ordinary: another process with libx264 ``veryfast`` and as many threads as it likes, fed through a pipe with the
  frames rendered beforehand, forward and backward; its crf is the one that comes nearest to the same PSNR.
- start: the installed command on a single tiny section, which is taken off before the comparison with the floor.
- floor: contrast and intra encoding of all sections in one thread, divided by the processors.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import cv2
import mrcfile
import numpy as np
from numpy.typing import NDArray
from quality import psnr

from mrc2movie import Settings
from mrc2movie.demo import tomogram_sections
from mrc2movie.picture.greys import GreyRange
from mrc2movie.picture.render import Frame, Renderer, RenderOptions
from mrc2movie.processors import available_processors
from mrc2movie.writers import open_movie

GREY_RANGE = "-3,2"
ORDINARY = """
import sys, av, numpy as np
path, crf, height, width = sys.argv[1], *map(int, sys.argv[2:])
with av.open(path, "w") as container:
    stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": str(crf)})
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    while frame := sys.stdin.buffer.read(height * width):
        grey = np.frombuffer(frame, np.uint8).reshape(height, width)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="gray")))
    container.mux(stream.encode())
"""


def ordinary(frames: Sequence[Frame], path: Path, crf: int) -> float:
    """Seconds of an ordinary encoder for these frames, forward and backward."""
    height, width = frames[0].shape
    begin = time.perf_counter()
    words = [sys.executable, "-c", ORDINARY, str(path), str(crf), str(height), str(width)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        for frame in [*frames, *frames[-2:0:-1]]:
            process.stdin.write(frame.data)
        process.stdin.close()
    assert process.returncode == 0
    return time.perf_counter() - begin


def floor(sections: NDArray[np.float32], options: RenderOptions, path: Path) -> float:
    """Seconds of contrast and encoding in one thread."""
    render = Renderer(options)
    writer = open_movie(path, sections.shape[1:], Settings(format="mp4"))
    encode = writer.encoder()
    begin = time.perf_counter()
    for position, section in enumerate(sections):
        encode(render(section), position)
    spent = time.perf_counter() - begin
    writer.close()
    return spent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=int, default=300)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    low, high = map(float, GREY_RANGE.split(","))
    rendering = RenderOptions(GreyRange(low, high), row0_at_bottom=True, clip_limit=2.0, tiles=(8, 8))
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        sections = np.stack(list(tomogram_sections(given.size, given.sections)))
        mrcfile.write(place / "noisy.mrc", sections)
        render = Renderer(rendering)
        frames = [render(section).copy() for section in sections]
        mrcfile.write(place / "tiny.mrc", sections[:1, :64, :64])
        options = ("--format", "mp4", f"--range={GREY_RANGE}", "--overwrite", "--quiet", "--quality", "90")
        installed = Path(sys.executable).with_name("mrc2movie")
        command, tiny = (
            [str(word) for word in (installed, place / name, place / "out", *options)]
            for name in ("noisy.mrc", "tiny.mrc")
        )
        fitted, small = [*command[:-2]], [*command, "--small"]
        ours, theirs = place / "out" / "noisy.mp4", place / "ordinary.mp4"
        subprocess.run(command, check=True)
        quality = psnr(ours, frames[:20])
        crf = min(range(10, 30), key=lambda crf: abs(_short(frames[:20], theirs, crf) - quality))
        times: dict[str, list[float]] = {
            name: [] for name in ("mrc2movie", "fitted", "small", "start", "floor", "ordinary")
        }
        sizes = {}
        for _ in range(given.repeats):
            ours.unlink()  # to free its blocks is no part of making the next
            for name, words in (("start", tiny), ("small", small), ("fitted", fitted), ("mrc2movie", command)):
                begin = time.perf_counter()
                subprocess.run(words, check=True)
                times[name].append(time.perf_counter() - begin)
                sizes[name] = ours.stat().st_size if ours.exists() else 0
            times["floor"].append(floor(sections, rendering, place / "floor.mp4") / available_processors())
            times["ordinary"].append(ordinary(frames, theirs, crf))
        print(f"{given.sections} sections of {given.size} x {given.size}, {available_processors()} processors")
        for name, seconds in times.items():
            print(f"{name:10} {median(seconds):6.2f} s   ({', '.join(f'{s:.2f}' for s in seconds)})")
        print(f"PSNR       {psnr(ours, frames):.2f} dB, ordinary (crf {crf}) {psnr(theirs, frames):.2f} dB")
        print(f"size       {ours.stat().st_size / theirs.stat().st_size:.2f} times the ordinary one (at most 1.15)")
        print(f"speed      {_ratio(times, 'ordinary', 'mrc2movie'):.1f} times the ordinary one (at least 5)")
        print(f"time       {_ratio(times, 'mrc2movie', 'floor'):.2f} times the floor, process start included")
        for name in ("fitted", "small"):
            ratio = sizes[name] / sizes["mrc2movie"]
            print(f"{name:10} {ratio:.2f} times the size, {_ratio(times, name, 'mrc2movie'):.1f} times the time")
        times["mrc2movie"] = [whole - median(times["start"]) for whole in times["mrc2movie"]]
        print(f"           {_ratio(times, 'mrc2movie', 'floor'):.2f} times the floor without it (at most 1.3)")


def _short(frames: Sequence[Frame], path: Path, crf: int) -> float:
    ordinary(frames, path, crf)
    return psnr(path, frames)


def _ratio(times: dict[str, list[float]], one: str, other: str) -> float:
    return median(a / b for a, b in zip(times[one], times[other], strict=True))


if __name__ == "__main__":
    main()
