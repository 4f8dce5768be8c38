"""The tags of a DM3 or DM4 file, which are not to be trusted: bytes in, names and values out.

Gatan has published no format; it is known from https://imagejdocu.list.lu/misc/dm3_format and, for DM4, from
http://www.er-c.org/cbb/info/dmformat/.
"""

import struct
from dataclasses import dataclass, field
from typing import TypeAlias

from mrc2movie.readers.source import Source
from mrc2movie.readers.voxels import ByteOrder

_DIRECTORY, _DATA = 20, 21
_STRUCT, _STRING, _ARRAY = 15, 18, 20
_NUMBERS = {2: "h", 3: "i", 4: "H", 5: "I", 6: "f", 7: "d", 8: "B", 9: "b", 10: "B", 11: "q", 12: "Q"}
_TEXT = 4
"""Texts are arrays of 16-bit units."""
_PIXELS = ".Data"
"""So are pixels of 16 bits, under this name."""

_LONGEST_TEXT = 4096
_MOST_WORDS = 4096
_MOST_TAGS = 1_000_000
_DEEPEST = 64
_READ_AT_ONCE = 16384


class Malformed(Exception):
    """No tags that make sense; the text says why."""


@dataclass(frozen=True)
class Array:
    """Where an array of numbers lies that is too long to be a text.

    Attributes:
        position: Of its first byte.
        size: All its bytes.
    """

    position: int
    size: int


Value: TypeAlias = int | float | str | Array


@dataclass
class Tags:
    """All tags that are numbers, texts or arrays.

    Attributes:
        order: The byte order of the values.
        values: By their path, such as ``ImageList.1.ImageData.DataType``; tags without a name are numbered.
    """

    order: ByteOrder
    values: dict[str, Value] = field(default_factory=dict)

    def number(self, path: str) -> float | None:
        """The value of a tag if it is a number."""
        value = self.values.get(path)
        return value if isinstance(value, (int, float)) else None

    def whole(self, path: str) -> int | None:
        """The value of a tag if it is a whole number."""
        value = self.values.get(path)
        return value if isinstance(value, int) else None

    def text(self, path: str) -> str:
        """The value of a tag if it is a text."""
        value = self.values.get(path)
        return value if isinstance(value, str) else ""


def version_of(head: bytes) -> int:
    """3 or 4; 0 where a file that begins so is none of Digital Micrograph."""
    if len(head) < 32 or head[:3] != b"\0\0\0" or head[3] not in (3, 4):
        return 0
    # A big-endian MRC file of 3 or 4 columns may begin so, but has no such byte order, and no first tag.
    form, start = (">i2BIB", 8) if head[3] == 3 else (">i2BQB", 12)
    order, _, _, count, kind = struct.unpack_from(form, head, start)
    return head[3] if order in (0, 1) and count < _MOST_WORDS and kind in (_DIRECTORY, _DATA) else 0


def read_tags(source: Source, head: bytes) -> Tags:
    """Read all tags of a file.

    Raises:
        Malformed: They make no sense, or it ends within them.
    """
    version = version_of(head)
    words = _Words(source, version)
    words.integer(4)
    words.count()
    little = words.integer(4)
    tags = Tags("<" if little else ">")
    _Reading(words, tags).group("", 0)
    return tags


class _Words:
    """The file from its first byte to its last, a few bytes at a time."""

    def __init__(self, source: Source, version: int) -> None:
        self._source = source
        self._at = 0
        self._window = b""
        self._window_at = 0
        self.has_sizes = version == 4
        self._count_bytes = 8 if version == 4 else 4

    @property
    def position(self) -> int:
        """Of the next byte."""
        return self._at

    def take(self, count: int) -> bytes:
        start = self._at - self._window_at
        if not 0 <= start <= start + count <= len(self._window):
            self._window_at, start = self._at, 0
            self._window = self._source.read(self._at, max(count, _READ_AT_ONCE))
            if len(self._window) < count:
                raise Malformed("it ends within its tags")
        self._at += count
        return self._window[start : start + count]

    def skip(self, count: int) -> None:
        self._at += count
        if not 0 <= self._at <= self._source.size:
            raise Malformed("it ends within its tags")

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def count(self) -> int:
        """A number of tags, or of bytes."""
        return self.integer(self._count_bytes)


