"""A scan as a stack of patterns: where each was recorded, and back."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError

_MOST_POSITIONS = 2**27
"""Of any instrument far less; an image of so many is kept in memory."""


@dataclass(frozen=True, eq=False)
class Scan:
    """The positions at which the sections of a scan were recorded; x counts from the left, y from the top.

    Attributes:
        columns: Positions of a line.
        rows: Lines.
        serpentine: Whether every second line runs from right to left.
        frames: So many sections that follow each other have the same position.
        step_A: From one position to the next, along x and y, where known.
        positions: (n, 2) int64, x and y of each section, where the beam did not go line by line.
    """

    columns: int
    rows: int
    serpentine: bool = False
    frames: int = 1
    step_A: tuple[float, float] | None = None
    positions: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Refuse what no instrument does."""
        if min(self.columns, self.rows) < 1 or self.columns * self.rows > _MOST_POSITIONS:
            raise InputError(f"a scan of {self.columns} x {self.rows} positions is none", "give --navigation-shape X Y")

    @property
    def sections(self) -> int:
        """Of one scan."""
        return len(self.positions) if self.positions is not None else self.columns * self.rows * self.frames

    def places(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The x and y of sections."""
        place = numbers % self.sections
        if self.positions is not None:
            return self.positions[place, 0], self.positions[place, 1]
        y, x = np.divmod(place // self.frames, self.columns)
        return (np.where(y % 2 == 1, self.columns - 1 - x, x) if self.serpentine else x), y

    def name(self, number: int) -> str:
        """What a section is called: its position, and which scan it is of where there are several."""
        x, y = self.places(np.array([number]))
        scan = number // self.sections
        return f"x {x[0]}, y {y[0]}" + (f", scan {scan}" if scan else "")
