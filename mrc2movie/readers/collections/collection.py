"""What every collection gives: which images of which files, in which order, and what is known of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.readers.volume import VolumeKind

NUMBERS = (
    "pixel_size_A",
    "tilt_degrees",
    "defocus_u_A",
    "defocus_v_A",
    "defocus_angle_degrees",
    "phase_shift_degrees",
    "voltage_kV",
    "cs_mm",
    "amplitude_contrast",
    "class_number",
    "class_share",
)
"""What may be known of an image; the names carry the unit. Under-focus is positive. The share of a class is that of all
images which are in it."""


@dataclass(frozen=True)
class Collection:
    """Images that lie in files.

    Attributes:
        path: The file that names them.
        storage: What it is, in words.
        kind: What the images are.
        names: The files, as it names them.
        file_of: (images,) int32, the place of each image's file in `names`.
        index: (images,) int64, which image of its file, counted from 0.
        rows: (images,) int64, the row of each image in the file that names them, counted from 1.
        numbers: (images,) float64 each, by a name of `NUMBERS`; NaN where not known.
        are_whole: Whether every file is named once for each of its images, without saying which.
        may_miss_some: Whether what is left still makes sense where a file is missing, as of a tilt series.
        knows_pixel_size: Whether its pixel size is believed before that of the images' own headers.
        other_names: For a name of `names`: under which other names the image may lie, the most wanted first.
        are_averages: Whether each image is the average of its class.
        counted_from: What it calls the first image of a file.
        warnings: What the user should know of it.
    """

    path: Path
    storage: str
    kind: VolumeKind
    names: Sequence[str]
    file_of: NDArray[np.int32]
    index: NDArray[np.int64]
    rows: NDArray[np.int64]
    numbers: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    are_whole: bool = False
    may_miss_some: bool = False
    knows_pixel_size: bool = True
    other_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    are_averages: bool = False
    counted_from: int = 1
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.file_of)

    @cached_property
    def first_rows(self) -> NDArray[np.int64]:
        """(names,) int64, the first row that names each file; 0 for none."""
        first = np.zeros(len(self.names), np.int64)
        first[self.file_of[::-1]] = self.rows[::-1]  # of several values the last one stays
        return first

    def without_rows(self) -> "Collection":
        """The names alone."""
        nothing = np.empty(0, np.int64)
        return replace(self, file_of=nothing.astype(np.int32), index=nothing, rows=nothing, numbers={})

    def known(self, name: str) -> NDArray[np.float64]:
        """(known,) float64, a number of all images of which it is known, in order."""
        values = self.numbers.get(name, np.empty(0))
        return values[np.isfinite(values)]

    def without_files(self, left_out: Sequence[int]) -> "Collection":
        """The images of the other files."""
        kept = ~np.isin(self.file_of, left_out)
        return replace(
            self,
            file_of=self.file_of[kept],
            index=self.index[kept],
            rows=self.rows[kept],
            numbers={name: values[kept] for name, values in self.numbers.items()},
        )


def in_order(file_of: NDArray[np.int32]) -> NDArray[np.int64]:
    """Which image of its file each row means, where files are named without saying which: the next one each time.

    Args:
        file_of: (images,) int32.

    Returns:
        (images,) int64, counted from 0.
    """
    by_file = np.argsort(file_of, kind="stable")
    sorted_files = file_of[by_file]
    starts = np.flatnonzero(np.diff(sorted_files, prepend=-1))
    place = np.arange(len(file_of)) - np.repeat(starts, np.diff(starts, append=len(file_of)))
    index = np.empty(len(file_of), np.int64)
    index[by_file] = place
    return index


class Finder:
    """Finds the files that a collection names.

    Programs name them from the directory of a project, which the collection lies in, however deep. A file is sought
    from the directory of the collection, from those above it, the nearest first, and from the current one.

    Args:
        path: Of the collection.
        image_dir: Where the files lie by their bare names; None where they lie as they are named.
    """

    def __init__(self, path: Path, image_dir: Path | None) -> None:
        self._image_dir = image_dir
        above = path.absolute().parent
        self._directories = [above, *above.parents, Path.cwd()]
        self._bare: dict[str, str] = {}

    def find(self, name: str) -> Path | None:
        """The file of this name; None where there is none.

        Raises:
            InputError: Two files that differ in their directories would be the same one of ``--image-dir``.
        """
        if "\0" in name or not name:
            return None
        if self._image_dir:
            bare = Path(name).name
            if (other := self._bare.setdefault(bare, name)) != name:
                what = f"{other} and {name} have the same name without their directories"
                raise InputError(what, "leave --image-dir out, and put the files where they are named")
            path = self._image_dir / bare
            return path if path.is_file() else None
        if Path(name).is_absolute():
            return Path(name) if Path(name).is_file() else None
        for directory in self._directories:
            if (path := directory / name).is_file():
                return path
        return None
