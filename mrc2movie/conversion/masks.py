"""Segmentations of a volume: files of labels, of one feature each, or of probabilities, read as a movie needs them."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError, about
from mrc2movie.options.settings import Settings
from mrc2movie.picture.geometry import Geometry
from mrc2movie.picture.overlays import PALETTE, Colour, ColourStamp, line_width
from mrc2movie.picture.regions import MaskGeometry, paint_region
from mrc2movie.picture.render import Frame
from mrc2movie.picture.selection import Selection
from mrc2movie.readers import open_volume
from mrc2movie.readers.resliced import along
from mrc2movie.readers.told import ReversedRows
from mrc2movie.readers.volume import Load, Section, Volume
from mrc2movie.workers import Share

_HALF = 0.5
"""Of a probability: more is in the feature."""
_MOST_LABELS = 1024
_KEPT_PLANES, _KEPT_BYTES = 4, 2**24
"""What is drawn of the latest planes is kept, where it is not more than so many bytes of each."""
_OPENCV_DTYPES = (np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float32)


Stamps: TypeAlias = "Sequence[tuple[ColourStamp, int, int]]"
"""What is drawn, and the row and column of the frame where it belongs."""


@dataclass(frozen=True)
class Found:
    """What is in a section, or in all sections of a mask.

    Attributes:
        labels: The whole numbers above 0, but no more than a few.
        are_whole: Whether all values are whole numbers.
    """

    labels: frozenset[int] = frozenset()
    are_whole: bool = True


class Mask:
    """A segmentation over the sections of one movie.

    Args:
        volume: The mask, in the direction in which the volume is shown; ready for all its planes in any order.
        lies: How it lies over the frames.
        selection: The sections shown.
        threshold: What is more is in the feature; None where labels tell.
        colours: Of the labels, or of 1 where a threshold tells.
    """

    def __init__(
        self,
        volume: Volume,
        lies: MaskGeometry,
        selection: Selection,
        threshold: float | None,
        colours: dict[int, Colour],
    ) -> None:
        self._volume = volume
        self._lies = lies
        self._selection = selection
        self._threshold = threshold
        self._colours = colours
        self._thick = 3 if line_width(lies.geometry.shape) < 4 else 5
        self._reading, self._painting = threading.Lock(), threading.Lock()
        self._painted: dict[int, Future[Stamps]] = {}
        self._own = threading.local()

    def draw(self, frame: Frame, position: int) -> None:
        """Draw the features onto a frame, (h, w, 3), in place: those in the middle of a slab."""
        numbers = self._selection.neighbours(position)
        for stamp, top, left in self._stamps(self._lies.plane((min(numbers) + max(numbers)) / 2), frame.shape):
            stamp.draw(frame, top, left)

    def _stamps(self, plane: int, shape: tuple[int, ...]) -> Stamps:
        """What is drawn of a plane, painted once: several sections in turn show the same plane of a binned mask."""
        with self._painting:
            if is_new := plane not in self._painted:
                self._painted[plane] = Future()
                while len(self._painted) > _KEPT_PLANES:
                    del self._painted[next(iter(self._painted))]
            painted = self._painted[plane]
        if is_new:
            self._paint(plane, shape, painted)
        return painted.result()

    def _paint(self, plane: int, shape: tuple[int, ...], painted: "Future[Stamps]") -> None:
        """Paint a plane for all who want it; what is too large to be kept is painted anew for those that come later."""
        try:
            stamps: list[tuple[ColourStamp, int, int]] = []
            for feature, colour in self._features(self._read(plane)):
                if placed := self._lies.on_frame(feature):
                    stamps += paint_region(*placed, shape, colour, self._thick)
            painted.set_result(stamps)
        except BaseException as error:
            painted.set_exception(error)
            return
        if sum(2 * stamp.ink.nbytes for stamp, _, _ in stamps) > _KEPT_BYTES:
            with self._painting:
                self._painted.pop(plane, None)

    def _read(self, plane: int) -> Section:
        if not hasattr(self._own, "scratch"):
            self._own.scratch = np.empty(self._volume.scratch_bytes, np.uint8)
        with about(self._volume.path):
            with self._reading:
                load = self._volume.section(plane)
            return load(self._own.scratch)

    def _features(self, section: Section) -> Iterator[tuple[NDArray[np.uint8], Colour]]:
        """(rows, columns) of the mask, 255 in the feature, and its colour; labels of one colour together."""
        seen: NDArray[Any] = section if section.dtype in _OPENCV_DTYPES else section.astype(np.float32)
        if self._threshold is not None:
            least, most = _above(self._threshold, seen.dtype)
            yield np.asarray(cv2.inRange(seen, least, most), np.uint8), self._colours[1]
        elif len(self._colours) <= len(PALETTE):
            for label, colour in self._colours.items():
                yield np.asarray(cv2.inRange(seen, label, label), np.uint8), colour
        else:
            shades = dict.fromkeys(self._colours.values())
            for shade in shades:
                labels = [label for label, colour in self._colours.items() if colour == shade]
                yield 255 * np.isin(section, np.array(labels, section.dtype)).astype(np.uint8), shade


def masks(
    paths: Sequence[tuple[Path, str]],
    settings: Settings,
    geometry: Geometry,
    selection: Selection,
    shape: tuple[int, int, int],
    row0_at_bottom: bool,
    palette: Callable[[], Colour],
    workers: Share,
    opened: ExitStack,
    directory: Path,
) -> tuple[Sequence[Mask], Sequence[tuple[str, Colour]]]:
    """Open the masks of a volume, and give each of their features a colour.

    Args:
        paths: The files, and what each is about, where its name tells that.
        settings: The axis and the threshold.
        geometry: Of the frames.
        selection: The sections shown.
        shape: (planes, rows, columns) of the volume, in the direction in which it is shown.
        row0_at_bottom: Whether the first row of the volume, as it is stored, is the bottom of its picture.
        palette: Gives a colour to each feature in turn.
        workers: What the file uses of the threads of the run.
        opened: Closes the masks.
        directory: Where temporary files go.

    Returns:
        The masks, and the legend.

    Raises:
        InputError: One cannot be read, does not fit the volume, or has nothing in it.
    """
    made, legend = [], []
    for path, feature in paths:
        with about(path):
            volume = _open(path, settings, row0_at_bottom, workers, opened, directory)
            if volume.description.colour:
                raise InputError("is in colour, and so no mask", "name another")
            lies = MaskGeometry.of(geometry, shape, volume.description.shape)
            threshold = settings.mask_threshold
            found = Found(frozenset([1])) if threshold is not None else _survey(volume, workers)
            if not found.are_whole:
                threshold, found = _HALF, Found(frozenset([1]))
            if not found.labels:
                raise InputError("has nothing in it: no label above 0", "is it a mask? --mask-threshold VALUE says so")
            colours = {label: palette() for label in sorted(found.labels)[: len(PALETTE)]}
            several = len(found.labels) > 1
            legend += [
                (f"{feature or 'label'} {label}" if several else feature, colour) for label, colour in colours.items()
            ]
            if len(found.labels) > len(PALETTE):  # instances of one kind: their numbers mean nothing
                legend = legend[: -len(colours)]
                shades = list(colours.values())
                colours = {label: shades[label % len(shades)] for label in found.labels}
                if feature:
                    legend.append((feature, shades[0]))
            made.append(Mask(volume, lies, selection, threshold, colours))
    return made, [(name, colour) for name, colour in legend if name]


def _open(
    path: Path, settings: Settings, row0_at_bottom: bool, workers: Share, opened: ExitStack, directory: Path
) -> Volume:
    """The mask in the direction in which the volume is shown, ready for all its planes in any order."""
    volume: Volume = opened.enter_context(open_volume(path, "auto", directory))
    # Programs that write masks as MRC keep the order of the rows, and say nothing of it; a TIFF file begins at the top.
    if row0_at_bottom and not volume.description.row0_at_bottom:
        volume = ReversedRows(volume)
    volume = opened.enter_context(along(volume, settings.axis, workers, directory))
    volume.expect(range(volume.description.shape[0]), rising=False)
    return volume


def _survey(volume: Volume, workers: Share) -> Found:
    """What is in a mask; of probabilities a glance at the first section that has some is enough."""

    def make_worker() -> Callable[[Load], Found]:
        scratch = np.empty(volume.scratch_bytes, np.uint8)
        return lambda load: _found_in(load(scratch))

    labels: set[int] = set()
    loads = (volume.section(number) for number in range(volume.description.shape[0]))
    for found in workers.map(make_worker, loads):
        if not found.are_whole:
            return found
        labels |= found.labels
        if len(labels) > _MOST_LABELS:
            raise InputError(
                f"has more than {_MOST_LABELS} different values, and so no labels",
                "--mask-threshold VALUE takes what is more than that",
            )
    return Found(frozenset(labels))


def _found_in(section: Section) -> Found:
    """What is in a section."""
    if section.dtype == np.uint8:
        return Found(frozenset((np.flatnonzero(np.bincount(section.ravel(), minlength=256)[1:]) + 1).tolist()))
    some = section[section != 0]
    if some.dtype.kind == "f":
        some = some[np.isfinite(some)]
        if not (some == np.rint(some)).all():
            return Found(are_whole=False)
    values = np.unique(some[some > 0])
    return Found(frozenset(values[: _MOST_LABELS + 1].astype(np.int64).tolist()))


def _above(threshold: float, dtype: np.dtype[Any]) -> tuple[float, float]:
    """The smallest value of a type that is more than a threshold, and the largest of all."""
    if dtype.kind in "iu":  # OpenCV takes an infinite limit of whole numbers for the smallest one
        return math.floor(threshold) + 1, int(np.iinfo(dtype).max)
    return float(np.nextafter(dtype.type(threshold), dtype.type(np.inf))), math.inf
