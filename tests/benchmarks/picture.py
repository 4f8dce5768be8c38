"""What an expert would see: contrast to noise, feature over grain and the spread of greys of the movies' frames.

    python tests/benchmarks/picture.py [--data DIR ...] [--only TEXT] [--keep DIR] [--ways NAME=OPTIONS ...]

Every frame is decoded from the movie that the command writes. Simulated data need nothing; real ones are those of
DIR that are found there: ``mt13pf_mode2.mrc`` (microtubules, from the tests of cylindra), and ``fei-extended.mrc`` and
``epu2.9_example.mrc`` (micrographs, from the source distribution of mrcfile).

CNR is the difference between the medians of features and ground over the deviation of the ground, after a Gaussian
like the eye's. Feature over grain is this difference over the deviation of what the Gaussian took away, in the ground.
Spread is the deviation of the frame's greys, also without local contrast. What features and ground are depends on the
data, never on the frame: see `Scene`. Blur and masks are in pixels of the file, scaled to the frame.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import mrcfile
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

WAYS: Mapping[str, str] = {
    "min/max": "--range minmax --clip-limit 0",
    "mean ± 3 sigma": "--range sigma:3 --clip-limit 0",
    "percentiles 0.1, 99.9": "--range percentile:0.1,99.9 --clip-limit 0",
    "percentiles 1, 99": "--range percentile:1,99 --clip-limit 0",
    "default, CLAHE off": "--clip-limit 0",
    "default": "",
    "preset tilt": "--preset tilt",
    "preset tomogram": "--preset tomogram",
}
UNMARKED = ("--label", "none", "--no-scale-bar", "--playback", "forward")
"""What is written over the picture is neither feature nor ground."""

VOXEL_A, DEFOCUS_UM, SNR = 10.0, 4.0, 0.05


@dataclass(frozen=True)
class Scene:
    """Data, and what of one of its sections is to be seen.

    Attributes:
        name: In the table.
        path: The MRC file.
        section: The number of the section that is measured.
        features: (y, x), where there are features; row 0 as in the file.
        ground: (y, x), where there are surely none.
        blur: The eye's, standard deviation in pixels of the file; 0 where the truth is known.
    """

    name: str
    path: Path
    section: int
    features: NDArray[np.bool_]
    ground: NDArray[np.bool_]
    blur: float


@dataclass(frozen=True)
class Seen:
    """What is measured in a frame."""

    cnr: float
    over_grain: float
    spread: float


def blurred(image: NDArray[Any], deviation: float) -> Image:
    """Smoothed with a Gaussian, float32."""
    image = image.astype(np.float32)
    return image if deviation <= 0 else np.asarray(cv2.GaussianBlur(image, (0, 0), deviation), np.float32)


def measure(scene: Scene, frame: NDArray[np.uint8], upside_down: bool) -> Seen:
    """Measure the frame of the scene's section.

    Args:
        scene: Features and ground.
        frame: (h, w), as decoded; of another size than the section where the command shrinks it.
        upside_down: Whether row 0 of the file is the last of the frame.
    """
    greys = np.flipud(frame) if upside_down else frame
    size = greys.shape[1], greys.shape[0]
    features, ground = (
        cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
        for mask in (scene.features, scene.ground)
    )
    seen = blurred(greys, scene.blur * greys.shape[0] / scene.features.shape[0])
    difference = abs(float(np.median(seen[features])) - float(np.median(seen[ground])))
    grain = float((greys - (seen if scene.blur else blurred(greys, 1.5)))[ground].std())
    return Seen(difference / max(float(seen[ground].std()), 1e-6), difference / max(grain, 1e-6), float(greys.std()))


def decoded(movie: Path, number: int) -> NDArray[np.uint8]:
    """One frame of a movie, (h, w), grey."""
    capture = cv2.VideoCapture(str(movie), cv2.CAP_FFMPEG)
    for _ in range(number + 1):
        found, frame = capture.read()
        assert found, f"{movie} has no frame {number}"
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), np.uint8)


def shown(source: Path, number: int, options: Sequence[str]) -> NDArray[np.uint8]:
    """The frame that the command makes of a section, (h, w)."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "mrc2movie", str(source), directory, "--quiet", *options, *UNMARKED]
        subprocess.run(command, check=True)
        (movie,) = (path for path in Path(directory).iterdir() if path.suffix in (".avi", ".mp4"))
        return decoded(movie, number)


