"""What every writer gives: frames encoded in any thread, packets written in order by one, the movie verified."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import Mrc2movieError, OutputError
from mrc2movie.options.codecs import Codec
from mrc2movie.picture.render import Frame

Packet: TypeAlias = NDArray[np.uint8]
"""(n,) uint8: one encoded frame, as it can be written, kept, and written again."""

Encode: TypeAlias = Callable[[Frame, int], Packet]
"""Encodes a frame for even (0) or odd (1) numbers, for codecs whose frames alternate; not to be shared between threads.

The memory of the frame is that of the next one afterwards, so no packet may lie in it."""

_PIXEL_LIMIT = 2**31 // 8  # FFmpeg's av_image_check_size: (w + 128)(h + 128) must stay below
_FPS_TOLERANCE = 0.0011  # OpenCV approximates the rate by a fraction to within 0.001
_BLOCK = 16  # pixels: levels count macroblocks
_LOSS_OF_DEVIATION, _LOSS_IN_GREYS = 1.1, 3.0


@dataclass(frozen=True)
class MovieFacts:
    """What the container of a finished movie must say.

    Attributes:
        frames: Number of frames.
        width: Columns of a frame.
        height: Rows of a frame.
        fps: Frames a second.
    """

    frames: int
    width: int
    height: int
    fps: float


class MovieWriter(ABC):
    """A movie being written.

    Args:
        path: Where, with the suffix of the container.
        shape: Of the frames: (rows, columns), or (rows, columns, 3) in colour.
        fps: Frames a second.
        codec: Its row of the table.
        even: Whether the frames of the movie must have even sides.

    Attributes:
        width: Columns of a frame of the movie: those of the sections, or one more where the codec needs it.
        height: Rows of a frame of the movie.
        fps: Frames a second of the movie: those asked for, or the nearest that the container can say.
        notes: What the user may want to know of how the frames are written.
        warnings: What the user should know of it.
        peak_bits: The most bits in any second of what is written so far; 0 where OpenCV writes.
        alternates: Whether frames that follow each other must be encoded for even and odd numbers in turn.
        packets_are_frames: Whether a packet is an encoded frame, and not one that is encoded as it is written.
        packet_bytes: Of all packets written so far; 0 where OpenCV writes.

    Raises:
        Mrc2movieError: The codec cannot hold frames of this size.
    """

    alternates = False
    packets_are_frames = True

    def __init__(self, path: Path, shape: tuple[int, ...], fps: float, codec: Codec, even: bool) -> None:
        self._path = path
        self._codec = codec
        self._exact = codec.lossless
        self.fps = fps
        self.peak_bits = self.packet_bytes = 0
        rows, columns = shape[:2]
        self.height, self.width = (rows + rows % 2, columns + columns % 2) if even else (rows, columns)
        self.notes: tuple[str, ...] = ()
        if (self.height, self.width) != (rows, columns):
            self.notes += (
                f"odd size: padded from {columns} x {rows} to {self.width} x {self.height} by repeating the last row "
                "or column",
            )
        self.warnings = _check_size(codec, self.width, self.height)

    @abstractmethod
    def encoder(self) -> Encode:
        """An encoder for one worker thread."""

    @abstractmethod
    def write(self, packet: Packet) -> None:
        """Append a frame; from one thread."""

    @abstractmethod
    def close(self) -> None:
        """Write what is pending and close the file; harmless when it is closed already."""

    def abandon(self) -> None:
        """Close the file in any state, as fast as can be: the movie is given up."""
        # FFmpeg insists on finishing a movie, and to bring the index to the front it would copy all of it; not so one
        # that is no longer there.
        try:
            self._path.unlink(missing_ok=True)
        finally:
            self.close()

    @abstractmethod
    def verify(self, facts: MovieFacts, ends: Mapping[int, Frame]) -> None:
        """Open the closed movie again and hold it against what it must be; from any thread.

        Args:
            facts: What the container must say.
            ends: The first frame of the movie or the last as they were rendered, or both, by their positions in it:
                they must be there and decode to nearly this, see `check_picture`.

        Raises:
            OutputError: It is not so: the disk is full or failing.
        """

    def padded(self, frame: Frame) -> Frame:
        """The frame in the size of the movie's, its last row and column repeated where that is more."""
        rows, columns = frame.shape[:2]
        if (rows, columns) == (self.height, self.width):
            return frame
        more = ((0, self.height - rows), (0, self.width - columns), (0, 0))[: frame.ndim]
        return np.pad(frame, more, mode="edge")

    def check_picture(self, position: int, decoded: Frame | None, frame: Frame) -> None:
        """Hold a decoded frame against the rendered one.

        A lossless codec must give it back exactly. From any other the root mean square of the difference may be at
        most 1.1 times the standard deviation of the frame, plus 3 grey values: even at quality 1 a picture is nearer
        to its frame than a flat grey would be, while a black one, half a one, or another section's noise is not.

        Args:
            position: Of the frame in the movie, for the message.
            decoded: (h, w) of the movie's frames, 0 black, 255 white; None where nothing could be decoded.
            frame: As rendered.

        Raises:
            OutputError: It is another picture.
        """
        expected = self.padded(frame)
        if expected.ndim == 3:
            expected = np.asarray(cv2.cvtColor(expected, cv2.COLOR_RGB2GRAY), np.uint8)
        if decoded is None or decoded.shape != expected.shape:
            raise spoilt(f"frame {position} cannot be decoded")
        if self._exact:
            same = np.array_equal(decoded, expected)
        else:
            loss = cv2.norm(decoded, expected, cv2.NORM_L2) / math.sqrt(expected.size)
            _, deviation = cv2.meanStdDev(expected)
            same = loss <= _LOSS_OF_DEVIATION * float(deviation[0, 0]) + _LOSS_IN_GREYS
        if not same:
            raise spoilt(f"frame {position} does not come back as it was written")


