"""What is drawn over the sections, in colour: colours, antialiased outlines with a dark rim, the legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.picture.render import Frame

Colour: TypeAlias = tuple[int, int, int]
"""Red, green, blue."""

PALETTE: Sequence[Colour] = (
    (86, 180, 233),  # sky blue
    (230, 159, 0),  # orange
    (0, 190, 140),  # bluish green
    (240, 228, 66),  # yellow
    (223, 130, 180),  # reddish purple
    (235, 100, 20),  # vermilion
    (70, 130, 230),  # blue
)
"""Colours that people of any colour vision tell apart, after Okabe and Ito (https://jfly.uni-koeln.de/color/), the dark
ones made lighter so that they read on dark grey."""

RIM = 1.0
"""Pixels of the dark rim on either side of a line."""

_LINE_SHARE = 1 / 400
_LINES = (2.0, 5.0)
"""The width of lines: a share of the short side of frames, but at least two pixels, since most codecs have one colour
for two by two pixels."""

Legend: TypeAlias = Sequence[tuple[str, Colour]]
"""The name of each class, and its colour."""


def line_width(shape: tuple[int, ...]) -> float:
    """Of all that is drawn on frames of this shape, in pixels."""
    return float(min(max(min(shape[:2]) * _LINE_SHARE, _LINES[0]), _LINES[1]))


@dataclass(frozen=True)
class ColourStamp:
    """Something drawn in colour.

    Attributes:
        kept: (h, w, 3) uint8, how much of what is below stays, of 255.
        ink: (h, w, 3) uint8, what is added.
    """

    kept: NDArray[np.uint8]
    ink: NDArray[np.uint8]

    @classmethod
    def of(cls, ink: NDArray[np.floating], cover: NDArray[np.floating], colour: Colour) -> "ColourStamp":
        """Coloured ink on what covers the picture.

        Args:
            ink: (h, w), the share of each pixel that has the colour.
            cover: (h, w), the share that is ink or dark rim; nowhere less.
            colour: Of the ink.
        """
        kept = np.rint(255 * (1 - cover)).astype(np.uint8)
        painted = np.rint(ink[..., None] * np.array(colour)).astype(np.uint8)
        return cls(np.repeat(kept[..., None], 3, axis=2), painted)

    def draw(self, frame: Frame, top: int, left: int) -> None:
        """Draw onto a frame, in place, as far as it lies in it."""
        height, width = self.kept.shape[:2]
        bottom, right = min(frame.shape[0], top + height), min(frame.shape[1], left + width)
        down, across = max(0, -top), max(0, -left)
        if top + down >= bottom or left + across >= right:
            return
        under = frame[top + down : bottom, left + across : right]
        part = slice(down, bottom - top), slice(across, right - left)
        cv2.multiply(under, self.kept[part], under, 1 / 255)
        cv2.add(under, self.ink[part], under)


def ring(radii: tuple[float, float], centre: tuple[float, float], width: float, colour: Colour) -> ColourStamp:
    """The outline of a circle or ellipse.

    Args:
        radii: Along (columns, rows), in pixels.
        centre: In the stamp: (column, row); see `ring_shape`.
        width: Of the line, which lies half within the radii.
        colour: Of the line.
    """
    rows, columns = ring_shape(radii, width)
    across = (np.arange(columns) - centre[0])[None, :]
    down = (np.arange(rows) - centre[1])[:, None]
    level = np.sqrt(np.square(across / radii[0]) + np.square(down / radii[1]))
    slope = np.sqrt(np.square(across / radii[0] ** 2) + np.square(down / radii[1] ** 2))
    # For a circle exactly the distance from it; for an ellipse nearly, close to it.
    distance = np.abs(level - 1) * level / np.maximum(slope, 1e-6)
    ink = np.clip(width / 2 + 0.5 - distance, 0, 1)
    return ColourStamp.of(ink, np.clip(width / 2 + RIM + 0.5 - distance, 0, 1), colour)


def ring_shape(radii: tuple[float, float], width: float) -> tuple[int, int]:
    """Rows and columns of the stamp of a ring whose centre lies less than a pixel behind the middle one."""
    more = width / 2 + RIM + 1
    return 2 * int(radii[1] + more) + 2, 2 * int(radii[0] + more) + 2


_FAR = 2.0**20
_SHIFT = 4  # bits of a pixel that OpenCV takes


def draw_lines(frame: Frame, lines: NDArray[np.float64], width: float, colour: Colour) -> None:
    """Draw lines onto a frame, (h, w, 3), in place.

    Thick antialiased lines take OpenCV ten times as long as thin ones, so these are made thicker all together.

    Args:
        frame: The frame.
        lines: (n, 2, 2), the ends of each by (column, row).
        width: In pixels; they become 3 or 5 wide, so that their middle is that of a pixel.
        colour: Of the lines.
    """
    thick = 3 if width < 4 else 5
    margin = thick + 2
    low, high = lines.min(axis=1) - margin, lines.max(axis=1) + margin
    lines = lines[((high > 0) & (low < frame.shape[1::-1])).all(axis=1)]
    if not len(lines):
        return
    # OpenCV draws nothing of a line without length.
    short = np.abs(np.diff(lines, axis=1)).max(axis=(1, 2), keepdims=True) < 0.5
    dot = np.array([(-0.5, 0.0), (0.5, 0.0)])
    lines = np.where(short, lines.mean(axis=1, keepdims=True) + dot, lines)
    left, top = (int(max(0, side)) for side in lines.min(axis=(0, 1)) - margin)
    right, bottom = (
        int(min(side, 1 + most)) for side, most in zip(frame.shape[1::-1], lines.max(axis=(0, 1)) + margin, strict=True)
    )
    places = (lines.clip(-_FAR, _FAR) - (left, top)) * (1 << _SHIFT)
    ink = np.zeros((bottom - top, right - left), np.uint8)
    cv2.polylines(ink, list(np.rint(places).astype(np.int32)), False, (255,), 1, cv2.LINE_AA, _SHIFT)
    ink = np.asarray(cv2.dilate(ink, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thick, thick))), np.uint8)
    cover = cv2.dilate(ink, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    painted = cv2.merge([cv2.convertScaleAbs(ink, alpha=part / 255) for part in colour])
    kept = cv2.cvtColor(cv2.bitwise_not(cover), cv2.COLOR_GRAY2RGB)
    ColourStamp(np.asarray(kept, np.uint8), np.asarray(painted, np.uint8)).draw(frame, top, left)
