"""What one pass over the sections of a file makes: every product sees each section once."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

from mrc2movie.picture.render import Frame
from mrc2movie.readers.volume import Section

Part: TypeAlias = Any
"""What a product makes of one section: only the product knows its type."""

Work: TypeAlias = Callable[[int, Section, Frame], Part]
"""Takes the position among the sections shown, the prepared section and its frame, both valid only during the call."""


class Product(ABC):
    """Something that is made of the sections of a file as they pass by."""

    @abstractmethod
    def worker(self) -> Work:
        """The work for one thread; called in that thread."""

    @abstractmethod
    def take(self, part: Part) -> None:
        """Take the part of each section, in order, in the thread of the file."""

    @abstractmethod
    def finish(self) -> None:
        """Complete the product, after the last part.

        Raises:
            OutputError: It cannot be written, or is not what it must be.
        """

    @abstractmethod
    def abandon(self) -> None:
        """Give the product up in any state, as fast as can be."""
