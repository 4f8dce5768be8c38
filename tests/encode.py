"""Encodes noise in a process of its own, which an encoder may kill: one movie of each size, its digest printed.

Usage: ``python encode.py CODEC plain|small grey|colour JOBS FRAMES WIDTHxHEIGHT...``
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from mrc2movie import Settings
from mrc2movie.errors import Mrc2movieError
from mrc2movie.picture.render import Frame
from mrc2movie.workers import Workers
from mrc2movie.writers import open_movie
from mrc2movie.writers.movie import MovieFacts, MovieWriter, Packet

_CHECKING = Path("/usr/lib/x86_64-linux-gnu/libc_malloc_debug.so.0")


def digest(codec: str, kind: str, colours: str, jobs: int, frames: int, size: str) -> str:
    """Of the movie, forward and backward, made by so many workers; what the codec says where it refuses the size."""
    width, height = map(int, size.split("x"))
    settings = Settings(codec=codec, small=kind == "small", jobs=jobs, fps=25)
    shape = (height, width, 3) if colours == "colour" else (height, width)
    random = np.random.default_rng(1)
    noise = [random.integers(0, 256, shape, np.uint8) for _ in range(frames)]
    pictures = [np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.8), np.uint8).reshape(shape) for picture in noise]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"x.{settings.format}"
        try:
            writer = open_movie(path, shape, settings, jobs, "x")
            with Workers(jobs) as workers, workers.share() as share:
                packets = list(share.map(lambda: _encoder(writer), enumerate(pictures)))
            for packet in packets + packets[-2:0:-1]:
                writer.write(packet)
            writer.close()
        except Mrc2movieError as error:
            return str(error)
        facts = MovieFacts(max(frames, 2 * frames - 2), writer.width, writer.height, 25)
        writer.verify(facts, {0: pictures[0]})
        return hashlib.md5(path.read_bytes()).hexdigest()


def _encoder(writer: MovieWriter) -> Callable[[tuple[int, Frame]], Packet]:
    encode = writer.encoder()
    return lambda item: encode(item[1], item[0])


def digests(
    codec: str, kind: str, colours: str, jobs: int, frames: int, sizes: list[str], noise: int = 1, timeout: float = 60
) -> dict[str, str]:
    """By size, from a process of its own in which the C library checks the memory.

    Args:
        codec: Its name.
        kind: ``plain`` or ``small``.
        colours: ``grey`` or ``colour``.
        jobs: Workers.
        frames: Frames one way.
        sizes: ``WIDTHxHEIGHT``.
        noise: 1 … 255: what memory holds that nobody has written.
        timeout: Seconds.
    """
    checks = {"LD_PRELOAD": str(_CHECKING), "MALLOC_CHECK_": "3"} if _CHECKING.exists() else {}
    words = [sys.executable, __file__, codec, kind, colours, str(jobs), str(frames), *sizes]
    environment = {**os.environ, **checks, "MALLOC_PERTURB_": str(noise)}
    done = subprocess.run(words, env=environment, timeout=timeout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{codec} {kind} {colours}: status {done.returncode} after {done.stdout}{done.stderr}"
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def main() -> None:
    """Encode and print."""
    codec, kind, colours, jobs, frames, *sizes = sys.argv[1:]
    for size in sizes:
        print(size, digest(codec, kind, colours, int(jobs), int(frames), size), flush=True)


if __name__ == "__main__":
    main()
