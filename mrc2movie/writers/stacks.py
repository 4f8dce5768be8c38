"""Images restacked beside the movie: stacks of so many across files, with what is known of each image.

A directory holds for every stack, numbered from 000000 on:

- ``stack_000000.mrcs``: the images, an MRC2014 stack as RELION and cryoSPARC have it, row 0 at the bottom.
- ``stack_000000.star``: RELION 3.1: optics groups, and for each image its CTF in Å and degrees; the
  ``rlnImageOriginalName`` is the image that it was made of, counted from 1.
- ``stack_000000.npz``: the same as arrays of one value an image, angles in radians, with ``source`` (the paths of the
  files), ``source_of`` (the place of each image's file among them) and ``index`` (counted from 0).
- ``stack_000000_fourier.npy``: the images in Fourier space, (images, rows, columns) complex64. The origin of an image
  is its pixel [rows // 2, columns // 2], and that of its transform, the frequency 0, lies at the same place. The
  transform is unitary: the sum of the squared amplitudes is that of the squared pixels.
- ``stack_000000_spectrum.png``: the mean of the squared amplitudes over all images, as logarithm.
- ``stack_000000_images.png``: up to 100 of the images, evenly spaced, with their numbers in the stack.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mrc2movie.errors import saying
from mrc2movie.picture.plain import plain_picture
from mrc2movie.picture.render import Frame
from mrc2movie.picture.sheet import evenly_spaced
from mrc2movie.readers.volume import ImageTable, Section
from mrc2movie.store.spool import PositionedFile
from mrc2movie.writers.mrc import MrcWriter
from mrc2movie.writers.product import Product, Work
from mrc2movie.writers.stills import contact_sheet, of_size, write_png
from mrc2movie.writers.volume import Grid, Plane, VoxelStatistics

_BACKGROUND = 0.375
"""The radius of the disc, of the shorter side: RELION's default is a circle with a diameter of 75 % of the box."""
_SHOWN = 100
_CELL_SIDE = 96
_SPECTRUM_SIDE = 512
_NOT_WRITTEN = "the stacks cannot be written"

_STAR_COLUMNS = (
    ("rlnDefocusU", "defocus_u_A"),
    ("rlnDefocusV", "defocus_v_A"),
    ("rlnDefocusAngle", "defocus_angle_degrees"),
    ("rlnPhaseShift", "phase_shift_degrees"),
    ("rlnTomoNominalStageTiltAngle", "tilt_degrees"),
)
_OPTICS_COLUMNS = (
    ("rlnVoltage", "voltage_kV"),
    ("rlnSphericalAberration", "cs_mm"),
    ("rlnAmplitudeContrast", "amplitude_contrast"),
    ("rlnImagePixelSize", "pixel_size_A"),
)
_ANGLES = ("defocus_angle_degrees", "phase_shift_degrees", "tilt_degrees")


def stack_starts(
    file_of: NDArray[np.integer[Any]], batch_size: int, *, combine: bool, at_most: int | None
) -> NDArray[np.int64]:
    """The number of the first image of every stack, and of the one behind the last stack.

    Args:
        file_of: (images,) the file of each, by a number.
        batch_size: A stack has so many images at most.
        combine: Whether a stack may hold images of several files.
        at_most: So many stacks, if given.
    """
    count = len(file_of)
    if combine:
        starts = np.arange(0, count, batch_size)
    else:
        runs = np.flatnonzero(np.diff(file_of, prepend=file_of[0] - 1))
        ends = np.append(runs[1:], count)
        starts = np.concatenate([np.arange(run, end, batch_size) for run, end in zip(runs, ends, strict=True)])
    starts = np.append(starts, count).astype(np.int64)
    return starts if at_most is None else starts[: at_most + 1]


def normalised(image: NDArray[np.generic]) -> NDArray[np.float32]:
    """An image with mean 0 and standard deviation 1 of the pixels outside a disc, as RELION's extraction leaves it.

    The disc is around pixel [rows // 2, columns // 2] and has three eighths of the shorter side as radius. Where
    nothing varies there, the deviation stays as it is.

    Args:
        image: (y, x), real.
    """
    rows, columns = image.shape
    down, across = np.arange(rows)[:, None] - rows // 2, np.arange(columns) - columns // 2
    outside = image[down**2 + across**2 > (_BACKGROUND * min(rows, columns)) ** 2].astype(np.float64)
    finite = outside[np.isfinite(outside)]
    if not finite.size:
        return image.astype(np.float32)
    standard: NDArray[np.float32] = ((image - finite.mean()) / (finite.std() or 1.0)).astype(np.float32)
    return standard


def centred_transform(image: NDArray[np.generic]) -> NDArray[np.complex64]:
    """The unitary Fourier transform of an image, both with their origin in the middle; see the module.

    Args:
        image: (y, x), real; what is not finite counts as the mean of the rest.
    """
    pixels = image.astype(np.float32)
    finite = np.isfinite(pixels)
    if not finite.all():
        pixels = np.where(finite, pixels, pixels[finite].mean() if finite.any() else np.float32(0))
    transform = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(pixels), norm="ortho"))
    return transform.astype(np.complex64, copy=False)


