"""STAR files: their tables one after the other, of which only the columns that are wanted are kept.

Format: Hall, J. Chem. Inf. Comput. Sci. 31 (1991) 326, as far as RELION and its companions use it: blocks ``data_NAME``
with loops of one row a line and single values; comments, quotes; no text over several lines.
"""

import math
import re
from abc import ABC, abstractmethod
from array import array
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.readers.source import Source

Values: TypeAlias = NDArray[np.bytes_]
"""(n,) words of a column, without quotes."""

_PIECE_BYTES = 2**20
_WINDOW_BYTES, _LINES_BYTES = 1024, 16384
_LONGEST_LINE = 2**18
_LONGEST_WORD = 512
"""Longer words are taken from their line one by one: room for as many of that length would be needed for all rows."""
_MOST_COLUMNS = 1000
_QUOTES = {quote: re.compile(quote + rb"(?=\s|$)") for quote in (b'"', b"'")}
_LINE = re.compile(rb"[^\n]*\n|[^\n]+$")
_WORD, _BLANK = re.compile(rb"\S+"), re.compile(rb"\s*")


class Column(ABC):
    """Takes the values of one column as they are read."""

    @abstractmethod
    def extend(self, values: Values, first_row: int) -> None:
        """Take the values of some more rows.

        Args:
            values: The words.
            first_row: The number of the first of these rows, counted from 1.

        Raises:
            InputError: One is no value of this kind.
        """


class Numbers(Column):
    """Numbers; NaN for what is none.

    Attributes:
        values: Those read so far.
    """

    def __init__(self) -> None:
        self.values = array("d")

    def extend(self, values: Values, first_row: int) -> None:
        """Take more numbers."""
        try:
            numbers = values.astype(np.float64)
        except ValueError:
            numbers = np.array([_number(value) for value in values.tolist()], np.float64)
        self.values.frombytes(numbers.tobytes())

    def as_array(self) -> NDArray[np.float64]:
        """(rows,) float64."""
        return np.frombuffer(self.values, np.float64)


def _number(word: bytes) -> float:
    with suppress(ValueError):
        return float(word)
    return math.nan


class Names(Column):
    """Texts, each kept once, however many rows have it.

    Attributes:
        names: The different ones, in the order in which they appeared, and the place of each.
        places: For each row which of them it has.
    """

    def __init__(self) -> None:
        self.names: dict[bytes, int] = {}
        self.places = array("i")

    def extend(self, values: Values, first_row: int) -> None:
        """Take more texts."""
        self.take(values.tolist())

    def take(self, texts: Sequence[bytes]) -> None:
        """Take more texts, as bytes."""
        names = self.names
        self.places.extend([names.setdefault(text, len(names)) for text in texts])

    def texts(self) -> list[str]:
        """The different ones."""
        return [name.decode("utf-8", "surrogateescape") for name in self.names]

    def of_rows(self) -> list[str]:
        """The text of each row."""
        texts = self.texts()
        return [texts[place] for place in self.places]

    def as_array(self) -> NDArray[np.int32]:
        """(rows,) int32, which of the texts each row has."""
        return np.frombuffer(self.places, np.int32)


class Table:
    """A loop, or the single values of a block, which are a table of one row.

    Args:
        block: The name behind ``data_``.
        columns: Their names, without the underscore.
        text: Where the rows are read from; None where `values` has the only one.
        values: The only row.
    """

    def __init__(
        self, block: str, columns: tuple[str, ...], text: "_Text | None", values: tuple[bytes, ...] = ()
    ) -> None:
        self.block = block
        self.columns = columns
        self._text = text
        self._values = values
        self._is_read = False

    def read(self, wanted: Mapping[str, Column]) -> int:
        """Read all rows, once; each of the columns that are wanted takes its values.

        Returns:
            The number of rows.

        Raises:
            InputError: A line has another number of values than there are columns.
        """
        assert not self._is_read
        self._is_read = True
        takers = [(self.columns.index(name), column) for name, column in wanted.items()]
        if self._text is None:
            for place, column in takers:
                column.extend(np.array([self._values[place]]), 1)
            return 1
        return sum(_rows(self._text, self, takers))

    def skip(self) -> None:
        """Go on to what follows the rows."""
        if not self._is_read:
            self.read({})


