"""A volume whose rows are counted from the other end."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mrc2movie.readers.volume import Load, Section, Volume


class ReversedRows(Volume):
    """The same volume with its rows in reverse order, and so the same picture.

    Args:
        volume: The volume, whose size is known; the caller closes it, after this one.
    """

    def __init__(self, volume: Volume) -> None:
        self.path = volume.path
        self.description = replace(volume.description, row0_at_bottom=not volume.description.row0_at_bottom)
        self.scratch_bytes = volume.scratch_bytes
        self.has_random_access = volume.has_random_access
        self._volume = volume

    def expect(self, numbers: Iterable[int], rising: bool) -> None:
        """Be ready for sections in this order."""
        self._volume.expect(numbers, rising)

    def section(self, number: int) -> Load:
        """The way to load a section."""
        load = self._volume.section(number)

        def reversed_rows(scratch: NDArray[np.uint8]) -> Section:
            return np.ascontiguousarray(load(scratch)[::-1])

        return reversed_rows

    def close(self) -> None:
        """The volume is the caller's."""
