"""The directories of a TIFF file, which are not to be trusted: positions in, tags out.

Formats: TIFF 6.0 (https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf) and BigTIFF
(https://www.awaresystems.be/imaging/tiff/bigtiff.html).
"""

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mrc2movie.readers.source import Source
from mrc2movie.readers.voxels import ByteOrder

_MOST_ENTRIES = 4096
_READ_AT_ONCE = 1024

_TYPES = {
    1: "u1",
    2: "u1",
    3: "u2",
    4: "u4",
    5: "2u4",
    6: "i1",
    7: "u1",
    8: "i2",
    9: "i4",
    10: "2i4",
    11: "f4",
    12: "f8",
    13: "u4",
    16: "u8",
    17: "i8",
    18: "u8",
}
"""Of values, by the number of their type; rationals are a numerator and a denominator."""


class Malformed(Exception):
    """No directory that makes sense; the text says why."""


@dataclass(frozen=True)
class Form:
    """Which of the two forms of TIFF a file has.

    Attributes:
        order: Its byte order.
        is_big: Whether it is a BigTIFF, with positions of 64 bits.
    """

    order: ByteOrder
    is_big: bool

    @property
    def count_bytes(self) -> int:
        """Of the number of entries before a directory."""
        return 8 if self.is_big else 2

    @property
    def position_bytes(self) -> int:
        """Of a position in the file."""
        return 8 if self.is_big else 4

    @property
    def entry_bytes(self) -> int:
        """Of an entry of a directory: tag, type, count, and the value or its position."""
        return 4 + 2 * self.position_bytes

    def unpack(self, layout: str, raw: bytes, offset: int = 0) -> int:
        """One number; N stands for a position or a count."""
        number: int = struct.unpack_from(self.order + layout.replace("N", "Q" if self.is_big else "I"), raw, offset)[0]
        return number


def form_of(head: bytes) -> Form | None:
    """The form of a file that begins so; None where it is no TIFF file."""
    return {
        b"II*\0": Form("<", False),
        b"MM\0*": Form(">", False),
        b"II+\0": Form("<", True),
        b"MM\0+": Form(">", True),
    }.get(head[:4])


def first_position(form: Form, head: bytes) -> int:
    """Where the first directory is.

    Raises:
        Malformed: The head is too short.
    """
    offset = 8 if form.is_big else 4
    if len(head) < offset + form.position_bytes:
        raise Malformed("it ends within its header")
    return form.unpack("N", head, offset)


class _Entry(NamedTuple):
    kind: int
    length: int
    value: bytes


@dataclass(frozen=True)
class Directory:
    """The tags of a page.

    Attributes:
        position: Where it is.
        following: Where the next one is; 0 after the last.
    """

    position: int
    following: int
    _source: Source
    _form: Form
    _entries: dict[int, _Entry] = field(repr=False)

    @classmethod
    def read(cls, source: Source, form: Form, position: int) -> "Directory":
        """Read the directory at a position.

        Raises:
            Malformed: There is none.
        """
        raw = source.read(position, _READ_AT_ONCE)
        if position < 8 or len(raw) < form.count_bytes:
            raise Malformed("its directory is not there")
        count = form.unpack("Q" if form.is_big else "H", raw)
        end = form.count_bytes + count * form.entry_bytes
        if not 0 < count <= _MOST_ENTRIES:
            raise Malformed(f"its directory claims {count} tags")
        if len(raw) < end + form.position_bytes:
            raw = source.read(position, end + form.position_bytes)
        if len(raw) < end:
            raise Malformed("it ends within its directory")
        entries: dict[int, _Entry] = {}
        for start in range(form.count_bytes, end, form.entry_bytes):
            tag, kind = struct.unpack_from(form.order + "2H", raw, start)
            value_at = start + 4 + form.position_bytes
            value = raw[value_at : value_at + form.position_bytes]
            entries.setdefault(tag, _Entry(kind, form.unpack("N", raw, start + 4), value))
        # A file that ends here has lost only what follows.
        following = form.unpack("N", raw, end) if len(raw) >= end + form.position_bytes else 0
        return cls(position, following, source, form, entries)

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def values(self, tag: int, at_most: int) -> NDArray[np.generic]:
        """The first values of a tag, (n,), or (n, 2) for rationals; none where it has none.

        Raises:
            Malformed: They are not in the file.
        """
        entry = self._entries.get(tag)
        if entry is None or entry.kind not in _TYPES:
            return np.empty(0, np.uint8)
        dtype = np.dtype(f"{self._form.order}{_TYPES[entry.kind][-2:]}")
        each = dtype.itemsize * (2 if _TYPES[entry.kind].startswith("2") else 1)
        count = min(entry.length, at_most)
        raw = entry.value
        if each * entry.length > len(raw):
            position = self._form.unpack("N", raw)
            if position + count * each > self._source.size:
                raise Malformed(f"its tag {tag} claims {each * entry.length} bytes that are not there")
            raw = self._source.read(position, count * each)
            if len(raw) < count * each:
                raise Malformed(f"its tag {tag} is not there")
        values = np.frombuffer(raw, dtype, count * each // dtype.itemsize)
        return values.reshape(count, 2) if each > dtype.itemsize else values

    def whole_numbers(self, tag: int, at_most: int) -> list[int]:
        """The first values of a tag.

        Raises:
            Malformed: They are no whole numbers, or not in the file.
        """
        values = self.values(tag, at_most)
        if values.dtype.kind not in "iu" or values.ndim > 1:
            raise Malformed(f"its tag {tag} is no whole number")
        return [int(value) for value in values]

    def number(self, tag: int, otherwise: int) -> int:
        """The first value of a tag as a whole number.

        Raises:
            Malformed: It is none.
        """
        return next(iter(self.whole_numbers(tag, 1)), otherwise)

    def ratio(self, tag: int) -> float:
        """The value of a rational or a float; 0 where there is none."""
        values = self.values(tag, 1).astype(np.float64).ravel()
        if values.size == 2:
            return float(values[0] / values[1]) if values[1] else 0.0
        return float(values[0]) if values.size else 0.0

    def text(self, tag: int, at_most: int) -> str:
        """The first characters of a text; ImageJ writes Latin 1, OME UTF-8."""
        raw = self.values(tag, at_most).tobytes().split(b"\0")[0]
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return raw.decode("latin-1")
