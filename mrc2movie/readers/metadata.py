"""What is told of each section beyond its voxels: numbers in columns, and text that can be shown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

TILT = "tilt_degrees"

MOST_SECTIONS = 100_000
"""What is told of each section is not read where there are more: no tilt series has a hundredth of them."""

Column = Sequence[float | None]


@dataclass(frozen=True)
class Metadata:
    """What a header or a sidecar tells beyond the pixels.

    Attributes:
        origin: Where it was found.
        columns: One value a section, in file order; None where a section has none. The names carry the unit.
        document: What an MRCZ file keeps as JSON.
        frames: The file that each section was made of, as a path of the machine where that was; empty where not told.
    """

    origin: str
    columns: dict[str, Column] = field(default_factory=dict)
    document: object = None
    frames: Sequence[str] = ()

    def tilts(self, count: int) -> tuple[float, ...]:
        """The tilt angles of the first so many sections, in degrees; empty unless each has a sensible one."""
        angles = tuple(angle for angle in self.columns.get(TILT, ())[:count] if angle is not None)
        return angles if len(angles) == count else ()


def same_for_all(origin: str, values: Mapping[str, float], count: int) -> Metadata | None:
    """What a header says of all its sections together; None where it says nothing, or there are too many."""
    if not values or count > MOST_SECTIONS:
        return None
    return Metadata(origin, {name: [value] * count for name, value in values.items()})


_UNITS_A = {
    **dict.fromkeys(("Å", "\u212b", "A", "angstrom", "angstroms", "ångström"), 1.0),
    **{"pm": 0.01, "nm": 10.0, "mm": 1e7, "cm": 1e8, "inch": 2.54e8, "in": 2.54e8},
    **dict.fromkeys(("nanometer", "nanometers"), 10.0),
    **dict.fromkeys(("µm", "\u03bcm", "um", "micron", "microns", "micrometer", "micrometers"), 1e4),
    **dict.fromkeys(("m", "meter", "meters"), 1e10),
}
_LARGEST_A = 50_000
"""5 µm: what is larger is a resolution of printers (2400 dots an inch are 10 µm), or a unit that nobody filled in."""


def in_A(length: float, unit: str) -> float | None:
    """A length of a pixel in Å; None where the unit is not known, or no pixel is so large or so small."""
    factor = _UNITS_A.get(unit) or _UNITS_A.get(unit.lower())
    length_A = length * factor if factor else math.nan
    return length_A if 1e-4 <= length_A <= _LARGEST_A else None


def column(values: NDArray[np.generic], scale: float = 1, limit: float = math.inf) -> Column:
    """Numbers as JSON has them; None for those that are not finite or beyond the limit.

    Args:
        values: (n,) any real dtype.
        scale: Brings them to the unit wanted.
        limit: What no sensible value exceeds in either direction, in that unit.
    """
    return [value if abs(value) <= limit and math.isfinite(value) else None for value in _scaled(values, scale)]


def _scaled(values: NDArray[np.generic], scale: float) -> list[float]:
    with np.errstate(over="ignore", invalid="ignore"):
        return [float(value) for value in values.astype(np.float64) * scale]


def printable_text(raw: bytes) -> str:
    """Text of a fixed field, up to its first zero byte; what cannot be printed is a question mark."""
    text = raw.split(b"\0")[0].decode("latin-1").strip()
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)
