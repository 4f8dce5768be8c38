"""What every reader gives: a volume whose sections are read one at a time."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.readers.scans.scan import Scan

Section: TypeAlias = NDArray[np.generic]
"""(y, x), real, native byte order, row 0 first as in the file; (y, x, 3) uint8 red, green, blue where in colour."""

Load: TypeAlias = Callable[[NDArray[np.uint8]], Section]
"""Reads and decodes one section in any thread; the section may live in the scratch buffer that is handed over."""

VolumeKind: TypeAlias = Literal[
    "tilt series", "volume", "volume stack", "particle stack", "image stack", "image", "transform", "scan"
]
IMAGES: tuple[VolumeKind, ...] = ("tilt series", "particle stack", "image", "transform", "scan")
"""Kinds whose sections do not follow each other in space."""


Axis: TypeAlias = Literal["x", "y", "z"]
AXES: tuple[Axis, Axis, Axis] = ("x", "y", "z")

VoxelSize: TypeAlias = tuple[float, float, float | None]
"""In Å along three directions; the last is None where only the first two are known."""


class SizeLearned(InputError):
    """The end of a compressed stream was met early: the volume's description has changed, and is right now."""


def voxel_size(x: float | None, y: float | None, z: float | None = None) -> VoxelSize | None:
    """The size of a voxel in Å of what is known along (columns, rows, sections); None where a section has none."""
    return (x, y, z) if x and y else None


@dataclass(frozen=True)
class Tilts:
    """The tilt angles of a volume's sections.

    Attributes:
        degrees: One angle a section, in file order.
        origin: Where they were found: ``SERI extended header``, ``a.mrc.mdoc``.
    """

    degrees: tuple[float, ...] = field(repr=False)
    origin: str

    @property
    def vary(self) -> bool:
        """Whether the specimen was tilted between sections: stages report 0.001 where nothing was."""
        return max(self.degrees) - min(self.degrees) >= 1


@dataclass(frozen=True)
class Times:
    """When a volume's sections were taken.

    Attributes:
        seconds: Since the first exposure began, one a section, in file order.
        origin: Where they were found.
    """

    seconds: tuple[float, ...] = field(repr=False)
    origin: str


@dataclass(frozen=True)
class Optics:
    """What is known of the microscope.

    Attributes:
        defocus_um: Under-focus is positive; None where not known, as for the others.
        voltage_kV: Of the beam.
        cs_mm: Spherical aberration.
        origin: Where the defocus was found.
    """

    defocus_um: float | None = None
    voltage_kV: float | None = None
    cs_mm: float | None = None
    origin: str = ""


@dataclass(frozen=True, eq=False)
class ImageTable:
    """What a collection tells of each of its images.

    Attributes:
        files: Where the images lie.
        file_of: (sections,) int32, the place of each image's file in `files`.
        index: (sections,) int64, which image of its file, counted from 0.
        numbers: (sections,) float64 each, by names that carry the unit, see `collection.NUMBERS`; NaN where not known.
    """

    files: Sequence[Path]
    file_of: NDArray[np.int32]
    index: NDArray[np.int64]
    numbers: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of images, such as those of a classification in two dimensions.

    Attributes:
        numbers: (sections,) int64, the class of each image, as the program that made it counts.
        shares: (sections,) float64, which part of all images is in that class; NaN where not known.
        are_averages: Whether each image is the average of its class.
    """

    numbers: NDArray[np.int64]
    shares: NDArray[np.float64]
    are_averages: bool = False


@dataclass(frozen=True)
class Description:
    """What the reader made of a file.

    Attributes:
        shape: (sections, rows, columns) that can be shown.
        dtype: Of the sections, native byte order.
        row0_at_bottom: Whether row 0 is the bottom of the picture.
        voxel_size_A: Along (columns, rows, sections), or None where the file does not tell.
        voxel_size_is_bare: Whether it is exactly 1 Å in the header and nowhere else: most programs write that where
            they know none.
        pixel_size_told_by: Where a collection tells the pixel size of its images; empty where none does.
        header: What the record keeps of the header: names and JSON values.
        axes: The directions that columns, rows and sections follow.
        origin_A: Where the first voxel lies along (columns, rows, sections).
        storage: How the format keeps it: names and values in words.
        kind: What the sections are, as far as the file tells.
        kind_by_name: Whether its name tells that: headers often tell it wrongly.
        images: What a collection tells of each section.
        classes: Of the sections, where they are images in classes.
        section_name: What a section is called, where a number does not tell enough.
        scan: Where the sections were recorded, where they are patterns of a scan.
        thumbnail_file: An image that shows better what was recorded than one of the sections.
        channels: So many sections that follow each other are one image, by another detector each.
        tilts: Their tilt angles, where known for every section.
        optics: What is known of the microscope.
        times: When they were taken, where known for every section.
        other_tilts: Angles that a sidecar lists of another number of sections than the file has.
        colour: Whether sections are in colour, (y, x, 3) uint8.
        notes: What the user may want to know of how the file was read.
        warnings: What the user should know of it.
        missing: Sections that its head promises and that are not there.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    row0_at_bottom: bool
    voxel_size_A: VoxelSize | None
    header: dict[str, object]
    voxel_size_is_bare: bool = False
    axes: tuple[Axis, Axis, Axis] = AXES
    origin_A: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pixel_size_told_by: str = ""
    kind: VolumeKind = "image stack"
    kind_by_name: bool = False
    images: ImageTable | None = field(default=None, repr=False)
    classes: Classes | None = field(default=None, repr=False)
    section_name: Callable[[int], str] | None = field(default=None, repr=False)
    scan: Scan | None = None
    thumbnail_file: Path | None = None
    channels: int = 1
    tilts: Tilts | None = None
    optics: Optics = Optics()
    times: Times | None = None
    other_tilts: tuple[Tilts, ...] = ()
    colour: bool = False
    storage: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    missing: int = 0

    @property
    def section_shape(self) -> tuple[int, ...]:
        """Of a section: (rows, columns), or (rows, columns, 3) in colour."""
        return (*self.shape[1:], 3) if self.colour else self.shape[1:]


class Volume(ABC):
    """An open file of sections; a context manager that closes it.

    Attributes:
        path: The file.
        description: What the reader made of it; that of a compressed stream may still change, see `section`.
        scratch_bytes: Size of the scratch buffer that `Load` needs.
        has_random_access: Whether a section in the middle costs no more than the first one.
    """

    path: Path
    description: Description
    scratch_bytes: int
    has_random_access: bool = True

    @abstractmethod
    def expect(self, numbers: Iterable[int], rising: bool) -> None:
        """Be ready for sections in this order, once or more.

        Args:
            numbers: The sections: by the header there may be billions.
            rising: Whether no number is followed by a lower one.
        """

    @abstractmethod
    def section(self, number: int) -> Load:
        """The way to load a section (counted from 0 in file order).

        Called from one thread, in the order in which the sections are wanted: a reader of a compressed stream
        decompresses here, one with random access does all its work in `Load`, which raises `InputError` where the
        file cannot give the section.

        Raises:
            SizeLearned: A compressed stream ends before this section: look at the description again.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file; no `Load` may be under way."""

    def __enter__(self) -> "Volume":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
