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

_QUALITIES = {75: 1.0, 60: 0.73, 45: 0.58, 30: 0.44, 15: 0.25, 5: 0.1, 1: 0.0}
"""A sheet is written in the best of these qualities that makes it no larger than _BYTES, the poster in the best of all.
Beside each stands how large noise is in it: what some cells take in the best tells which to begin with."""
_TRIED = 3
"""So many cells tell it: to write the whole sheet in every quality would take longer than to make its pictures."""


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
        sheet = np.concatenate([self._cells[position] for position in self._in_sheet])
        encoded = {
            "poster": _jpeg(self._cells[self._middle], max(_QUALITIES)),
            "sheet": _jpeg_of_at_most(sheet, _BYTES),
        }
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


def _jpeg_of_at_most(sheet: Frame, size: int) -> bytes:
    """The sheet in the best of the qualities in which it has no more bytes, or in the last one."""
    rows = -(-len(sheet) // _CELLS)
    starts = (place * (len(sheet) - rows) // (_TRIED - 1) for place in range(_TRIED))
    tried = np.concatenate([sheet[start : start + rows] for start in starts])
    expected = len(_jpeg(tried, max(_QUALITIES))) * len(sheet) / len(tried)
    found = b""
    for quality, part in _QUALITIES.items():
        if part * expected <= size:
            found = _jpeg(sheet, quality)
            if len(found) <= size:
                break
    return found
