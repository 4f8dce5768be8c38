"""One page of a TIFF file: how its pixels are stored, and the way from there to a section.

Formats: TIFF 6.0, and for the floating-point predictor Adobe's TIFF Technical Note 3.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.readers.source import Fetch, Source, is_justified
from mrc2movie.readers.tiff.directory import Directory, Malformed
from mrc2movie.readers.tiff.unpack import METHODS, NONE, PACKBITS, unpack
from mrc2movie.readers.volume import Section
from mrc2movie.readers.voxels import ByteOrder, Coding, Layout, as_shown

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_STRIP_POSITIONS, _ORIENTATION, _SAMPLES, _STRIP_ROWS, _STRIP_BYTES = 273, 274, 277, 278, 279
_PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_POSITIONS, _TILE_BYTES = 284, 317, 322, 323, 324, 325
_SAMPLE_FORMAT = 339
_LONGEST = 2**31 - 1

_OTHER_METHODS = {
    **{2: "CCITT", 3: "CCITT fax 3", 4: "CCITT fax 4", 6: "old JPEG", 7: "JPEG", 34712: "JPEG 2000", 34887: "LERC"},
    **{34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL"},
}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE = range(4)
_INTEGERS, _FLOATS = (1, 2, 4), 3
_NO_DIFFERENCES, _DIFFERENCES, _FLOAT_DIFFERENCES = 1, 2, 3
_PREDICTORS = {_NO_DIFFERENCES: "", _DIFFERENCES: "differences", _FLOAT_DIFFERENCES: "floating-point differences"}

# Which of (rows, columns) run against the picture: the origin of orientation 1 is the upper left corner.
_RUNS_AGAINST = {1: (False, False), 2: (False, True), 3: (True, True), 4: (True, False)}


@dataclass(frozen=True)
class Page:
    """How the pixels of a page are stored.

    Attributes:
        columns: Pixels of a row.
        rows: Rows.
        dtype: Of the samples, in the file's byte order.
        samples: A pixel: 1, or 3 and more where in colour.
        compression: The number of the method.
        predictor: 1 none, 2 differences of samples, 3 of the bytes of floats.
        white_is_zero: Whether zero is white.
        orientation: Which corner the first pixel is, by the numbers of the format.
        piece_columns: Columns of a tile, or all of a strip.
        piece_rows: Rows of a tile or strip; the last strip may have fewer.
        tiled: Whether the pieces are tiles, which are whole even at the edges.
        positions: Where the pieces are, row by row.
        lengths: Their stored bytes.
    """

    columns: int
    rows: int
    dtype: np.dtype[np.generic]
    samples: int
    compression: int
    predictor: int
    white_is_zero: bool
    orientation: int
    piece_columns: int
    piece_rows: int
    tiled: bool
    positions: NDArray[np.int64] = field(repr=False, compare=False)
    lengths: NDArray[np.int64] = field(repr=False, compare=False)

    @property
    def layout(self) -> Layout:
        """Of its pixels, were they all there in one piece."""
        return Layout(self.columns, self.rows, self.dtype, Coding.COLOUR if self.samples > 1 else Coding.REAL)

    @property
    def padded_bytes(self) -> int:
        """Of all pieces, unpacked."""
        rows = len(self.positions) * self.piece_rows if self.tiled else self.rows
        return rows * self._piece_row_bytes

    @property
    def stored_bytes(self) -> int:
        """Of all pieces, as they are in the file."""
        return int(self.lengths.sum())

    @property
    def extent(self) -> tuple[int, int]:
        """Where the first piece starts and the last one ends."""
        return int(self.positions.min()), int((self.positions + self.lengths).max())

    @property
    def is_compact(self) -> bool:
        """Whether nothing that matters lies between the pieces, so that they are read at once."""
        start, end = self.extent
        return end - start <= self.stored_bytes + self.stored_bytes // 4 + 65536

    @property
    def is_plain(self) -> bool:
        """Whether the pixels lie in one piece, as they are: the section is there with a single read."""
        return (
            not self.tiled
            and self.samples in (1, 3)
            and self.compression == NONE
            and not self.white_is_zero
            and not self.mirrored
            and self._pieces_follow_each_other
        )

    @property
    def _pieces_follow_each_other(self) -> bool:
        return bool(np.all(self.positions[1:] == self.positions[:-1] + self.lengths[:-1]))

    @property
    def row0_at_bottom(self) -> bool:
        """Whether the first row is the bottom of the picture."""
        return _RUNS_AGAINST[self.orientation][0]

    @property
    def mirrored(self) -> bool:
        """Whether the first column is the right edge of the picture."""
        return _RUNS_AGAINST[self.orientation][1]

    @property
    def in_words(self) -> str:
        """Compression and arrangement."""
        pieces = f"tiles of {self.piece_columns} x {self.piece_rows}" if self.tiled else "strips"
        return ", ".join(filter(None, (METHODS[self.compression], _PREDICTORS[self.predictor], pieces)))

    @property
    def _piece_row_bytes(self) -> int:
        return self.piece_columns * self.samples * self.dtype.itemsize

    @property
    def scratch_bytes(self) -> int:
        """What `decode` needs: room for what is stored, for what is unpacked of it, and for tiles put together."""
        start, end = self.extent
        stored = end - start if self.is_compact else 0
        return sum(map(_aligned, (stored, self.padded_bytes, self.padded_bytes if self.tiled else 0)))

    def decode(self, fetch: Fetch, source: Source, scratch: NDArray[np.uint8]) -> Section:
        """The section, in the scratch buffer.

        Args:
            fetch: Of all bytes from the first piece to the end of the last.
            source: The file, for pieces that lie apart.
            scratch: At least `scratch_bytes`.

        Raises:
            Malformed: The pieces are not there, or cannot be unpacked.
        """
        start, end = self.extent
        where = zip(self.positions.tolist(), self.lengths.tolist(), strict=True)
        if self.is_compact:
            stored, scratch = scratch[: end - start], scratch[_aligned(end - start) :]
            if fetch(stored.data) < stored.size:
                raise Malformed("it is no longer there")
            pieces = [stored.data[position - start : position - start + length] for position, length in where]
        else:
            pieces = [memoryview(source.read(position, length)) for position, length in where]
        if self.compression == NONE and self.is_compact and self._pieces_follow_each_other:
            unpacked = stored
        else:
            room, scratch = scratch[: self.padded_bytes], scratch[_aligned(self.padded_bytes) :]
            shape = -1, self._piece_row_bytes
            unpacked = unpack(self.compression, pieces, self.piece_rows, room.reshape(shape)).reshape(-1)
        return self._section(self._numbers(unpacked), scratch)

    def _numbers(self, unpacked: NDArray[np.uint8]) -> NDArray[np.generic]:
        """The pixels of all pieces, one below the other: (rows, columns, samples)."""
        native = self.dtype.newbyteorder("=")
        shape = -1, self.piece_columns, self.samples
        if self.predictor == _FLOAT_DIFFERENCES:
            return _undo_float_differences(unpacked.reshape(-1, self._piece_row_bytes), self.samples, native).reshape(
                shape
            )
        numbers = unpacked.view(native).reshape(shape)
        if self.dtype != native:
            numbers.byteswap(inplace=True)
        if self.predictor == _DIFFERENCES:
            differences = numbers.view(f"u{native.itemsize}")
            np.add.accumulate(differences, axis=1, out=differences)
        return numbers

    def _section(self, pixels: NDArray[np.generic], room: NDArray[np.uint8]) -> Section:
        if self.tiled:
            across = -(-self.columns // self.piece_columns)
            tiles = pixels.reshape(-1, across, self.piece_rows, *pixels.shape[1:]).swapaxes(1, 2)
            together = room[: pixels.nbytes].view(pixels.dtype).reshape(tiles.shape)
            np.copyto(together, tiles)
            pixels = together.reshape(-1, across * self.piece_columns, self.samples)[: self.rows, : self.columns]
        if self.white_is_zero:
            (np.negative if pixels.dtype.kind == "f" else np.invert)(pixels, out=pixels)
        if self.mirrored:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
        return np.ascontiguousarray(pixels[..., :3]) if self.samples > 1 else as_shown(pixels[..., 0])


def _aligned(size: int) -> int:
    """A multiple of 64, so that what lies behind can be seen as numbers of any kind."""
    return -(-size // 64) * 64


def _undo_float_differences(rows: NDArray[np.uint8], samples: int, native: np.dtype[np.generic]) -> NDArray[np.generic]:
    """A row of a piece holds the highest bytes of all its floats, then the next, as differences of neighbours."""
    by_sample = rows.reshape(len(rows), -1, samples)
    np.add.accumulate(by_sample, axis=1, out=by_sample)
    planes = rows.reshape(len(rows), native.itemsize, -1).swapaxes(1, 2)
    return np.ascontiguousarray(planes).view(native.newbyteorder(">")).astype(native)


def page_of(directory: Directory, order: ByteOrder, file_bytes: int) -> Page:
    """What a directory says of its page, bounded by what the file can hold.

    Raises:
        Malformed: It makes no sense.
        InputError: It is nothing that is shown; the message says what.
    """
    columns, rows = directory.number(_WIDTH, 0), directory.number(_HEIGHT, 0)
    if not (0 < columns <= _LONGEST and 0 < rows <= _LONGEST):
        raise Malformed(f"it says {columns} columns and {rows} rows")
    samples = directory.number(_SAMPLES, 1)
    dtype = _dtype(directory, samples, order)
    compression = directory.number(_COMPRESSION, NONE)
    if compression not in METHODS:
        name = _OTHER_METHODS.get(compression, f"method {compression}")
        raise InputError(f"is a TIFF file compressed with {name}, which is not read", "write it anew, with LZW")
    photometric = directory.number(_PHOTOMETRIC, _BLACK_IS_ZERO)
    _check_colours(directory, photometric, samples, dtype)
    orientation = directory.number(_ORIENTATION, 1)
    if orientation in range(5, 9):
        raise InputError("is a TIFF file of pages on their side (its orientation tag)", "turn them first")
    predictor = directory.number(_PREDICTOR, 1) if compression not in (NONE, PACKBITS) else _NO_DIFFERENCES
    if predictor not in _PREDICTORS or (predictor == _FLOAT_DIFFERENCES and dtype.kind != "f"):
        raise Malformed(f"it says predictor {predictor}")
    if compression != NONE and directory.number(_FILL_ORDER, 1) != 1:
        raise InputError("is a TIFF file with its bits in reverse order, which is not read", "write it anew")
    tiled = _TILE_POSITIONS in directory
    piece_columns = directory.number(_TILE_WIDTH, 0) if tiled else columns
    piece_rows = directory.number(_TILE_HEIGHT, 0) if tiled else min(directory.number(_STRIP_ROWS, rows), rows)
    if not (0 < piece_columns <= _LONGEST and 0 < piece_rows <= _LONGEST):
        raise Malformed(f"it says pieces of {piece_columns} columns and {piece_rows} rows")
    count = -(-columns // piece_columns) * -(-rows // piece_rows)
    if 2 * count > file_bytes:  # each has a position
        raise Malformed(f"it says {count} pieces, which so small a file cannot hold")
    positions = _positions(directory, _TILE_POSITIONS if tiled else _STRIP_POSITIONS, count)
    unpacked = np.full(count, piece_rows * piece_columns * samples * dtype.itemsize, np.int64)
    if not tiled:
        unpacked[-1] -= (count * piece_rows - rows) * columns * samples * dtype.itemsize
    lengths = unpacked if compression == NONE else _positions(directory, _TILE_BYTES if tiled else _STRIP_BYTES, count)
    page = Page(
        columns=columns,
        rows=rows,
        dtype=dtype,
        samples=samples,
        compression=compression,
        predictor=predictor,
        white_is_zero=photometric == _WHITE_IS_ZERO,
        orientation=orientation if orientation in _RUNS_AGAINST else 1,
        piece_columns=piece_columns,
        piece_rows=piece_rows,
        tiled=tiled,
        positions=positions,
        lengths=lengths,
    )
    if not is_justified(page.scratch_bytes, min(page.stored_bytes, file_bytes)):
        raise Malformed(f"it says {page.padded_bytes} bytes, which so small a file cannot hold")
    return page


def _positions(directory: Directory, tag: int, count: int) -> NDArray[np.int64]:
    values = directory.values(tag, count)
    if values.shape != (count,) or values.dtype.kind not in "iu":
        raise Malformed(f"its tag {tag} has {len(values)} values for {count} pieces")
    if values.max() > 2**62 or values.min() < 0:
        raise Malformed(f"its tag {tag} makes no sense")
    return values.astype(np.int64)


def _dtype(directory: Directory, samples: int, order: ByteOrder) -> np.dtype[np.generic]:
    if not 0 < samples <= 1024:
        raise Malformed(f"it says {samples} samples a pixel")
    bits, form = (set(directory.whole_numbers(tag, samples)) or {1} for tag in (_BITS, _SAMPLE_FORMAT))
    (width, *others), kind = bits, next(iter(form))
    allowed = (16, 32, 64) if kind == _FLOATS else (8, 16, 32, 64) if kind in _INTEGERS else ()
    if others or len(form) > 1 or width not in allowed:
        what = {_FLOATS: "floats", 5: "complex numbers", 6: "complex numbers"}.get(kind, "integers")
        widths = " and ".join(f"{each}" for each in sorted(bits))
        raise InputError(f"is a TIFF file of {widths}-bit {what}, which is not read", "write it anew, as 16-bit grey")
    return np.dtype(f"{order}{'f' if kind == _FLOATS else 'i' if kind == 2 else 'u'}{width // 8}")


def _check_colours(directory: Directory, photometric: int, samples: int, dtype: np.dtype[np.generic]) -> None:
    grey = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) and samples == 1
    red_green_blue = photometric == _RGB and samples >= 3 and directory.number(_PLANAR, 1) == 1
    if grey or (red_green_blue and dtype == np.uint8):
        return
    what = (
        "with a palette of colours"
        if photometric == _PALETTE
        else f"in colour, of {8 * dtype.itemsize} bits a sample"
        if red_green_blue
        else f"of {samples} samples a pixel (photometric interpretation {photometric})"
    )
    raise InputError(f"is a TIFF file {what}, which is no stack of grey images", "make it grey, or 8-bit RGB")