def is_upside_down(source: Path, number: int) -> bool:
    """Whether the command shows row 0 of this file at the bottom."""
    section = sections_of(source)[number].astype(np.float32)
    section = section.clip(*np.percentile(section, (1, 99)))
    frame = shown(source, number, ("--range", "percentile:1,99", "--clip-limit", "0")).astype(np.float32)
    straight, turned = (
        float(np.corrcoef(blurred(frame, 2).ravel(), blurred(candidate, 2).ravel())[0, 1])
        for candidate in (section, np.flipud(section))
    )
    assert max(straight, turned) > 0.8, "the frame does not show the section"
    return turned > straight


def sections_of(path: Path) -> NDArray[Any]:
    """The sections, (z, y, x), as a memory map."""
    with mrcfile.mmap(path, permissive=True) as mrc:
        return np.asarray(mrc.data).reshape(-1, *mrc.data.shape[-2:])


def micrograph(name: str, path: Path) -> Scene:
    """Of features of 12 to 150 pixels the darkest 5 %; the ground is all above the 40th percentile."""
    section = sections_of(path)[0]
    band = blurred(section, 12) - blurred(section, 150)
    dark, middle = np.percentile(band, (5, 40))
    return Scene(name, path, 0, band <= dark, band > middle, 4)


def microtubules(name: str, path: Path) -> Scene:
    """The brightest 8 % of the smoothed mean of 5 sections; the ground is more than 6 pixels away from them."""
    sections = sections_of(path)
    middle = len(sections) // 2
    mean = blurred(sections[middle - 2 : middle + 3].mean(axis=0), 1.5)
    features = mean >= np.percentile(mean, 92)
    away = cv2.distanceTransform((~features).astype(np.uint8), cv2.DIST_L2, 5)
    return Scene(name, path, middle, features, away > 6, 1.5)


