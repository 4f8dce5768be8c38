"""What every reader gives: a volume whose sections are read one at a time."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Section: TypeAlias = NDArray[np.generic]
"""(y, x), real, native byte order, row 0 first as in the file."""

Load: TypeAlias = Callable[[NDArray[np.uint8]], Section]
"""Reads and decodes one section in any thread; the section may live in the scratch buffer that is handed over."""


@dataclass(frozen=True)
class Description:
    """What the reader made of a file.

    Attributes:
        shape: (sections, rows, columns) that can be shown.
        dtype: Of the sections, native byte order.
        row0_at_bottom: Whether row 0 is the bottom of the picture.
        voxel_size_A: (x, y, z) in Å, or None where the file does not tell.
        header: What the record keeps of the header: names and JSON values.
        notes: What the user may want to know of how the file was read.
        warnings: What the user should know of it.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    row0_at_bottom: bool
    voxel_size_A: tuple[float, float, float] | None
    header: dict[str, object]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Volume(ABC):
    """An open file of sections; a context manager that closes it.

    Attributes:
        path: The file.
        description: What the reader made of it.
        scratch_bytes: Size of the scratch buffer that `Load` needs.
    """

    path: Path
    description: Description
    scratch_bytes: int

    @abstractmethod
    def section(self, number: int) -> Load:
        """The way to load a section (counted from 0 in file order).

        Called from one thread, in the order in which the sections are wanted: a reader of a compressed stream
        decompresses here, one with random access does all its work in `Load`, which raises `InputError` where the
        file cannot give the section.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file; no `Load` may be under way."""

    def __enter__(self) -> "Volume":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
