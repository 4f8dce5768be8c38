"""Which sections are exactly equal: found in the second pass, among those that the first leaves in question."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from mrc2movie.picture.render import Frame
from mrc2movie.readers.volume import Section
from mrc2movie.writers.product import Product, Work


class Alike(Product):
    """The sections that are exactly equal, by a digest of those in question: no section is kept, or read again.

    Args:
        maybe: The positions in question, see `SectionTable.maybe_alike`.
    """

    def __init__(self, maybe: frozenset[int]) -> None:
        self._maybe = maybe
        self._found: defaultdict[bytes, list[int]] = defaultdict(list)

    def worker(self) -> Work:
        """Take the digest of a section in question."""

        def work(position: int, section: Section, frame: Frame) -> tuple[int, bytes] | None:
            if position not in self._maybe:
                return None
            return position, hashlib.blake2b(np.ascontiguousarray(section).data, digest_size=16).digest()

        return work

    def take(self, part: tuple[int, bytes] | None) -> None:
        """Note the digest."""
        if part:
            self._found[part[1]].append(part[0])

    def finish(self) -> None:
        """Nothing is to be written."""

    def abandon(self) -> None:
        """Nothing is open."""

    def groups(self) -> Sequence[Sequence[int]]:
        """The positions of sections that are exactly equal, each group in rising order."""
        return [positions for positions in self._found.values() if len(positions) > 1]
