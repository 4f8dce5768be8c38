"""Another volume of the same specimen, as if it had the sections of this one: other voxels, other depth."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.readers.volume import Description, Load, Section, SizeLearned, Volume

_SAME_FORM, _SAME_SIZE = 0.01, 0.1
"""Relative; the first beyond what a row or column more or less makes."""


class MatchedVolume(Volume):
    """The sections of a volume at the depths of those of another one, and of their size.

    Where one is binned, both begin with the same voxel; else their middles lie at the same place. Voxel sizes tell how
    many sections of the one a section of the other is, and where they are not known the columns do. At depths that it
    does not reach its sections are NaN.

    Args:
        volume: The volume; the caller closes it, after this one.
        like: What it is matched to.

    Raises:
        InputError: Its sections have another form.
    """

    def __init__(self, volume: Volume, like: Description) -> None:
        self.path = volume.path
        self._volume = volume
        self._like = like
        self._describe()

    def _describe(self) -> None:
        like, theirs = self._like, self._volume.description
        down, across = (ours / other for ours, other in zip(like.shape[1:], theirs.shape[1:], strict=True))
        if abs(across / down - 1) > _SAME_FORM + 1 / min(*theirs.shape[1:], *like.shape[1:]):
            sizes = (f"{shape[2]} x {shape[1]}" for shape in (theirs.shape, like.shape))
            raise InputError(f"has sections of {' and not of the form of '.join(sizes)}", "is it of another volume?")
        self._is_equal = theirs.shape == like.shape
        self._deep = _deep(like, theirs, across)
        self.scratch_bytes = self._volume.scratch_bytes
        self.has_random_access = self._volume.has_random_access
        self.description = replace(
            theirs,
            shape=like.shape,
            dtype=theirs.dtype if self._is_equal else np.result_type(theirs.dtype, np.float32),
            voxel_size_A=like.voxel_size_A,
            tilts=like.tilts,
            channels=like.channels,
            pixel_size_told_by="",
        )

    def place(self, number: int) -> int | None:
        """Its section at the depth of one of the other volume; None where it has none."""
        ours, theirs = self._like.shape[0], self._volume.description.shape[0]
        if abs(ours / self._deep - theirs) < 1:
            found = (number + 0.5) / self._deep - 0.5
        else:
            found = (theirs - 1) / 2 + (number - (ours - 1) / 2) / self._deep
        return min(max(0, round(found)), theirs - 1) if -1 < found < theirs else None

    def expect(self, numbers: Iterable[int], rising: bool) -> None:
        """Be ready for the sections at these depths."""
        places = (place for number in numbers if (place := self.place(number)) is not None)
        self._volume.expect(places, rising and self._is_equal)  # else one is wanted several times

    def section(self, number: int) -> Load:
        """The way to load the section at the depth of one of the other volume."""
        place = self.place(number)
        if place is None:
            return self._nothing
        try:
            load = self._volume.section(place)
        except SizeLearned:
            self._describe()
            raise
        return load if self._is_equal else partial(self._scaled, load)

    def _nothing(self, scratch: NDArray[np.uint8]) -> Section:
        return np.full(self.description.section_shape, np.nan, self.description.dtype)

    def _scaled(self, load: Load, scratch: NDArray[np.uint8]) -> Section:
        section = load(scratch)
        rows, columns = self.description.shape[1:]
        how = cv2.INTER_AREA if columns < section.shape[1] else cv2.INTER_LINEAR
        precise = section.astype(self.description.dtype)
        return np.asarray(cv2.resize(precise, (columns, rows), interpolation=how))

    def close(self) -> None:
        """The volume is the caller's."""


def _deep(ours: Description, theirs: Description, across: float) -> float:
    """How many sections of ours one of theirs is, where it is so many columns; a size that contradicts is none."""
    if (our := ours.voxel_size_A) and (their := theirs.voxel_size_A) and our[2] and their[2]:
        told = their[0] / our[0]
        return their[2] / our[2] if abs(told / across - 1) < _SAME_SIZE else across
    return across
