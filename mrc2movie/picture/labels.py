"""Words and a scale bar in the corners of a frame, drawn after the contrast so that this leaves them alone."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.picture.geometry import Geometry
from mrc2movie.picture.overlays import Colour, ColourStamp
from mrc2movie.picture.render import Frame
from mrc2movie.picture.selection import Selection
from mrc2movie.readers.volume import Description, Tilts, Times
from mrc2movie.store.names import printable

_FONT_SHARE = 1 / 24
_FONT_SIZES = (8, 72)
"""Height of the font: a share of the short side of the frame, but legible, and no larger than needed."""

_LABEL_SHARE = (1 / 2, 1 / 3)
_BAR_SHARE = (1 / 2, 1 / 4)
_LEGEND_SHARE = (1 / 2, 1 / 2)
"""The most that either corner may take of the (width, height) of a frame; a scale bar is half as long at most."""

_FONT = "uni"
"""Comes with OpenCV, and so looks the same everywhere. Its zero is plain: that of "sans" is slashed, like the sign for
a diameter."""

_BOLDER = 1 / 30
"""Of the font's height, the blur that makes letters bolder: the font has one weight, and light letters look thinner
than dark ones."""


Font: TypeAlias = "cv2.FontFace | None"
"""OpenCV's own, which it has from version 5 on; None where it only draws letters of strokes, in ASCII."""

_ASCII = str.maketrans({"°": " deg", "−": "-", "µ": "u", "…": "..."})  # noqa: RUF001


Captions: TypeAlias = Callable[[int], Sequence[str]]
"""Gives the lines of text at a position of the movie: as many positions as a file has sections are never kept."""


@dataclass(frozen=True)
class Stamp:
    """Something drawn: white ink with a black rim, which reads on any grey.

    Attributes:
        ink: (h, w) uint8, how much of a pixel is white.
        cover: (h, w) uint8, how much of it is ink or rim; nowhere less than `ink`.
    """

    ink: NDArray[np.uint8]
    cover: NDArray[np.uint8]

    @classmethod
    def of(cls, ink: NDArray[np.uint8], rim: int) -> "Stamp":
        """Give the ink a rim of so many pixels, smooth at its outer edge; there must be room for it."""
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
        around = cv2.GaussianBlur(cv2.dilate(ink, disc), (3, 3), 0)
        return cls(ink, np.maximum(cv2.add(around, around), ink))  # twice, since small letters are grey themselves

    def draw(self, frame: Frame, top: int, left: int) -> None:
        """Draw onto a frame, in place."""
        height, width = self.ink.shape
        under = frame[top : top + height, left : left + width]
        ink, cover = (mask if frame.ndim == 2 else mask[..., None] for mask in (self.ink, self.cover))
        under[...] = (under.astype(np.uint16) * (255 - cover) + 127) // 255 + ink


@dataclass(frozen=True)
class ScaleBar:
    """A bar of a round length.

    Attributes:
        pixels: Its length in the frame.
        text: Its length in words.
    """

    pixels: int
    text: str


@dataclass(frozen=True)
class Labels:
    """What is written on the frames of a movie.

    Attributes:
        captions: Gives the lines of text for the upper left corner at each position shown; None for no text.
        scale_bar: For the lower right corner, if any.
        legend: For the lower left corner: names, each with its colour if it has one.
        font_size: Pixels.
        warnings: What could not be written, and why.
    """

    captions: Captions | None = None
    scale_bar: ScaleBar | None = None
    legend: Sequence[tuple[str, Colour | None]] = ()
    font_size: int = 0
    warnings: tuple[str, ...] = ()


class Pen:
    """Writes labels on frames, in one thread.

    Args:
        labels: What.
    """

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._bar = _bar_stamp(labels.scale_bar, self._font, labels.font_size) if labels.scale_bar else None
        self._legend = _legend_stamp(labels.legend, self._font, labels.font_size) if labels.legend else None

    @cached_property
    def _font(self) -> Font:
        """Each thread unpacks its own."""
        return label_font()

    def write(self, frame: Frame, position: int) -> None:
        """Write on the frame at a position of the movie, in place."""
        margin = _margin(self._labels.font_size)
        if self._labels.captions:
            text_stamp(self._labels.captions(position), self._font, self._labels.font_size).draw(frame, margin, margin)
        if self._bar:
            height, width = self._bar.ink.shape
            self._bar.draw(frame, frame.shape[0] - height - margin, frame.shape[1] - width - margin)
        if self._legend:
            self._legend.draw(frame, frame.shape[0] - self._legend.kept.shape[0] - margin, margin)