class _Reading:
    """Reads groups within groups.

    Args:
        words: The file.
        tags: Gets what is found.
    """

    def __init__(self, words: _Words, tags: Tags) -> None:
        self._words = words
        self._tags = tags
        self._seen = 0

    def group(self, path: str, depth: int) -> None:
        if depth > _DEEPEST:
            raise Malformed(f"its tags are nested more than {_DEEPEST} deep")
        words = self._words
        words.take(2)  # whether it is sorted, and whether it is open: for a person's eye
        count = words.count()
        for number in range(count):
            self._seen += 1
            if self._seen > _MOST_TAGS:
                raise Malformed(f"it has more than {_MOST_TAGS} tags")
            kind = words.integer(1)
            name = words.take(words.integer(2)).decode("latin-1") or str(number)
            if words.has_sizes:
                words.count()
            below = f"{path}.{name}" if path else name
            if kind == _DIRECTORY:
                self.group(below, depth + 1)
            elif kind == _DATA:
                self._data(below)
            else:
                raise Malformed(f"its tag {below[:80]!r} is of no kind that is known ({kind})")

    def _data(self, path: str) -> None:
        words = self._words
        if words.take(4) != b"%%%%":
            raise Malformed(f"its tag {path[:80]!r} does not begin as it should")
        count = words.count()
        if not 0 < count <= _MOST_WORDS:
            raise Malformed(f"its tag {path[:80]!r} makes no sense")
        kinds = [words.count() for _ in range(count)]
        if kinds[0] in _NUMBERS:
            form = self._tags.order + _NUMBERS[kinds[0]]
            (self._tags.values[path],) = struct.unpack(form, words.take(struct.calcsize(form)))
        elif kinds[0] == _STRUCT:
            words.skip(_struct_bytes(kinds, path))
        elif kinds[0] == _STRING and count == 2:
            self._text(path, kinds[1])
        elif kinds[0] == _ARRAY and count >= 3:
            each = _struct_bytes(kinds[1:-1], path) if kinds[1] == _STRUCT else _number_bytes(kinds[1], path)
            size = each * kinds[-1]
            if kinds[1] == _TEXT and kinds[-1] <= _LONGEST_TEXT and not path.endswith(_PIXELS):
                self._text(path, kinds[-1])
            else:
                self._tags.values[path] = Array(words.position, size)
                words.skip(size)
        else:
            raise Malformed(f"its tag {path[:80]!r} makes no sense")

    def _text(self, path: str, units: int) -> None:
        encoding = "utf-16-le" if self._tags.order == "<" else "utf-16-be"
        if units > _LONGEST_TEXT:
            self._words.skip(2 * units)
        else:
            self._tags.values[path] = self._words.take(2 * units).decode(encoding, "replace")


def _number_bytes(kind: int, path: str) -> int:
    if kind not in _NUMBERS:
        raise Malformed(f"its tag {path[:80]!r} is of no type that is known ({kind})")
    return struct.calcsize("<" + _NUMBERS[kind])


def _struct_bytes(kinds: list[int], path: str) -> int:
    """Of a struct: its kind, the length of its name, the number of fields, and for each the same two."""
    if len(kinds) < 3 or len(kinds) != 3 + 2 * kinds[2]:
        raise Malformed(f"its tag {path[:80]!r} makes no sense")
    # Names have no length in any file that was ever seen.
    return sum(kinds[3::2]) + kinds[1] + sum(_number_bytes(kind, path) for kind in kinds[4::2])
