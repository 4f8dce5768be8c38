"""Compressed files as a source of bytes: decompressed as they are asked for, never as a whole.

Formats by their magic numbers: gzip (RFC 1952), bzip2, xz, Zstandard (RFC 8878).
"""

import bz2
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Protocol

from mrc2movie.errors import InputError
from mrc2movie.readers.source import Fetch, InputFile, Source, is_justified
from mrc2movie.store.spool import Spool

_INPUT_BYTES = (16 * 1024, 256 * 1024)  # at first, since a stream may be tiny and another follow; and later
_CAREFUL_BYTES = 512
_GZIP_TRAILER_BYTES = 8
_SKIP_BYTES = 1 << 20
_SPOOLED = (
    "what is unpacked of it, to be read in another order,",
    "take the file's own order (--order file, --playback forward)",
)
_XZ_MEMORY = 256 * 2**20  # xz -9 needs 65 MB; a file may claim to need any amount
_WINDOW_SEEN_IN = 1024
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_ZSTANDARD_SKIPPABLE = tuple(bytes([0x50 + kind]) + b"\x2a\x4d\x18" for kind in range(16))  # pzstd writes them


class Decompressor(Protocol):
    """One stream (gzip member, bzip2 or xz stream, Zstandard frame), as the standard library has it."""

    @property
    def eof(self) -> bool:
        """Whether the stream has come to its end."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out without more going in."""

    @property
    def unused_data(self) -> bytes:
        """What followed the end of the stream."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most so many bytes more; what remains of the input is kept."""


class _Gzip:
    """A gzip member (RFC 1952) with the face of the others.

    zlib can read the framing itself, but throws what it has unpacked away when the checksum after it is wrong.
    """

    def __init__(self) -> None:
        self.eof = False
        self.needs_input = True
        self.unused_data = b""
        self._kept = b""
        self._inflate: zlib._Decompress | None = None
        self._checksum = 0

    def decompress(self, data: bytes, max_length: int) -> bytes:
        self._kept += data
        self.needs_input = False
        if self._inflate is None:
            start = _gzip_header_length(self._kept)
            if start > len(self._kept):
                self.needs_input = True
                return b""
            self._kept = self._kept[start:]
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        if not self._inflate.eof:
            result = self._inflate.decompress(self._kept, max_length)
            self._checksum = zlib.crc32(result, self._checksum)
            self._kept = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            self.needs_input = not self._kept
            if result or not self._inflate.eof:
                return result
        if len(self._kept) < _GZIP_TRAILER_BYTES:
            self.needs_input = True
            return b""
        if int.from_bytes(self._kept[:4], "little") != self._checksum:
            raise zlib.error("its checksum is wrong")
        self.unused_data = self._kept[_GZIP_TRAILER_BYTES:]
        self.eof = True
        return b""


def _gzip_header_length(head: bytes) -> int:
    """Where the deflated data begin; more than there is where that cannot be seen yet."""
    has_crc, has_extra, has_name, has_comment = (head[3] & flag if len(head) > 3 else 0 for flag in (2, 4, 8, 16))
    end = 10
    if has_extra:
        end += 2 + int.from_bytes(head[10:12], "little")
    for is_there in (has_name, has_comment):
        if is_there:
            found = head.find(b"\0", end)
            if found < 0:
                return len(head) + 1
            end = found + 1
    return end + (2 if has_crc else 0)


def _zstandard() -> Decompressor:
    for module in ("compression.zstd", "backports.zstd"):  # the former from Python 3.14 on
        try:
            decompressor: Decompressor = import_module(module).ZstdDecompressor()
        except ModuleNotFoundError:
            continue
        return decompressor
    raise InputError("is compressed with Zstandard", "pip install 'mrc2movie[zst]' to read it, or unpack it first")