def plan_labels(
    wanted: Sequence[str],
    scale_bar: bool,
    description: Description,
    selection: Selection,
    geometry: Geometry,
    pixel_size_A: tuple[float, float] | None,
    title: str,
    legend: Sequence[tuple[str, Colour | None]] = (),
) -> Labels:
    """What can be written of what is wanted.

    Args:
        wanted: Names of labels, see ``--label``; or ``slab``, its thickness where that is known.
        scale_bar: Whether a scale bar is wanted.
        description: Of the volume, in the direction in which it is shown.
        selection: Its sections that are shown.
        geometry: Of the frames.
        pixel_size_A: Of the frames, along (x, y), where known.
        title: What the movie is called.
        legend: What the colours mean of what is drawn over the sections.
    """
    if not wanted and not scale_bar and not legend:
        return Labels()
    shape = geometry.shape
    font = label_font()
    largest = min(max(round(min(shape) * _FONT_SHARE), _FONT_SIZES[0]), _FONT_SIZES[1])
    title = _shortened(
        title, _LABEL_SHARE[0] * shape[1] - _margin(largest), font, max(_FONT_SIZES[0], largest * 2 // 3)
    )
    captions, warnings = captions_of(wanted, description, selection, geometry.axis, title)
    bar = None
    if scale_bar:
        if description.kind == "transform":
            warnings.append("--scale-bar: a transform has no length, so there is none")
        elif pixel_size_A is None:
            warnings.append("--scale-bar: no voxel size is known, so there is none (give it with --pixel-size)")
        else:
            length_A = round_length(_BAR_SHARE[0] / 2 * shape[1] * pixel_size_A[0])
            bar = ScaleBar(round(length_A / pixel_size_A[0]), in_words(length_A))
            warnings += _if_bare("--scale-bar", description)
            if abs(pixel_size_A[0] / pixel_size_A[1] - 1) > 0.01:
                warnings.append("--scale-bar: it holds from left to right only, since the voxels are not square")
    texts = _texts_of_all_widths(captions, len(selection.places)) if captions else set()

    def fits(part: str, size: int) -> bool:
        if part == "bar":
            sizes, share = [_bar_size(bar, font, size)] if bar else [], _BAR_SHARE
        elif part == "legend":
            sizes, share = [_legend_size(legend, font, size)] if legend else [], _LEGEND_SHARE
        else:
            sizes, share = [_text_size(lines, font, size) for lines in texts], _LABEL_SHARE
        room = share[0] * shape[1] - _margin(size), share[1] * shape[0] - _margin(size)
        return all(width <= room[0] and height <= room[1] for height, width in sizes)

    room = _LEGEND_SHARE[0] * shape[1] - 2 * _line_height(_FONT_SIZES[0])
    legend = [(_shortened(printable(name), room, font, _FONT_SIZES[0]), colour) for name, colour in legend]
    named = len(legend)
    while len(legend) > 1 and not fits("legend", _FONT_SIZES[0]):
        legend = [*legend[:-2], (f"and {named - len(legend) + 2} more", None)]
    for part, flag in (("label", "--label"), ("bar", "--scale-bar"), ("legend", "the legend")):
        if not fits(part, _FONT_SIZES[0]):
            warnings.append(
                f"{flag}: frames of {shape[1]} x {shape[0]} are too small for legible text, so none is written"
            )
            if part == "bar":
                bar = None
            elif part == "legend":
                legend = []
            else:
                captions, texts = None, set()
    size = next(
        size for size in range(largest, 0, -1) if fits("label", size) and fits("bar", size) and fits("legend", size)
    )
    return Labels(captions, bar, tuple(legend), size, tuple(warnings))


def title_stamp(text: str, shape: tuple[int, ...]) -> Stamp | None:
    """A line for the upper right corner of a picture of this shape; None where it would not be legible."""
    font = label_font()
    size = min(max(round(min(shape[:2]) * _FONT_SHARE), _FONT_SIZES[0]), _FONT_SIZES[1])
    room = _LABEL_SHARE[0] * shape[1] - _margin(size)
    lines = [_shortened(printable(text), room, font, size)]
    height, width = _text_size(lines, font, size)
    return text_stamp(lines, font, size) if width <= room and height <= _LABEL_SHARE[1] * shape[0] else None


def draw_at_upper_right(stamp: Stamp, frame: Frame) -> None:
    """Draw onto a frame, in place."""
    stamp.draw(frame, 0, frame.shape[1] - stamp.ink.shape[1])


def _if_bare(flag: str, description: Description) -> list[str]:
    """The warning about lengths that rest on a voxel size that may be none."""
    if not description.voxel_size_is_bare:
        return []
    return [
        f"{flag}: the voxel size is exactly 1 Å in the header, which most programs write where they know none (give it "
        "with --pixel-size)"
    ]


def captions_of(
    wanted: Sequence[str], description: Description, selection: Selection, axis: str, title: str
) -> tuple[Captions | None, list[str]]:
    """What gives the lines of text at each position shown, and warnings of what is not known."""
    lines: list[Callable[[int], str]] = []
    warnings: list[str] = []
    size = description.voxel_size_A
    for name in wanted:
        if name == "section" and description.section_name:
            lines.append(description.section_name)
        elif name == "section":
            word = "section" if axis == "z" else axis
            lines.append(f"{word} {{}}".format)
        elif name == "tilt" and description.tilts:
            lines.append(partial(_tilt_line, description.tilts))
        elif name == "tilt":
            warnings.append("--label tilt: no tilt angle is known for each section, so none is written")
        elif name == "time" and description.times:
            lines.append(partial(_time_line, description.times, *_last_and_digits(description.times)))
        elif name == "time":
            warnings.append("--label time: it is not known when each section was taken, so none is written")
        elif name == "name":
            lines.append(partial(_same_line, title))
        elif name == "slab":
            if size and size[2]:
                thick = min(selection.average, len(selection.kept)) * size[2]
                lines.append(partial(_same_line, f"slab {thick / 10:.1f} nm"))
        elif description.kind in ("tilt series", "particle stack", "volume stack", "transform", "scan"):
            warnings.append(f"--label depth: a {description.kind} has no depth, so none is written")
        elif size is None or size[2] is None:
            what = f"voxel size{' along z' if size else ''}"
            warnings.append(f"--label depth: no {what} is known, so none is written (give it with --pixel-size)")
        else:
            lines.append(partial(_depth_line, size[2]))
            warnings += _if_bare("--label depth", description)

    def captions(position: int) -> Sequence[str]:
        number = selection.numbers[position]
        return [line(number) for line in lines]

    return captions if lines else None, warnings


def _tilt_line(tilts: Tilts, number: int) -> str:
    return in_degrees(tilts.degrees[number])


def _time_line(times: Times, last: float, digits: int, number: int) -> str:
    return in_time(times.seconds[number], last, digits)


def _last_and_digits(times: Times) -> tuple[float, int]:
    """The last time, and how many digits behind the point tell one from the next."""
    ordered = sorted(times.seconds)
    step = min((after - before for before, after in pairwise(ordered) if after > before), default=1.0)
    fine = (digits for digits in range(4) if abs(round(step, digits) - step) <= 0.02 * step)
    return ordered[-1], next(fine, 4)


def _same_line(text: str, number: int) -> str:
    return text


def _depth_line(spacing_A: float, number: int) -> str:
    return f"depth {number * spacing_A / 10:.1f} nm"


def _texts_of_all_widths(captions: Captions, count: int) -> set[tuple[str, ...]]:
    """A few captions that take as much room as all: digits are equally wide in OpenCV's font."""
    return {tuple(re.sub(r"\d", "0", line) for line in captions(position)) for position in range(count)}


def _shortened(text: str, width: float, font: Font, size: int) -> str:
    """A text of at most this width, what is in its middle left out."""
    shorter = text
    for kept in range(len(text) - 1, 3, -1):
        if _text_size([shorter], font, size)[1] <= width:
            break
        shorter = f"{text[: kept // 2]}…{text[-(kept // 2) :]}"
    return shorter


def in_time(seconds: float, last: float, digits: int) -> str:
    """A time as people write it: ``1.25 s``, or ``3:05`` and ``1:02:03`` where the last one is so long."""
    if last < 120:
        return f"{seconds:.{digits}f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if last >= 3600 else f"{minutes}:{rest:02}"


def in_degrees(angle: float) -> str:
    """A tilt angle as people write it: with a true minus, and no minus before what rounds to nothing."""
    return f"{round(angle, 1) + 0.0:.1f}°".replace("-", "−")  # noqa: RUF001


def round_length(at_most_A: float) -> float:
    """The longest of 1, 2 and 5 times a power of ten that is no longer, in Å (a power of ten of nm is one of Å)."""
    power = 10.0 ** math.floor(math.log10(at_most_A))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= at_most_A * (1 + 1e-9))


