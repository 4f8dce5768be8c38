"""MRC files whose voxels lie in the open, in a plain file or in a compressed stream."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from mrc2movie.errors import InputError, NotWhole
from mrc2movie.readers.foreign import what_is
from mrc2movie.readers.metadata import Metadata
from mrc2movie.readers.mrc.describe import describe, with_damage
from mrc2movie.readers.mrc.extended import extended_bytes_wanted, extended_metadata
from mrc2movie.readers.mrc.header import HEADER_BYTES, Header, HeaderError, parse_header
from mrc2movie.readers.plain import fill, load
from mrc2movie.readers.source import Source
from mrc2movie.readers.volume import Load, SizeLearned, Volume
from mrc2movie.readers.voxels import Centring, Coding, Sign


@dataclass(frozen=True)
class Head:
    """What stands before the voxels.

    Attributes:
        raw: The header's bytes.
        sign: Of 8-bit integers, where the user knows better.
        header: What was made of them with the size of the file as far as known.
        extended: What the extended header tells, if anything.
    """

    raw: bytes
    sign: Sign
    header: Header
    extended: Metadata | None = None


def read_head(source: Source, raw: bytes, sign: Sign) -> Head:
    """Read what stands before the voxels.

    Raises:
        InputError: It is no MRC file; the message says what it is, where that shows.
    """
    if source.size == 0 and not source.damage:
        raise NotWhole("is empty", "was it ever written?")
    header = _parse(raw, source, sign)
    size = source.size
    extended = source.read(HEADER_BYTES, extended_bytes_wanted(header))
    if source.size != size:  # a stream came to its end within what it claims to be its extended header
        header = _parse(raw, source, sign)
    return Head(raw, sign, header, extended_metadata(header, extended[: header.extended_bytes]))


def _parse(raw: bytes, source: Source, sign: Sign) -> Header:
    try:
        try:
            return parse_header(raw, source.size, sign, size_is_known=source.size_is_known)
        except HeaderError as error:
            # How long a compressed stream is shows only at its end: look there where that decides, and is not far.
            if source.size_is_known or not error.decided_by or not source.justifies(error.decided_by):
                raise
            source.read(error.decided_by, 1)
            return parse_header(raw, source.size, sign, size_is_known=source.size_is_known)
    except HeaderError as error:
        raise _refusal(raw, source, str(error)) from None


def _refusal(raw: bytes, source: Source, why: str) -> InputError:
    if foreign := what_is(raw):
        return InputError(f"is no MRC file but {foreign}")
    if source.damage:
        return NotWhole(f"holds nothing to show: {source.damage}", "copy it again")
    return NotWhole(why, "it is no MRC file, or damaged, or not yet written")


class MrcVolume(Volume):
    """An MRC file whose voxels lie in the open.

    Args:
        source: Where its bytes come from; closed with the volume.
        head: What stands before the voxels.

    Raises:
        InputError: It holds no whole section.
    """

    def __init__(self, source: Source, head: Head) -> None:
        self.path = source.path
        self.has_random_access = not source.container
        self._source = source
        self._head = head
        self._settle(head.header)
        self._centring = self._find_centring()

    def _settle(self, header: Header) -> None:
        """Make of the file what can be made of it with its size as far as known."""
        source, layout = self._source, header.layout
        there = (source.size - header.data_offset) // layout.section_bytes
        if there <= 0:
            why = f"its header says {header.nz} sections of {layout.columns} x {layout.rows}, but not one is whole"
            raise _refusal(self._head.raw, source, why)
        if not source.justifies(layout.section_bytes):
            raise InputError(
                f"its header says sections of {layout.section_bytes} bytes, which so small a file cannot hold",
                "it is damaged, or made to fill the memory; unpack it first if it is neither",
            )
        self._header, self._settled_size = header, source.size
        self.scratch_bytes = layout.section_bytes
        extended = self._head.extended if header.extended_bytes else None
        self.description = with_damage(describe(self.path, source.container, header, there, extended), source.damage)

    def _settle_again(self) -> bool:
        """Settle once more if the end of a stream was met; returns whether that changes what sections are."""
        if self._source.size == self._settled_size:
            return False
        before = self.description.shape, self._header.data_offset, self._header.layout
        self._settle(_parse(self._head.raw, self._source, self._head.sign))
        return before != (self.description.shape, self._header.data_offset, self._header.layout)

    def _find_centring(self) -> Centring:
        layout = self._header.layout
        if layout.coding is not Coding.COMPLEX:
            return False, False
        scratch = np.empty(layout.section_bytes, np.uint8)
        fetch = self._source.at(self._header.data_offset, layout.section_bytes)
        if self._settle_again():
            return self._find_centring()
        fill(fetch, scratch, 0)
        return layout.centring_of(scratch)

    def expect(self, numbers: Iterable[int], rising: bool) -> None:
        """Prepare a compressed stream for an order that is not rising."""
        if not rising:
            self._source.expect_any_order()

    def section(self, number: int) -> Load:
        """The way to load a section, from any thread."""
        source, header = self._source, self._header
        size = header.layout.section_bytes
        start = header.data_offset + number * size
        fetch = source.at(start, size)
        if number == self.description.shape[0] - 1 and not source.size_is_known:
            source.read(start + size, 1)  # meets the end of a stream, where its checksum is
        if self._settle_again():
            self._centring = self._find_centring()
            raise SizeLearned("is shorter than its header says")
        return partial(load, number, fetch, header.layout, self._centring)

    def close(self) -> None:
        """Close the file."""
        self._source.close()
