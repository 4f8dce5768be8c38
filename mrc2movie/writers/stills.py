"""Pictures beside the movie, a thumbnail and a contact sheet, made of the frames that pass by."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from mrc2movie.errors import saying
from mrc2movie.options.settings import Settings
from mrc2movie.picture.filters import Shrink
from mrc2movie.picture.labels import label_font, text_stamp
from mrc2movie.picture.render import Frame, enlarged, enlargement
from mrc2movie.picture.selection import Selection
from mrc2movie.picture.sheet import MOST_SECTIONS, cells_of
from mrc2movie.readers.volume import Description, Section
from mrc2movie.store.artifact import HiddenArtifact
from mrc2movie.store.claim import Claim
from mrc2movie.store.names import fitting
from mrc2movie.writers.product import Part, Product, Work

CONTACT_SHEET = ".contact"
"""What its name has behind that of the movie."""

PICTURE_SUFFIXES = {"thumbnail": ".png", "contact_sheet": f"{CONTACT_SHEET}.png"}
"""What the names of all pictures have behind that of the movie, by the name of their option."""

_CELL_SIDE, _SMALL_CELL_SIDE = 240, 128
_SEEN = 256
_GUTTER = 6
_CAPTION_SIZE = 16
_PROPORTION = 4 / 3
"""A contact sheet has cells of so many pixels at most, fewer where there are many, and is nearly of this proportion."""


def picture_paths(movie: Path, settings: Settings) -> Mapping[str, Path]:
    """The pictures that are wanted beside a movie, by the name of their option."""
    return {
        option: movie.with_name(fitting(movie.stem, suffix))
        for option, suffix in PICTURE_SUFFIXES.items()
        if getattr(settings, option)
    }


class Stills(Product):
    """The pictures beside the movie, made of the frames that pass by.

    Args:
        thumbnail: Long side of the thumbnail in pixels; None for none.
        contact_sheet: Whether a contact sheet is wanted.
        description: Of the volume, in the direction in which it is shown.
        selection: Its sections that are shown.
    """

    def __init__(
        self, thumbnail: int | None, contact_sheet: bool, description: Description, selection: Selection
    ) -> None:
        self._size = thumbnail
        count = len(selection.numbers)
        self._middle = count // 2
        self._captions = cells_of(description, selection) if contact_sheet else {}
        self._side = _CELL_SIDE if len(self._captions) <= MOST_SECTIONS else _SMALL_CELL_SIDE
        self._thumbnail: Frame | None = None
        self._cells: dict[int, Frame] = {}

    def worker(self) -> Work:
        """Shrink the frames that are wanted; the part is their position, the thumbnail and the cell of the sheet."""

        def work(position: int, section: Section, frame: Frame) -> Part:
            thumbnail = of_size(frame, self._size) if self._size and position == self._middle else None
            cell = of_size(frame, self._side) if position in self._captions else None
            return position, thumbnail, cell

        return work

    def take(self, part: Part) -> None:
        """Keep what is wanted."""
        position, thumbnail, cell = part
        if thumbnail is not None:
            self._thumbnail = thumbnail
        if cell is not None:
            self._cells[position] = cell

    def finish(self) -> None:
        """Nothing is left to be done."""

    def abandon(self) -> None:
        """Nothing is open."""

    def finished(self) -> Mapping[str, Frame]:
        """The pictures, by the name of their option, when all frames have passed."""
        pictures = {}
        if self._thumbnail is not None:
            pictures["thumbnail"] = self._thumbnail
        if self._captions:
            cells = [self._cells[position] for position in self._captions]
            pictures["contact_sheet"] = contact_sheet(cells, list(self._captions.values()))
        return pictures


def of_size(frame: Frame, long_side: int) -> Frame:
    """The frame with at most so many pixels a side; a small one enlarged by a whole factor, so that it can be seen."""
    large = enlarged(frame, enlargement(frame.shape, _SEEN, long_side))
    return np.asarray(np.rint(Shrink(long_side)(large)), np.uint8)


def contact_sheet(cells: Sequence[Frame], captions: Sequence[str]) -> Frame:
    """A grid of frames of the same shape on white, each above its caption, in rows from left to right."""
    font = label_font()
    stamps = [text_stamp([caption], font, _CAPTION_SIZE) for caption in captions]
    height, width = cells[0].shape[:2]
    below = stamps[0].ink.shape[0]
    step = max(width, *(stamp.ink.shape[1] for stamp in stamps)) + _GUTTER, height + below + _GUTTER
    columns = min(len(cells), max(1, round(math.sqrt(len(cells) * _PROPORTION * step[1] / step[0]))))
    rows = -(-len(cells) // columns)
    sheet = np.full((rows * step[1] + _GUTTER, columns * step[0] + _GUTTER, *cells[0].shape[2:]), 255, np.uint8)
    for place, (cell, stamp) in enumerate(zip(cells, stamps, strict=True)):
        top, left = _GUTTER + place // columns * step[1], _GUTTER + place % columns * step[0]
        inset = (step[0] - _GUTTER - width) // 2
        sheet[top : top + height, left + inset : left + inset + width] = cell
        inset = (step[0] - _GUTTER - stamp.ink.shape[1]) // 2
        caption = sheet[top + height : top + height + below, left + inset : left + inset + stamp.ink.shape[1]]
        caption -= stamp.ink if caption.ndim == 2 else stamp.ink[..., None]  # black on white needs no rim
    return sheet


def write_pictures(pictures: Mapping[str, Frame], claim: Claim, settings: Settings) -> Sequence[HiddenArtifact]:
    """Write the pictures of a claimed movie under hidden names, which vanish with the claim.

    Raises:
        OutputError: A picture cannot be written.
    """
    return [
        _written(name, target, pictures[name], claim, settings)
        for name, target in picture_paths(claim.target, settings).items()
    ]


def _written(name: str, target: Path, frame: Frame, claim: Claim, settings: Settings) -> HiddenArtifact:
    hidden = claim.beside(f".{name}.png")
    with saying(f"{target.name} cannot be written"):
        write_png(hidden, frame)
    return HiddenArtifact.of(hidden, target, name, getattr(settings, name))


def write_png(path: Path, frame: Frame) -> None:
    """Write a picture; raises OSError."""
    colours = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    path.write_bytes(cv2.imencode(".png", colours)[1].tobytes())