def in_words(length_A: float) -> str:
    """A length in nm, or in µm from 1 µm on."""
    return f"{length_A / 10_000:g} µm" if length_A >= 10_000 * (1 - 1e-9) else f"{length_A / 10:g} nm"


def label_font() -> Font:
    """The font of all labels."""
    return cv2.FontFace(_FONT) if hasattr(cv2, "FontFace") else None


def put_text(ink: NDArray[np.uint8], text: str, origin: tuple[int, int], font: Font, size: int) -> None:
    """Draw a line of text in 255, with the left end of its baseline at `origin`, (x, y)."""
    if font is None:
        strokes, scale, thickness = _strokes(size)
        # The middle of a stroke lies at the left edge; and below, the letter g needs more room than in other fonts.
        begin = origin[0] + thickness // 2, origin[1] - size // 8
        cv2.putText(ink, text.translate(_ASCII), begin, strokes, scale, (255,), thickness, cv2.LINE_AA)
    else:
        cv2.putText(ink, text, origin, (255,), font, size)


def text_stamp(lines: Sequence[str], font: Font, size: int) -> Stamp:
    """Lines of text, one below the other."""
    ink = np.zeros(_text_size(lines, font, size), np.uint8)
    edge = _edge(size)
    for row, line in enumerate(lines):
        put_text(ink, line, (edge, edge - 1 + _ascent(size) + row * _line_height(size)), font, size)
    return Stamp.of(bolder(ink, font, size), _rim(size))


