"""MRCZ files: every section is a chunk of Blosc, so that any can be read without the others.

Format: https://python-mrcz.readthedocs.io/en/latest/specification.html; chunks of c-blosc 1 and 2 begin with the same
16 bytes (https://github.com/Blosc/c-blosc2/blob/main/README_CHUNK_FORMAT.rst).
"""

import struct
from array import array
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError, NotWhole
from mrc2movie.readers.mrc.describe import describe
from mrc2movie.readers.mrc.volume import Head
from mrc2movie.readers.source import Source, is_justified
from mrc2movie.readers.volume import Load, Section, Volume
from mrc2movie.readers.voxels import Coding

_CHUNK_HEADER_BYTES = 16

Decompress = Callable[[bytes, NDArray[np.uint8]], object]


class MrczVolume(Volume):
    """A compressed MRCZ file.

    Args:
        source: Where its bytes come from; closed with the volume.
        head: What stands before the voxels.

    Raises:
        InputError: It holds no whole section, or Blosc is not installed.
    """

    def __init__(self, source: Source, head: Head) -> None:
        self.path = source.path
        self._source = source
        self._header = header = head.header
        self.scratch_bytes = header.layout.section_bytes
        if not is_justified(self.scratch_bytes, source.size):
            raise InputError(
                f"its header says sections of {self.scratch_bytes} bytes, which so small a file cannot hold",
                "it is damaged, or made to fill the memory",
            )
        self._starts = self._walk()
        if not self._starts[1:]:
            raise NotWhole(
                f"its header says {header.nz} sections, but not one is whole",
                "copy it again, or wait until it is written",
            )
        self._decompress = _blosc()
        self.description = describe(self.path, source.container, header, len(self._starts) - 1, head.extended)
        self._centring = (False, False)
        if header.layout.coding is Coding.COMPLEX:
            scratch = np.empty(self.scratch_bytes, np.uint8)
            self._unpack(0, scratch)
            self._centring = header.layout.centring_of(scratch)

    def _walk(self) -> "array[int]":
        """Where the chunks start, and the end of the last whole one."""
        starts = array("Q", [self._header.data_offset])
        for _ in range(self._header.nz):
            head = self._source.read(starts[-1], _CHUNK_HEADER_BYTES)
            if len(head) < _CHUNK_HEADER_BYTES:
                break
            unpacked, _, packed = struct.unpack_from("<3I", head, 4)
            end = starts[-1] + packed
            if unpacked != self.scratch_bytes or packed < _CHUNK_HEADER_BYTES or end > self._source.size:
                break
            starts.append(end)
        return starts

    def expect(self, numbers: Iterable[int], rising: bool) -> None:
        """Any order is as good as another."""

    def section(self, number: int) -> Load:
        """The way to load a section, from any thread."""
        return partial(self._load, number)

    def _load(self, number: int, scratch: NDArray[np.uint8]) -> Section:
        stored = scratch[: self.scratch_bytes]
        self._unpack(number, stored)
        return self._header.layout.decode(stored, self._centring)

    def _unpack(self, number: int, stored: NDArray[np.uint8]) -> None:
        start, end = self._starts[number : number + 2]
        chunk = self._source.read(start, end - start)
        try:
            self._decompress(chunk, stored)
        except (ValueError, RuntimeError) as error:
            raise InputError(
                f"section {number} cannot be unpacked: it is damaged, or Blosc has no {self._header.codec} here",
                f"copy it again, or leave the section out with --discard-range {number} {number + 1}",
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def _blosc() -> Decompress:
    """blosc2's function, which reads the chunks of both versions."""
    try:
        blosc2 = import_module("blosc2")
    except ModuleNotFoundError:
        raise InputError("is compressed with Blosc (MRCZ)", "pip install 'mrc2movie[mrcz]' to read it") from None
    except (ImportError, ValueError) as error:  # a ValueError where it was built for another NumPy
        raise InputError(
            f"is compressed with Blosc (MRCZ), and blosc2 cannot be imported ({error})",
            "pip install --upgrade blosc2 to read it",
        ) from error
    blosc2.set_releasegil(True)  # each call has a context of its own, so that calls may run side by side
    return lambda chunk, stored: blosc2.decompress2(chunk, dst=stored, nthreads=1)  # the workers are the threads