@dataclass(frozen=True)
class Plan:
    """What is restacked.

    Attributes:
        directory: Where, under its hidden name.
        starts: See `stack_starts`.
        numbers: The section of each image.
        grid: Of a stack of one image.
        table: What is known of each section.
        voxels: A pixel of an image covers so many of the section, along (y, x).
        normalise: Whether each image is normalised.
        fourier: Whether the transforms are written as well.
        backward: Whether the images pass by from the last to the first.
        row0_at_bottom: Whether the first row of a section is the bottom of the picture.
    """

    directory: Path
    starts: NDArray[np.int64]
    numbers: Sequence[int]
    grid: Grid
    table: ImageTable
    voxels: tuple[float, float]
    normalise: bool
    fourier: bool
    backward: bool
    row0_at_bottom: bool


class Stacks(Product):
    """The stacks of one file.

    Args:
        plan: What they are.
        watch: Measures the time.
    """

    def __init__(self, plan: Plan, watch: Callable[[], AbstractContextManager[None]]) -> None:
        self._plan = plan
        self._watch = watch
        self._last = len(plan.numbers) - 1
        self._open: dict[int, _Stack] = {}
        self._lock = threading.Lock()
        with saying(_NOT_WRITTEN):
            plan.directory.mkdir()

    def worker(self) -> Work:
        """Write an image to its place; the part is its stack and its statistics."""
        plan = self._plan

        def work(position: int, section: Section, frame: Frame) -> tuple[int, VoxelStatistics] | None:
            image = self._last - position if plan.backward else position
            which = int(np.searchsorted(plan.starts, image, "right")) - 1
            if which == len(plan.starts) - 1:
                return None
            with self._watch():
                upward = section[:: 1 if plan.row0_at_bottom else -1]
                pixels = normalised(upward) if plan.normalise else upward
                with np.errstate(over="ignore", invalid="ignore"):
                    plane = np.ascontiguousarray(pixels, plan.grid.dtype)
                self._stack(which).put(image - int(plan.starts[which]), plane, frame)
                return which, VoxelStatistics.of(plane)

        return work

    def _stack(self, which: int) -> "_Stack":
        with self._lock:
            if which not in self._open:
                self._open[which] = _Stack(self._plan, which)
            return self._open[which]

    def take(self, part: tuple[int, VoxelStatistics] | None) -> None:
        """Complete a stack with its last image."""
        if part is None:
            return
        which, statistics = part
        with self._watch():
            if self._open[which].count(statistics):
                self._open.pop(which).finish()

    def finish(self) -> None:
        """All stacks are complete."""

    def abandon(self) -> None:
        """Nothing is closed while threads may write."""

    def release(self) -> None:
        """Close all files, when no thread uses them any more."""
        for stack in self._open.values():
            stack.release()


class _Stack:
    """One stack, whose images come in any order and from several threads.

    Args:
        plan: Of all stacks.
        which: Its number.
    """

    def __init__(self, plan: Plan, which: int) -> None:
        self._plan = plan
        self._images = slice(int(plan.starts[which]), int(plan.starts[which + 1]))
        self._count = self._images.stop - self._images.start
        self._name = f"stack_{which:06d}"
        _, rows, columns = plan.grid.shape
        self._mrc = MrcWriter(self._path(".mrcs"), replace(plan.grid, shape=(self._count, rows, columns)))
        self._fourier = _Transforms(self._path("_fourier.npy"), (self._count, rows, columns)) if plan.fourier else None
        self._power = np.zeros((rows, columns))
        self._lock = threading.Lock()
        self._cells: dict[int, Frame | None] = dict.fromkeys(evenly_spaced(self._count, _SHOWN))
        self._ends: dict[int, Plane] = {}
        self._statistics = VoxelStatistics()
        self._taken = 0

    def _path(self, ending: str) -> Path:
        return self._plan.directory / (self._name + ending)

    def put(self, place: int, plane: Plane, frame: Frame) -> None:
        """Write an image to its place; from any thread."""
        self._mrc.encode(place, plane)
        transform = centred_transform(plane)
        if self._fourier:
            self._fourier.put(place, transform)
        power = np.square(transform.real) + np.square(transform.imag)
        with self._lock:
            self._power += power
        if place in self._cells:
            self._cells[place] = of_size(frame, _CELL_SIDE)
        if place in (0, self._count - 1):
            self._ends[place] = plane.copy()

    def count(self, statistics: VoxelStatistics) -> bool:
        """One more image is written; whether it was the last."""
        self._statistics += statistics
        self._taken += 1
        return self._taken == self._count

    def finish(self) -> None:
        """Complete and verify the stack, and write what is told of it."""
        self._mrc.finish(self._statistics)
        self._mrc.verify(self._ends)
        self.release()
        numbers = np.asarray(self._plan.numbers[self._images], np.int64)
        known = _known(self._plan, numbers)
        with saying(_NOT_WRITTEN):
            star = _star(self._plan.table, numbers, known, f"{self._name}.mrcs", self._plan.grid.shape[2])
            self._path(".star").write_text(star, "utf-8", "surrogateescape")
            with self._path(".npz").open("wb") as file:
                np.savez(file, **_arrays(self._plan.table, numbers, known))
            write_png(self._path("_spectrum.png"), spectrum_picture(self._power / self._count))
            cells = {place: cell for place, cell in self._cells.items() if cell is not None}
            sheet = contact_sheet(list(cells.values()), [str(place + 1) for place in cells])
            write_png(self._path("_images.png"), sheet)

    def release(self) -> None:
        """Close the files; harmless where that was done before."""
        self._mrc.release()
        if self._fourier:
            self._fourier.release()