def bolder(ink: NDArray[np.uint8], font: Font, size: int) -> NDArray[np.uint8]:
    """Letters of a font of this size with thicker strokes: the edges of a blurred letter lie outside its own."""
    if font is None:
        return ink
    blurred = cv2.GaussianBlur(ink, (0, 0), size * _BOLDER)
    # The new edge is where a quarter of the ink is left, and as sharp as an eighth more or less makes it.
    return ((blurred.astype(np.int16) - 32) * 4).clip(0, 255).astype(np.uint8)


def _bar_stamp(bar: ScaleBar, font: Font, size: int) -> Stamp:
    """The bar below its text, both in the middle."""
    ink = np.zeros(_bar_size(bar, font, size), np.uint8)
    edge = _edge(size)
    text = (ink.shape[1] - _width(bar.text, font, size)) // 2
    put_text(ink, bar.text, (text, edge - 1 + _ascent(size)), font, size)
    ink = bolder(ink, font, size)
    left = (ink.shape[1] - bar.pixels) // 2
    ink[-_thickness(size) - edge : -edge, left : left + bar.pixels] = 255
    return Stamp.of(ink, _rim(size))


def _legend_stamp(legend: Sequence[tuple[str, Colour | None]], font: Font, size: int) -> ColourStamp:
    """Names, one below the other, each behind a disc of its colour."""
    rows, columns = _legend_size(legend, font, size)
    text = text_stamp([name for name, _ in legend], font, size)
    indent = columns - text.ink.shape[1]
    ink = np.zeros((rows, columns), np.uint8)
    discs = np.zeros((rows, columns, 3), np.uint8)
    for row, (_, colour) in enumerate(legend):
        if colour:
            middle = _edge(size) - 1 + round(0.65 * _ascent(size)) + row * _line_height(size)
            centre = round(16 * indent / 2), 16 * middle
            cv2.circle(ink, centre, round(16 * 0.32 * size), (255,), -1, cv2.LINE_AA, 4)
            cv2.circle(discs, centre, round(16 * 0.32 * size), colour, -1, cv2.LINE_AA, 4)
    cover = Stamp.of(ink, _rim(size)).cover
    cover[:, indent:] = text.cover
    discs[:, indent:] = text.ink[..., None]
    return ColourStamp(np.repeat(255 - cover[..., None], 3, axis=2), discs)


def _legend_size(legend: Sequence[tuple[str, Colour | None]], font: Font, size: int) -> tuple[int, int]:
    rows, columns = _text_size([name for name, _ in legend], font, size)
    return rows, columns + _line_height(size)


def _text_size(lines: Sequence[str], font: Font, size: int) -> tuple[int, int]:
    """Rows and columns of a text with its rim."""
    edge = 2 * _edge(size)
    width = max((_width(line, font, size) for line in lines), default=0)
    return (len(lines) - 1) * _line_height(size) + _ascent(size) + _descent(size) + edge, width + edge


def _bar_size(bar: ScaleBar, font: Font, size: int) -> tuple[int, int]:
    edge = 2 * _edge(size)
    height = _ascent(size) + _descent(size) + _thickness(size) + edge
    return height, max(bar.pixels, _width(bar.text, font, size)) + edge


def _width(text: str, font: Font, size: int) -> int:
    if font is None:
        (width, _), _ = cv2.getTextSize(text.translate(_ASCII), *_strokes(size))
        return width
    left, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), font, size)
    return int(left + width)


def _strokes(size: int) -> tuple[int, float, int]:
    """Hershey's letters, their scale and the width of their strokes: words as wide and as strong as the font's."""
    return cv2.FONT_HERSHEY_SIMPLEX, size / 34, max(1, round(size / 10))


def _margin(size: int) -> int:
    return size // 3


def _ascent(size: int) -> int:
    return size


def _descent(size: int) -> int:
    return size // 3


def _line_height(size: int) -> int:
    return size + size // 3


def _rim(size: int) -> int:
    return max(1, round(size / 10))


def _edge(size: int) -> int:
    """The room around letters: for the rim, and for what makes them bolder."""
    return _rim(size) + 1 + round(size * _BOLDER)


def _thickness(size: int) -> int:
    return max(2, size // 5)
