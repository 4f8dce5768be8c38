"""What TIFF files are compressed with: stored bytes in, bytes of pixels out, or an error where they are damaged."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mrc2movie.readers.tiff.directory import Malformed

NONE, LZW, PACKBITS = 1, 5, 32773
_DEFLATE = (8, 32946)
METHODS = {NONE: "not compressed", LZW: "LZW", PACKBITS: "PackBits", **dict.fromkeys(_DEFLATE, "deflate")}
"""Those that are read, by their numbers."""


def unpack(method: int, pieces: Sequence[memoryview], rows: int, stacked: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bytes of all pieces, one below the other.

    Args:
        method: A key of `METHODS`.
        pieces: As they are stored.
        rows: Of each; the last may have fewer.
        stacked: (rows of all pieces, bytes of a row), to be filled if that saves a copy.

    Returns:
        `stacked`, or another array like it.

    Raises:
        Malformed: A piece is damaged.
    """
    if method == LZW:
        return _lzw(pieces, rows, stacked.shape)
    for number, piece in enumerate(pieces):
        place = stacked[number * rows : (number + 1) * rows]
        if method == PACKBITS:
            unpacked: bytes | bytearray | memoryview = _packbits(piece, place.size)
        elif method in _DEFLATE:
            unpacked = _deflate(piece, place.size)
        else:
            unpacked = piece
        if len(unpacked) < place.size:
            raise Malformed("it is cut short")
        place[...] = np.frombuffer(unpacked, np.uint8, place.size).reshape(place.shape)
    return stacked


def _deflate(piece: memoryview, count: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(piece, count)
    except zlib.error as error:
        raise Malformed(f"its deflate data are damaged ({error})") from error


def _packbits(piece: memoryview, count: int) -> bytearray:
    unpacked = bytearray()
    at = 0
    while len(unpacked) < count and at < len(piece):
        head = piece[at]
        if head < 128:
            unpacked += piece[at + 1 : at + 2 + head]
            at += 2 + head
        else:
            unpacked += bytes(piece[at + 1 : at + 2]) * (257 - head if head > 128 else 0)
            at += 2 if head > 128 else 1
    return unpacked


def _lzw(pieces: Sequence[memoryview], rows: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """By FFmpeg, as an 8-bit grey image whose strips they are: LZW goes byte by byte, whatever the pixels.

    OpenCV shows black where such data are damaged, and calls that a success.
    """
    import av  # as long to import as all the rest, and not for those who read other files

    decoder = av.CodecContext.create("tiff", "r")
    decoder.options = {"err_detect": "explode"}
    try:
        (frame,) = decoder.decode(av.Packet(_bytes_image(pieces, rows, shape)))
        return np.asarray(frame.to_ndarray(), np.uint8)
    except (av.FFmpegError, struct.error, ValueError) as error:
        raise Malformed("its LZW data are damaged, or larger than FFmpeg unpacks") from error


def _bytes_image(pieces: Sequence[memoryview], rows: int, shape: tuple[int, ...]) -> bytes:
    """A TIFF file of 8-bit pixels whose strips are these pieces; struct.error where it would be too large for one."""
    height, width = shape
    count = len(pieces)
    lengths = [len(piece) for piece in pieces]
    tables_at = 8 + 2 + 12 * 9 + 4
    starts = (tables_at + 8 * count + np.cumsum([0, *lengths])).tolist()
    numbers = {256: width, 257: height, 258: 8, 259: LZW, 262: 1, 277: 1, 278: rows}
    tags = {tag: (1, number) for tag, number in numbers.items()}
    tags[273] = (count, starts[0] if count == 1 else tables_at)
    tags[279] = (count, lengths[0] if count == 1 else tables_at + 4 * count)
    directory = b"".join(struct.pack("<2H2I", tag, 4, *tags[tag]) for tag in sorted(tags))
    tables = struct.pack(f"<{2 * count}I", *starts[:-1], *lengths)
    return b"".join((struct.pack("<2sHIH", b"II", 42, 8, len(tags)), directory, bytes(4), tables, *pieces))
