"""Volumes of which more is known, or which are turned: all else is as their readers made it."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mrc2movie.readers.volume import Description, Load, Section, Volume

Tell = Callable[[Description], Description]


class Told(Volume):
    """A volume of which more is known than its reader made of it.

    Args:
        volume: The volume; closed with this one.
        tell: Gives its description with what else is known.

    Raises:
        InputError: That contradicts the file.
    """

    def __init__(self, volume: Volume, tell: Tell) -> None:
        self.path = volume.path
        self.has_random_access = volume.has_random_access
        self._volume = volume
        self._tell = tell
        self._follow()

    def _follow(self) -> None:
        """The end of a compressed stream changes the description."""
        self._seen = self._volume.description
        self.description = self._tell(self._seen)
        self.scratch_bytes = self._volume.scratch_bytes

    def expect(self, numbers: Iterable[int], rising: bool) -> None:
        """As the volume."""
        self._volume.expect(numbers, rising)

    def section(self, number: int) -> Load:
        """As the volume."""
        try:
            return self._volume.section(number)
        finally:
            if self._volume.description is not self._seen:
                self._follow()

    def close(self) -> None:
        """Close the volume."""
        self._volume.close()


class ReversedRows(Told):
    """The same volume with its rows in reverse order, and so the same picture.

    Args:
        volume: The volume; closed with this one.
    """

    def __init__(self, volume: Volume) -> None:
        super().__init__(
            volume, lambda description: replace(description, row0_at_bottom=not description.row0_at_bottom)
        )

    def section(self, number: int) -> Load:
        """The way to load a section."""
        return partial(_reversed_rows, super().section(number))


def _reversed_rows(load: Load, scratch: NDArray[np.uint8]) -> Section:
    return np.ascontiguousarray(load(scratch)[::-1])