def tables(source: Source) -> Iterator[Table]:
    """The tables of a file, in order; each is read, or skipped, before the next one comes.

    Raises:
        InputError: A line belongs to no table, or is too long.
    """
    text = _Text(source)
    block = ""
    columns: list[str] = []
    values: list[bytes] = []
    in_loop = after_blank = False
    while line := text.line():
        words = _words(line)
        if not words:
            after_blank = True
        elif words[0].startswith(b"_"):
            columns.append(words[0][1:].decode("utf-8", "replace"))
            if len(columns) > _MOST_COLUMNS:
                raise InputError(f"line {text.number}: more than {_MOST_COLUMNS} columns", "is it a STAR file?")
            after_blank = False
            if not in_loop:
                values.append(b" ".join(words[1:]))
        elif in_loop and columns and (not _begins(words) or (len(columns) == 1 and not after_blank)):
            table = Table(block, tuple(columns), text)
            yield table
            table.skip()
            columns, in_loop, after_blank = [], False, True
            continue
        elif _begins(words):
            if columns and not in_loop:
                yield Table(block, tuple(columns), None, tuple(values))
            columns, values, in_loop = [], [], words[0].lower() == b"loop_"
            if not in_loop:
                block = words[0][5:].decode("utf-8", "replace")
        else:
            raise InputError(f"line {text.number} belongs to no table", "is it a STAR file?")
        text.advance(len(line), 1)
    if columns and not in_loop:
        yield Table(block, tuple(columns), None, tuple(values))


def _begins(words: list[bytes]) -> bool:
    """Whether a line begins a block or a loop."""
    return len(words) == 1 and (words[0].lower() == b"loop_" or words[0][:5].lower() == b"data_")


def _words(line: bytes) -> list[bytes]:
    """The words of a line without comment; a quote is closed by the same one before a blank."""
    if b"#" not in line and b'"' not in line and b"'" not in line:
        return line.split()
    words: list[bytes] = []
    never_closed: set[bytes] = set()
    at = 0
    while (at := _end(_BLANK.match(line, at))) < len(line):
        mark = line[at : at + 1]
        if mark == b"#":
            break
        if mark in _QUOTES and mark not in never_closed:
            if closing := _QUOTES[mark].search(line, at + 1):
                words.append(line[at + 1 : closing.start()])
                at = closing.end()
                continue
            never_closed.add(mark)
        end = _end(_WORD.match(line, at))
        words.append(line[at:end])
        at = end
    return words


def _end(match: "re.Match[bytes] | None") -> int:
    assert match is not None
    return match.end()


class _Text:
    """The text of a file, in whole lines.

    Args:
        source: The file.

    Attributes:
        number: Of the line that comes next, counted from 1.
    """

    def __init__(self, source: Source) -> None:
        self.number = 1
        self._source = source
        self._read = len(BOM_UTF8) if source.read(0, len(BOM_UTF8)) == BOM_UTF8 else 0
        self._piece = b""
        self._at = 0

    def window(self, size: int) -> bytes:
        """The next lines, of so many bytes at most, but one line at least; empty at the end of the file.

        Raises:
            InputError: A line is longer than any that is written by a program of the field.
        """
        while True:
            end = self._piece.rfind(b"\n", self._at, self._at + size) + 1 or self._piece.find(b"\n", self._at) + 1
            if end:
                return self._piece[self._at : end]
            if len(self._piece) - self._at > _LONGEST_LINE:
                raise InputError(f"line {self.number} is too long", "is it a STAR file?")
            more = self._source.read(self._read, _PIECE_BYTES)
            self._piece, self._at = self._piece[self._at :] + more, 0
            self._read += len(more)
            if not more:
                return self._piece

    def line(self) -> bytes:
        """The next line with its end; empty at the end of the file."""
        return self.window(1)

    def advance(self, count: int, lines: int) -> None:
        """Go on by so many bytes, which are so many lines."""
        self._at += count
        self.number += lines


Takers: TypeAlias = Sequence[tuple[int, Column]]
"""Columns, and the place in each row of what they take."""