def truth(depth: int, size: int, seed: int = 4) -> Image:
    """Vesicles and blobs of 250 Å, (z, y, x), from 0 (ice) to 1."""
    rng = np.random.default_rng(seed)
    volume = np.zeros((depth, size, size), np.float32)

    def draw(centre: NDArray[np.float64], reach: float, density: Callable[[Image], Image]) -> None:
        first = np.maximum(np.floor(centre - reach), 0).astype(int)
        last = np.minimum(np.ceil(centre + reach) + 1, volume.shape).astype(int)
        axes = np.ogrid[tuple(slice(*ends) for ends in zip(first, last, strict=True))]
        distance = np.sqrt(sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True)))
        place = volume[tuple(slice(*ends) for ends in zip(first, last, strict=True))]
        np.maximum(place, density(distance.astype(np.float32)), out=place)

    limits = np.array([depth, size, size])
    for _ in range(14 * size // 512):
        radius = float(rng.uniform(250, 600)) / VOXEL_A
        draw(rng.uniform(0, limits), radius + 10, lambda r, at=radius: np.exp(-(((r - at) / 2.0) ** 2)))  # type: ignore[misc]
    for _ in range(220 * size // 512):
        draw(rng.uniform(0, limits), 25, lambda r: 1 / (1 + np.exp((r - 125 / VOXEL_A) / 0.8)))
    return volume


def transfer(frequency: NDArray[np.floating]) -> NDArray[np.floating]:
    """The contrast transfer function at 300 kV for frequencies in 1/Å; below its first zero matter is dark."""
    wavelength, spherical, amplitude = 0.019687, 2.7e7, 0.07
    phase = np.pi * wavelength * frequency**2 * (DEFOCUS_UM * 1e4 - 0.5 * spherical * (wavelength * frequency) ** 2)
    return np.asarray(-np.sin(phase + np.arcsin(amplitude)))


def simulated_tomogram(sections: Image, seed: int = 1) -> Image:
    """What tilts of ±60° leave of the truth: its transfer function, a missing wedge and noise; (z, y, x)."""
    rng = np.random.default_rng(seed)
    z, y = (np.fft.fftfreq(n, VOXEL_A)[:, None] for n in sections.shape[:2])
    x = np.fft.rfftfreq(sections.shape[2], VOXEL_A)
    wedge = np.abs(z) <= np.tan(np.radians(60)) * np.abs(x) + 1e-9  # (z, x)
    frequency = np.sqrt(z[:, None] ** 2 + y[None] ** 2 + x**2).astype(np.float32)
    signal = np.fft.irfftn(
        np.fft.rfftn(sections) * transfer(frequency) * wedge[:, None], s=sections.shape, axes=(0, 1, 2)
    ).astype(np.float32)
    noise = rng.standard_normal(sections.shape, np.float32)
    noise = np.fft.irfftn(np.fft.rfftn(noise) * wedge[:, None], s=sections.shape, axes=(0, 1, 2)).astype(np.float32)
    noise *= float(signal.std() / noise.std()) / SNR**0.5
    return signal + noise


def projection(sections: Image, angle: float) -> Image:
    """The sum along the beam after a tilt around y, (y, x)."""
    depth, rows, columns = sections.shape
    tilt = np.radians(angle)
    image = np.zeros((rows, columns), np.float32)
    for number, section in enumerate(sections):
        shift = columns / 2 * (1 - np.cos(tilt)) + (number - depth / 2) * np.sin(tilt)
        image += cv2.warpAffine(section, np.array([[np.cos(tilt), 0, shift], [0, 1, 0]]), (columns, rows))
    return np.asarray(image / np.cos(tilt), np.float32)


def simulated_tilts(sections: Image, angles: NDArray[np.floating], seed: int = 2) -> NDArray[np.int16]:
    """A tilt series that darkens at high tilt, with hot pixels; (tilt, y, x)."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(
        np.fft.fftfreq(sections.shape[1], VOXEL_A)[:, None], np.fft.rfftfreq(sections.shape[2], VOXEL_A)
    )
    images = []
    for angle in angles:
        matter = projection(sections, float(angle))
        signal = np.fft.irfft2(np.fft.rfft2(matter) * transfer(frequency), s=matter.shape)
        noise = rng.normal(0, signal.std() / SNR**0.5, matter.shape)
        image = 1000 * np.cos(np.radians(angle)) + 60 * (signal + noise) / signal.std() * SNR**0.5
        image[rng.integers(0, image.shape[0], 3), rng.integers(0, image.shape[1], 3)] = 30000
        images.append(image.astype(np.int16))
    return np.stack(images)


def write(path: Path, voxels: NDArray[Any]) -> Path:
    """An MRC file with the voxel size of the simulation."""
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(voxels)
        mrc.voxel_size = VOXEL_A
    return path


def tomogram_scene(name: str, directory: Path) -> Scene:
    """A simulated tomogram, of which the truth is known."""
    sections = truth(128, 512)
    path = write(directory / "simulated_rec.mrc", simulated_tomogram(sections))
    return Scene(name, path, 64, sections[64] > 0.5, sections[64] < 0.02, 0)


def tilt_scene(name: str, directory: Path) -> Scene:
    """A simulated tilt series; what is measured is its untilted image."""
    sections = truth(128, 512)
    path = write(directory / "simulated_tilt.st", simulated_tilts(sections, np.arange(-60.0, 61, 12)))
    matter = projection(sections, 0)
    low, high = np.percentile(matter, (40, 90))
    return Scene(name, path, 5, matter > high, matter < low, 1.5)


SIMULATED: Mapping[str, Callable[[str, Path], Scene]] = {
    "simulated tomogram": tomogram_scene,
    "simulated tilt series": tilt_scene,
}
REAL: Mapping[str, tuple[str, Callable[[str, Path], Scene]]] = {
    "fei-extended.mrc": ("micrograph FEI1", micrograph),
    "epu2.9_example.mrc": ("micrograph FEI2", micrograph),
    "mt13pf_mode2.mrc": ("microtubules", microtubules),
}


def scenes(directory: Path, data: Sequence[Path], only: str) -> Iterator[Scene]:
    """The simulations, and what real data there are, with this text in their name."""
    for name, simulate in SIMULATED.items():
        if only in name:
            yield simulate(name, directory)
    for file, (name, make) in REAL.items():
        if only in name:
            yield from (make(name, path) for path in sorted(p for folder in data for p in folder.rglob(file))[:1])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="directories with real data")
    parser.add_argument("--only", default="", help="scenes with this in their name")
    parser.add_argument("--keep", type=Path, help="write the frames as PNG into this directory")
    parser.add_argument("--ways", nargs="*", help="NAME=OPTIONS in place of the usual ways")
    given = parser.parse_args()
    ways = dict(way.split("=", 1) for way in given.ways) if given.ways else WAYS
    print("| data | way | CNR | feature over grain | spread |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        for scene in scenes(Path(directory), given.data, given.only):
            upside_down = is_upside_down(scene.path, scene.section)
            for name, options in ways.items():
                frame = shown(scene.path, scene.section, options.split())
                seen = measure(scene, frame, upside_down)
                print(
                    f"| {scene.name} | {name} | {seen.cnr:.1f} | {seen.over_grain:.1f} | {seen.spread:.0f} |",
                    flush=True,
                )
                if given.keep:
                    given.keep.mkdir(parents=True, exist_ok=True)
                    cv2.imwrite(str(given.keep / f"{scene.name} - {name}.png".replace("/", " ")), frame)


if __name__ == "__main__":
    main()