def check_facts(found: MovieFacts, facts: MovieFacts) -> None:
    """Hold what a container says against what it must say.

    Raises:
        OutputError: It says something else.
    """
    sizes_agree = (found.frames, found.width, found.height) == (facts.frames, facts.width, facts.height)
    if not sizes_agree or abs(found.fps - facts.fps) > _FPS_TOLERANCE:
        raise spoilt(
            f"it holds {found.frames} frames of {found.width} x {found.height} at {found.fps:g} a second, not "
            f"{facts.frames} of {facts.width} x {facts.height} at {facts.fps:g}"
        )


def spoilt(what: str) -> OutputError:
    """The error for a movie that is not as it must be."""
    return OutputError(f"the movie was not written well: {what}", "is the disk full?")


def _check_size(codec: Codec, width: int, height: int) -> tuple[str, ...]:
    """Refuse sizes that the codec cannot hold, and warn of those that players cannot show."""
    shortest, longest = codec.sides
    if max(width, height) > longest:
        raise Mrc2movieError(
            f"frames of {width} x {height} are larger than the {longest} pixels a side of {codec.name}",
            f"make them smaller with --max-size {longest}, or take another --codec",
        )
    if min(width, height) < shortest:
        raise Mrc2movieError(
            f"frames of {width} x {height} are smaller than the {shortest} pixels a side of {codec.name}",
            "take another --codec",
        )
    if (width + 128) * (height + 128) >= _PIXEL_LIMIT:
        raise Mrc2movieError(
            f"frames of {width} x {height} have more pixels than a movie can hold", "make them smaller with --max-size"
        )
    if codec.played is None:
        return ()
    columns, rows = codec.played
    area = _whole_blocks(width) * _whole_blocks(height) / (columns * rows)
    side = max(width, height) / max(columns, rows)
    if area <= 1 and side <= 1:
        return ()
    fitting = int(max(width, height) / max(area**0.5, side)) // _BLOCK * _BLOCK
    return (
        f"frames of {width} x {height} are larger than the {columns} x {rows} that common players show of "
        f"{codec.name}: --max-size {fitting} makes them fit",
    )


def _whole_blocks(side: int) -> int:
    return -(-side // _BLOCK) * _BLOCK
