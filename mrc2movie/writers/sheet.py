"""The pictures of a movie on the page of all movies: a poster, and a sheet of sections through which people scrub."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from mrc2movie.errors import saying
from mrc2movie.options.settings import Settings
from mrc2movie.picture.filters import Shrink
from mrc2movie.picture.render import Frame, enlarged, enlargement
from mrc2movie.picture.sheet import evenly_spaced
from mrc2movie.readers.volume import Section
from mrc2movie.store.artifact import Artifact, HiddenArtifact
from mrc2movie.store.claim import RECORD_DIRECTORY, Claim
from mrc2movie.store.files import FileStamp
from mrc2movie.store.names import fitting
from mrc2movie.writers.product import Part, Product, Work
from mrc2movie.writers.record import Made

_SUFFIXES = {"poster": ".poster.jpg", "sheet": ".sheet.jpg"}
_SIDE = 256
_CELLS = 24
_BYTES = 400_000
_VALUES = {"poster": _SIDE, "sheet": _CELLS}
"""What the record keeps of each: the pixels of a side, and how many sections are in the sheet at most."""

_QUALITIES = (1, 5, 15, 30, 45, 60, 75)
_PARTS = (0.05, 0.1, 0.3, 0.52, 0.67, 0.8, 1.0)
"""The size of noisy sections in each of these qualities, as a part of their size in the best one. With this the size of
three cells in the best quality tells which quality keeps the whole sheet within _BYTES, so that it is rarely encoded
twice."""
_MARGIN = 0.95


def page_picture_paths(movie: Path) -> Mapping[str, Path]:
    """The poster and the sheet of a movie; they lie with its record, and so are never somebody else's."""
    directory = movie.parent / RECORD_DIRECTORY
    return {name: directory / fitting(movie.name, suffix) for name, suffix in _SUFFIXES.items()}


def positions_in_sheet(shown: int, cells: int) -> Sequence[int]:
    """Which of the sections shown are in a sheet of so many cells at most, from the top to the bottom."""
    return evenly_spaced(shown, cells)


def why_not_for_page(movie: Path, settings: Settings, made: Made) -> str | None:
    """Which picture is wanted for the page and not there as it is wanted, in words; None if none is.

    Args:
        movie: The movie.
        settings: Whether there is to be a page.
        made: What the record of the movie keeps.
    """
    for name, path in page_picture_paths(movie).items() if settings.report else ():
        if not path.is_file() or Artifact(name, _VALUES[name], FileStamp.of(path)) not in made.pictures:
            return f"no {name} like this yet"
    return None


class PagePictures(Product):
    """The pictures of a movie for the page, made of the frames that pass by.

    Args:
        count: Sections shown.
    """

    def __init__(self, count: int) -> None:
        self._middle = count // 2
        self._in_sheet = positions_in_sheet(count, _CELLS)
        self._wanted = frozenset((*self._in_sheet, self._middle))
        self._cells: dict[int, Frame] = {}

    def worker(self) -> Work:
        """Shrink the frames that are wanted; the part is their position and them."""

        def work(position: int, section: Section, frame: Frame) -> Part:
            return position, _small(frame) if position in self._wanted else None

        return work

    def take(self, part: Part) -> None:
        """Keep what is wanted."""
        position, cell = part
        if cell is not None:
            self._cells[position] = cell

    def finish(self) -> None:
        """Nothing is left to be done."""

    def abandon(self) -> None:
        """Nothing is open."""

    def write(self, claim: Claim) -> Sequence[HiddenArtifact]:
        """Write the pictures of a claimed movie under hidden names, which vanish with the claim.

        Raises:
            OutputError: A picture cannot be written.
        """
        poster = _jpeg(self._cells[self._middle], max(_QUALITIES))
        encoded = {"poster": poster, "sheet": _sheet([self._cells[at] for at in self._in_sheet], len(poster))}
        written = []
        for name, target in page_picture_paths(claim.target).items():
            hidden = claim.beside(_SUFFIXES[name])
            with saying(f"{target.name} cannot be written"):
                hidden.write_bytes(encoded[name])
                written.append(HiddenArtifact.of(hidden, target, name, _VALUES[name]))
        return written


def _small(frame: Frame) -> Frame:
    """The frame with at most _SIDE pixels a side; a small one enlarged by a whole factor, so that it can be seen.

    It is halved first, as often as nothing is lost by that: to shrink a frame of 5760 x 4092 at once takes 53 ms, and
    so 4 ms. Rows and columns that fill no pixel are left out.
    """
    while max(frame.shape[:2]) >= 3 * _SIDE and min(frame.shape[:2]) > 1:
        rows, columns = frame.shape[0] // 2, frame.shape[1] // 2
        frame = _resized(frame[: 2 * rows, : 2 * columns], (rows, columns))
    frame = enlarged(frame, enlargement(frame.shape, _SIDE, _SIDE))
    small = _resized(frame, Shrink(_SIDE).shape(frame.shape))
    return small if small.ndim == 2 else np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2BGR), np.uint8)


def _resized(frame: Frame, shape: tuple[int, ...]) -> Frame:
    """With means of areas; a frame of its own."""
    if frame.shape[:2] == shape[:2]:
        return frame.copy()
    return np.asarray(cv2.resize(frame, (shape[1], shape[0]), interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(picture: Frame, quality: int) -> bytes:
    return cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes()


def _sheet(cells: Sequence[Frame], middle: int) -> bytes:
    """The cells, one below the other, in about the best quality that keeps them within _BYTES, or else in the worst.

    Args:
        cells: From the top to the bottom.
        middle: Bytes of the one in the middle, in the best quality.
    """
    sheet = np.concatenate(cells)
    ends = [len(_jpeg(cell, max(_QUALITIES))) for cell in (cells[0], cells[-1])]
    expected = (middle + sum(ends)) / 3 * len(cells)
    quality = max(_QUALITIES) + 1
    while True:
        wanted = int(np.interp(_MARGIN * _BYTES / expected, _PARTS, _QUALITIES))
        quality = max(min(_QUALITIES), min(wanted, quality - 1))
        encoded = _jpeg(sheet, quality)
        if len(encoded) <= _BYTES or quality == min(_QUALITIES):
            return encoded
        expected = len(encoded) / float(np.interp(quality, _QUALITIES, _PARTS))
