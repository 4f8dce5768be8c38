"""What every writer gives: frames encoded in any thread, packets written in order by one."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mrc2movie.render import Frame

Packet: TypeAlias = NDArray[np.uint8]
"""(n,) uint8: one encoded frame, as it can be written, kept, and written again."""

Encode: TypeAlias = Callable[[Frame], Packet]
"""Encodes one frame; not to be shared between threads."""


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

    Attributes:
        width: Columns of a frame of the movie: those of the sections, or a little more where the codec needs it.
        height: Rows of a frame of the movie.
        notes: What the user should know of how the frames are written.
    """

    width: int
    height: int
    notes: tuple[str, ...] = ()

    @abstractmethod
    def encoder(self) -> Encode:
        """An encoder for one worker thread."""

    @abstractmethod
    def write(self, packet: Packet) -> None:
        """Append a frame; from one thread."""

    @abstractmethod
    def close(self) -> None:
        """Write what is pending and close the file; harmless when it is closed already."""

    @abstractmethod
    def verify(self, facts: MovieFacts, first: Packet, last: Packet) -> None:
        """Open the closed movie again and hold it against what it must be.

        Args:
            facts: What the container must say.
            first: The first packet written; it must be there and decode.
            last: The last packet written; likewise.

        Raises:
            OutputError: It is not so: the disk is full or failing.
        """
