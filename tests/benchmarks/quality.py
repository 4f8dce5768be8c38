"""Whether ``--quality`` means the same picture in every codec, and what ``--small`` saves.

Run it with the package installed: ``python tests/benchmarks/quality.py [--size 512] [--sections 12]``.

For each kind of data and each codec it prints the luma PSNR of the decoded frames against the 8-bit frames (dB, and
how much that is above or below MJPG at the same quality), and kB a frame, forward and backward.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie import Settings
from mrc2movie.demo import tilt_images, tomogram_sections
from mrc2movie.picture.filters import Shrink
from mrc2movie.picture.greys import GreyRange
from mrc2movie.picture.render import Frame, Renderer, RenderOptions
from mrc2movie.writers import open_movie

QUALITIES = (50, 75, 90, 95)
WAYS: dict[str, dict[str, object]] = {
    "MJPG": {},
    "H264": {"codec": "H264"},
    "H264 small": {"codec": "H264", "small": True},
    "HEVC": {"codec": "HEVC"},
    "HEVC small": {"codec": "HEVC", "small": True},
    "VP9": {"codec": "VP9"},
    "VP9 small": {"codec": "VP9", "small": True},
    "AV1": {"codec": "AV1"},
    "AV1 small": {"codec": "AV1", "small": True},
    "PRORES": {"codec": "PRORES"},
}
BLACK_AND_WHITE = {"yuv420p": (16, 235), "yuvj420p": (0, 255), "yuv422p10le": (64, 940)}


def decoded(path: Path) -> Iterator[NDArray[np.float32]]:
    """The grey values of each frame, (h, w), 0 black and 255 white."""
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.video[0]):
            black, white = BLACK_AND_WHITE[frame.format.name]
            dtype = np.uint16 if white > 255 else np.uint8
            luma = np.frombuffer(memoryview(frame.planes[0]), dtype).reshape(frame.height, -1)[:, : frame.width]
            yield (luma.astype(np.float32) - black) * np.float32(255 / (white - black))


def psnr(path: Path, frames: Sequence[Frame]) -> float:
    """Of the first frames of a movie, in dB."""
    errors = [
        np.mean(np.square(np.rint(shown).clip(0, 255) - frame))
        for shown, frame in zip(decoded(path), frames, strict=False)
    ]
    return float(10 * np.log10(255**2 / np.mean(errors)))


def write(path: Path, frames: Sequence[Frame], settings: Settings) -> None:
    """Write the frames forward and backward."""
    writer = open_movie(path, frames[0].shape, settings)
    encode = writer.encoder()
    packets = [encode(frame, position) for position, frame in enumerate(frames)]
    for packet in packets + packets[-2:0:-1]:
        writer.write(packet)
    writer.close()


def rendered(sections: Sequence[NDArray[np.generic]]) -> list[Frame]:
    """With the contrast of the defaults, hot pixels left out."""
    sample = np.stack(sections)[:, ::3, ::3]
    low, high = np.percentile(sample, (0.05, 99.95))
    renderer = Renderer(RenderOptions(GreyRange(float(low), float(high)), True, 2.0, (8, 8)))
    return [renderer(section).copy() for section in sections]


def kinds(size: int, count: int) -> Iterator[tuple[str, list[Frame]]]:
    """The data: names and frames."""
    sections = list(tomogram_sections(size, count + 10))
    yield "noisy tomogram", rendered(sections[:count])
    yield "tilt series", rendered(list(tilt_images(size, np.linspace(-60, 60, count))))
    yield "binned by 4", rendered([Shrink(size // 4)(section) for section in sections[:count]])
    for average in (5, 11):
        means = [np.mean(sections[start : start + average], axis=0) for start in range(count)]
        yield f"running mean of {average}", rendered(means)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--sections", type=int, default=12)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as directory:
        for kind, frames in kinds(given.size, given.sections):
            print(f"\n{kind:20}" + "".join(f"{f'quality {quality}':>24}" for quality in QUALITIES))
            reference: dict[int, float] = {}
            for name, options in WAYS.items():
                line = f"{name:20}"
                for quality in QUALITIES:
                    settings = Settings(quality=quality, **options)  # type: ignore[arg-type]
                    path = Path(directory) / f"movie.{settings.format}"
                    write(path, frames, settings)
                    found = psnr(path, frames)
                    kilobytes = path.stat().st_size / (2 * len(frames) - 2) / 1e3
                    line += f"{found:8.2f} {found - reference.setdefault(quality, found):+5.2f} {kilobytes:6.1f} kB"
                print(line, flush=True)


if __name__ == "__main__":
    main()