def _zstandard_window(head: bytes) -> int:
    """The memory that a frame claims to need, by its first bytes (RFC 8878, 3.1.1); 0 where they do not tell."""
    if len(head) < 14 or not head.startswith(_ZSTANDARD):
        return 0
    if head[4] & 32:  # a single segment: its content is its window
        dictionary, size = (0, 1, 2, 4)[head[4] & 3], (1, 2, 4, 8)[head[4] >> 6]
        return int.from_bytes(head[5 + dictionary : 5 + dictionary + size], "little")
    base = 1 << (10 + (head[5] >> 3))
    return base + base // 8 * (head[5] & 7)


def _xz_dictionary(head: bytes) -> int:
    """The memory that a stream's first block claims to need, by its LZMA2 filter (xz file format, 3.1 and 5.3.1)."""
    end = 12 + 4 * (head[12] + 1) if len(head) > 12 else 0
    found = head.rfind(b"\x21\x01", 14, end - 4)  # the filter is the last, and has one byte of properties
    bits = head[found + 2] if 0 <= found < end - 6 else 0
    return (2 | bits & 1) << (bits // 2 + 11) if 0 < bits < 40 else 0


@dataclass(frozen=True)
class Compression:
    """A way to compress files.

    Attributes:
        name: In a word.
        magic: What a file begins with.
        ratio: No byte of the file can stand for more bytes than this.
        start: Makes the decompressor of one stream.
    """

    name: str
    magic: tuple[bytes, ...]
    ratio: int
    start: Callable[[], Decompressor]


COMPRESSIONS = (
    Compression("gzip", (b"\x1f\x8b\x08",), 1032, _Gzip),
    Compression("bzip2", tuple(b"BZh%d" % level for level in range(1, 10)), 1 << 21, bz2.BZ2Decompressor),
    Compression("xz", (b"\xfd7zXZ\0",), 1 << 13, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)),
    Compression("Zstandard", (_ZSTANDARD, *_ZSTANDARD_SKIPPABLE), 1 << 16, _zstandard),
)
"""The ratios: zlib's documentation for gzip; for bzip2 a block of 900 kB, each byte of which may stand for 51, in 40
bytes; for xz a repeated match of 273 bytes at 14 decisions of 0.022 bits; for Zstandard a block of 128 kB in 4."""

MAGIC_BYTES = 6


def compression_of(head: bytes) -> Compression | None:
    """How a file is compressed that begins so, whatever its name."""
    return next((each for each in COMPRESSIONS if head.startswith(each.magic)), None)