class _Transforms:
    """A NumPy file of complex64 whose images are written by position."""

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        with saying(_NOT_WRITTEN):
            self._file = path.open("xb", buffering=0)
            npy.write_array_header_1_0(self._file, {"descr": "<c8", "fortran_order": False, "shape": shape})
            self._start = self._file.tell()
        self._bytes = PositionedFile(self._file.fileno())

    def put(self, place: int, transform: NDArray[np.complex64]) -> None:
        stored = np.ascontiguousarray(transform, "<c8")
        with saying(_NOT_WRITTEN):
            self._bytes.write(self._start + place * stored.nbytes, stored.data.cast("B"))

    def release(self) -> None:
        self._file.close()


def _known(plan: Plan, numbers: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """What is known of some sections, by our names; the pixel size is that of the image, and squares are assumed."""
    known = {name: values[numbers] for name, values in plan.table.numbers.items()}
    if "pixel_size_A" in known:
        known["pixel_size_A"] = known["pixel_size_A"] * plan.voxels[1]
    return known


def _arrays(table: ImageTable, numbers: NDArray[np.int64], known: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    files, source_of = np.unique(table.file_of[numbers], return_inverse=True)
    arrays: dict[str, Any] = {
        name.replace("_degrees", "_rad"): np.deg2rad(values) if name in _ANGLES else values
        for name, values in known.items()
    }
    sources = np.array([str(table.files[place]).encode("utf-8", "surrogateescape") for place in files])
    return {**arrays, "source": sources, "source_of": source_of, "index": table.index[numbers]}


def _star(
    table: ImageTable, numbers: NDArray[np.int64], known: Mapping[str, NDArray[np.float64]], stack: str, side: int
) -> str:
    """The text of a star; columns of which nothing is known are left out."""
    optics = {name: known[ours] for name, ours in _OPTICS_COLUMNS if np.isfinite(known.get(ours, np.nan)).any()}
    combined = np.array([np.zeros(len(numbers)), *optics.values()]).T
    combined[np.isnan(combined)] = -np.inf  # no two NaN are equal, and each would be a group of its own
    groups, group_of = np.unique(combined, axis=0, return_inverse=True)
    groups[np.isneginf(groups)] = np.nan
    columns = {
        "rlnImageName": [f"{place:06d}@{stack}" for place in range(1, len(numbers) + 1)],
        "rlnOpticsGroup": [str(group + 1) for group in group_of.ravel()],
        "rlnImageOriginalName": [
            _quoted(f"{table.index[number] + 1:06d}@{table.files[table.file_of[number]]}") for number in numbers
        ],
        **{
            name: [f"{value:.6f}" for value in known[ours]]
            for name, ours in _STAR_COLUMNS
            if np.isfinite(known.get(ours, np.nan)).any()
        },
    }
    if np.isfinite(classes := known.get("class_number", np.array([np.nan]))).all():
        columns["rlnClassNumber"] = [f"{number:.0f}" for number in classes]
    shared = {
        "rlnOpticsGroupName": [f"opticsGroup{group}" for group in range(1, len(groups) + 1)],
        "rlnOpticsGroup": [str(group) for group in range(1, len(groups) + 1)],
        **{name: [f"{value:.6f}" for value in groups[:, place]] for place, name in enumerate(optics, start=1)},
        "rlnImageSize": [str(side)] * len(groups),
        "rlnImageDimensionality": ["2"] * len(groups),
    }
    return _loop("optics", shared) + _loop("particles", columns)


def _loop(block: str, columns: Mapping[str, Sequence[str]]) -> str:
    head = [f"_{name} #{place} " for place, name in enumerate(columns, start=1)]
    rows = (" ".join(row) + " " for row in zip(*columns.values(), strict=True))
    return "\n".join(["", "# version 30001", "", f"data_{block}", "", "loop_ ", *head, *rows, " ", ""])


def _quoted(text: str) -> str:
    return f'"{text}"' if any(character.isspace() for character in text) else text


def spectrum_picture(power: NDArray[np.float64]) -> Frame:
    """A power spectrum as a picture: the logarithm of all but the brightest and the darkest thousandth."""
    return of_size(plain_picture(np.log10(np.maximum(power, np.finfo(np.float32).tiny))), _SPECTRUM_SIDE)