def _rows(text: _Text, table: Table, takers: Takers) -> Iterator[int]:
    """Read the rows of a table; yields how many were read at a time.

    A window grows as long as all of it are rows: then a file of many small tables takes no longer than its size.
    """
    row, size = 1, _WINDOW_BYTES
    after_blank = False
    while window := text.window(size):
        grid = _grid(window, len(table.columns))
        if grid is not None and grid.lines:
            for place, column in takers:
                column.extend(grid.column(place), row)
            text.advance(grid.bytes, grid.lines)
            row += grid.rows
            yield grid.rows
            size = min(4 * size, _PIECE_BYTES // 2) if grid.bytes == len(window) else _WINDOW_BYTES
            after_blank = False
            continue
        size = _WINDOW_BYTES
        read: list[list[bytes]] = []
        ended = False
        for match in _LINE.finditer(window if grid is not None else text.window(_LINES_BYTES)):
            line = match[0]
            words = _words(line)
            if ended := bool(words) and _ends(words, table, after_blank):
                break
            if words:
                read.append(_checked(words, table, text.number))
            after_blank = not words
            text.advance(len(line), 1)
            if grid is not None:  # what follows this line may be rows without doubt
                break
        if read:
            for place, column in takers:
                column.extend(np.array([words[place] for words in read]), row)
        row += len(read)
        yield len(read)
        if ended:
            return


def _checked(words: list[bytes], table: Table, line: int) -> list[bytes]:
    """The words of a row, if there is one for each column.

    Raises:
        InputError: There is not.
    """
    if len(words) != len(table.columns):
        what = f"line {line} has {len(words)} values, and the table {table.block} has {len(table.columns)} columns"
        raise InputError(what, "is the file whole?")
    return words


def _ends(words: list[bytes], table: Table, after_blank: bool) -> bool:
    """Whether a line belongs to what follows a table; a table of one column may hold ``data_1/a.mrc``."""
    return words[0].startswith(b"_") or (_begins(words) and (len(table.columns) > 1 or after_blank))


class _Grid:
    """The words of lines that are all rows, or blank.

    Args:
        text: The lines, and room for a word behind them.
        starts: (rows, columns), where the words begin.
        ends: (rows, columns), where they end.
        lines: How many lines they are.
        size: Bytes of the lines.
    """

    def __init__(
        self, text: NDArray[np.uint8], starts: NDArray[np.intp], ends: NDArray[np.intp], lines: int, size: int
    ) -> None:
        self._text, self._starts, self._ends = text, starts, ends
        self.rows, self.lines, self.bytes = len(starts), lines, size

    def column(self, place: int) -> Values:
        starts, ends = self._starts[:, place], self._ends[:, place]
        width = int((ends - starts).max(initial=1))
        at = starts[:, None] + np.arange(width)
        words = self._text[at]
        words[at >= ends[:, None]] = 0
        column: Values = words.view(f"S{width}")[:, 0]
        return column


def _grid(window: bytes, columns: int) -> _Grid | None:
    """The words of the first lines of a window, as far as these are rows without doubt.

    None where there may be quotes or comments, and where the table has a single column, so that its rows look like
    what may follow it.
    """
    if columns == 1 or b"#" in window or b'"' in window or b"'" in window or not window.endswith(b"\n"):
        return None
    text = np.frombuffer(window + bytes(_LONGEST_WORD), np.uint8)
    blank = text[: len(window)] <= 32
    edges = np.flatnonzero(blank[1:] != blank[:-1]) + 1
    if not blank[0]:
        edges = np.concatenate(([0], edges))
    starts, ends = edges[0::2], edges[1::2]
    line_ends = np.flatnonzero(text == ord("\n"))
    before = np.searchsorted(starts, line_ends)  # so many words begin before the end of each line
    counts = np.diff(before, prepend=0)
    is_row = counts == columns
    is_row[is_row] = text[starts[before[is_row] - columns]] != ord("_")
    bad = np.flatnonzero(~is_row & (counts > 0))
    lines = int(bad[0]) if len(bad) else len(line_ends)
    words = int(before[lines - 1]) if lines else 0
    starts, ends = starts[:words].reshape(-1, columns), ends[:words].reshape(-1, columns)
    if (ends - starts).max(initial=0) > _LONGEST_WORD:
        return None
    return _Grid(text, starts, ends, lines, int(line_ends[lines - 1]) + 1 if lines else 0)