class DecompressedStream(Source):
    """A compressed file, decompressed from the start on as far as is asked for.

    Rising positions cost no more than the bytes between; position 0 again, or any that falls, starts over. Sections in
    another order than that of the file would start over again and again: then what was decompressed is kept in an
    unlinked temporary file, which needs disk space, but each byte is decompressed once.

    Args:
        file: The compressed file; closed with the stream.
        compression: How.
        spool_directory: Where the temporary file goes; the system's directory where None.
    """

    def __init__(self, file: InputFile, compression: Compression, spool_directory: Path | None) -> None:
        self.path = file.path
        self.container = compression.name
        self.size = file.size * compression.ratio
        self.size_is_known = False
        self._file = file
        self._compression = compression
        self._spool_directory = spool_directory
        self._spool: Spool | None = None
        self._careful_from: int | None = None
        self._restart()

    def _restart(self) -> None:
        self._stream: Decompressor | None = None
        self._input_bytes = _INPUT_BYTES[0]
        self._read_from = 0
        self._stream_from = 0
        self._position = 0

    def justifies(self, section_bytes: int) -> bool:
        """Whether so large a section may be believed before it was decompressed."""
        return section_bytes <= self.size and is_justified(section_bytes, self._file.size)

    def expect_any_order(self) -> None:
        """Keep what is decompressed from now on in a temporary file."""
        if self._spool is None:
            self._spool = Spool(self._spool_directory, *_SPOOLED)
            self._restart()

    def at(self, offset: int, count: int) -> Fetch:
        """Decompress up to and with these bytes."""
        if self._spool is not None:
            while self._position < offset + count and (data := self._pull(_SKIP_BYTES)):
                self._spool.write(self._position - len(data), memoryview(data))
            return partial(self._spool.read_into, offset)
        if offset < self._position:
            self._restart()
        while self._position < offset:
            if not self._pull(min(offset - self._position, _SKIP_BYTES)):
                return lambda buffer: 0
        parts, missing = [], count
        while missing and (data := self._pull(missing)):
            parts.append(data)
            missing -= len(data)
        return partial(_copy, parts)

    def _pull(self, count: int) -> bytes:
        """At least one and at most so many of the bytes that follow; none at the end, which is then known."""
        if self.size_is_known and self._position >= self.size:
            return b""
        if self._careful_from is not None:
            before = self._careful_from - self._position
            count = min(count, before if before > 0 else _CAREFUL_BYTES)
        try:
            data = self._decompress(count)
        except Exception as error:
            # Zstandard's error is known by its name: its module may be missing.
            if type(error).__name__ in ("LZMAError", "ZstdError") and "memory" in str(error).lower():
                raise self._needs_memory() from error
            if not isinstance(error, (zlib.error, OSError, EOFError, lzma.LZMAError)) and (
                type(error).__name__ != "ZstdError"
            ):
                raise
            if self._careful_from is None:
                return self._again_with_care(count)
            self.damage = f"the {self.container} stream is damaged after {self._position} bytes ({error})"
            data = b""
        if not data:
            self.size, self.size_is_known = self._position, True
        self._position += len(data)
        return data

    def _needs_memory(self) -> InputError:
        head = self._file.read(self._stream_from, _WINDOW_SEEN_IN)
        needed = (_zstandard_window if self.container == "Zstandard" else _xz_dictionary)(head)
        much = f"{needed / 2**20:.0f} MB of" if needed else "more"
        return InputError(f"needs {much} memory to be unpacked, which is too much here", "unpack it first")

    def _again_with_care(self, count: int) -> bytes:
        """Come to the same place again and go on in small steps: what a failing call has unpacked is lost."""
        self._careful_from = self._position
        self._restart()
        while self._position < self._careful_from and self._pull(_SKIP_BYTES):
            pass
        return self._pull(count)

    def _decompress(self, count: int) -> bytes:
        while True:
            if self._stream is None:
                head = self._skip_padding()
                if compression_of(head) is not self._compression:
                    return b""  # the end; whatever follows it is no part of the stream
                self._stream = self._compression.start()
                self._stream_from = self._read_from
                self._input_bytes = _INPUT_BYTES[0]
            stream = self._stream
            raw = b""
            if stream.needs_input:
                raw = self._file.read(self._read_from, self._input_bytes)
                self._read_from += len(raw)
                self._input_bytes = _INPUT_BYTES[1]
                if not raw:
                    self.damage = f"the {self.container} stream is cut short after {self._position} bytes"
                    return b""
            data = stream.decompress(raw, count)
            if stream.eof:
                self._read_from -= len(stream.unused_data)
                self._stream = None
            if data:
                return data

    def _skip_padding(self) -> bytes:
        """The first bytes of the next stream: files may be strung together, with zeros between."""
        head = self._file.read(self._read_from, MAGIC_BYTES)
        while self._read_from and head.startswith(b"\0"):
            padding = self._file.read(self._read_from, _INPUT_BYTES[1])
            self._read_from += len(padding) - len(padding.lstrip(b"\0"))
            head = self._file.read(self._read_from, MAGIC_BYTES)
        return head

    def close(self) -> None:
        """Close the file and drop what was kept."""
        self._file.close()
        if self._spool is not None:
            self._spool.close()


def _copy(parts: list[bytes], buffer: memoryview) -> int:
    done = 0
    for part in parts:
        buffer[done : done + len(part)] = part
        done += len(part)
    return done
