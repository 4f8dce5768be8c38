"""A classification in two dimensions as a volume: a section an iteration, all class averages side by side."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError, about
from mrc2movie.readers.collections.open_files import OpenFiles
from mrc2movie.readers.volume import Description, Load, Section, Volume

_RELION = re.compile(
    r"(.+?)(?:_ct\d+)?_it(\d+)_(?:unmasked_)?(?:classes\.mrcs|(?:model|data|optimiser|sampling)\.star)"
)
_CRYOSPARC = re.compile(r"(J\d+|.+_J\d+)_(\d+)_(?:class_averages\.(?:mrc|cs)|particles\.cs)")
_STACKS = ((_RELION, "classes.mrcs"), (_CRYOSPARC, "class_averages.mrc"))
_PROPORTION = 4 / 3
_GUTTER = 1 / 32


def iterations_of(path: Path) -> Sequence[tuple[int, Path]]:
    """The iterations up to that of a file of a classification, and the stack of class averages of each.

    Raises:
        InputError: The name is that of no such file, or it has no such stack beside it.
    """
    for pattern, ending in _STACKS:
        if not (named := pattern.fullmatch(path.name)):
            continue
        stacks = {
            int(found[2]): other
            for other in sorted(path.parent.iterdir())
            if other.name.endswith(f"_{ending}")
            and "unmasked" not in other.name
            and (found := pattern.fullmatch(other.name))
            and found[1] == named[1]
            and int(found[2]) <= int(named[2])
        }
        if stacks:
            return sorted(stacks.items())
    advice = "name one such as run_it025_classes.mrcs, or J5_020_class_averages.mrc"
    raise InputError("is no file of a classification with iterations", advice)


class IterationsVolume(Volume):
    """The class averages of every iteration side by side, each class at the same place.

    Args:
        path: The file that stands for the classification.
        iterations: The number of each iteration, and its stack.
        order: The places of the averages in a stack, in the order in which they are shown from the upper left on; in
            that of the stack where None.
        open_file: Opens a stack.

    Raises:
        InputError: A stack cannot be read, or has averages of another number or size than the last one.
    """

    def __init__(
        self,
        path: Path,
        iterations: Sequence[tuple[int, Path]],
        order: Sequence[int] | None,
        open_file: Callable[[Path], Volume],
    ) -> None:
        self.path = path
        last: Description | None = None
        for _, stack in iterations:
            with about(stack), open_file(stack) as volume:
                before, last = last, volume.description
                if last.colour or (before and (before.shape, before.dtype) != (last.shape, last.dtype)):
                    raise InputError("has other class averages than the iteration before", "leave --iterations out")
                image_scratch = volume.scratch_bytes
        assert last is not None
        count, rows, columns = last.shape
        self._order = range(count) if order is None else order
        self._grid = _Grid(count, rows, columns, last.row0_at_bottom)
        self._dtype = last.dtype
        self._sheet_bytes = self._grid.is_gutter.size * last.dtype.itemsize
        self._image_at = self._sheet_bytes + -self._sheet_bytes % 8  # so that its voxels are aligned
        self.scratch_bytes = self._image_at + image_scratch
        numbers = [number for number, _ in iterations]
        self.description = Description(
            shape=(len(iterations), *self._grid.is_gutter.shape),
            dtype=last.dtype,
            row0_at_bottom=last.row0_at_bottom,
            voxel_size_A=last.voxel_size_A and (*last.voxel_size_A[:2], None),
            voxel_size_is_bare=last.voxel_size_is_bare,
            header={"iterations": numbers, "class_averages": count, "header_of_last_file": last.header},
            kind="image stack",
            kind_by_name=True,
            section_name=lambda section: f"iteration {numbers[section]}",
            storage={"collection": f"{len(numbers)} iterations of {count} class averages", **last.storage},
        )
        self._files = OpenFiles(dict(enumerate(stack for _, stack in iterations)), open_file)

    def expect(self, numbers: Iterable[int], rising: bool) -> None:
        """Any order is as good as another."""

    def section(self, number: int) -> Load:
        """The way to load an iteration, from any thread."""
        volume = self._files.take(number)
        try:
            loads = [volume.section(place) for place in self._order]
        except BaseException:
            self._files.give_back(number)
            raise
        return partial(self._load, number, loads)

    def _load(self, number: int, loads: Sequence[Load], scratch: NDArray[np.uint8]) -> Section:
        sheet = scratch[: self._sheet_bytes].view(self._dtype).reshape(self._grid.is_gutter.shape)
        room = scratch[self._image_at :]
        try:
            for place, load in enumerate(loads):
                self._grid.image(sheet, place)[...] = load(room)
        finally:
            self._files.give_back(number)
        sheet[self._grid.is_gutter] = np.fmin.reduce(sheet[~self._grid.is_gutter])
        return sheet

    def close(self) -> None:
        """Close all stacks."""
        self._files.close()


class _Grid:
    """Where the images of a sheet lie, in rows from the upper left on.

    Args:
        count: Images.
        rows: Of each.
        columns: Of each.
        row0_at_bottom: Whether row 0 of the sheet is the bottom of the picture.

    Attributes:
        is_gutter: (rows, columns) of the sheet, bool: where no image lies.
    """

    def __init__(self, count: int, rows: int, columns: int, row0_at_bottom: bool) -> None:
        across = min(count, max(1, round(math.sqrt(count * _PROPORTION * rows / columns))))
        down = -(-count // across)
        gutter = max(1, round(max(rows, columns) * _GUTTER))
        self._rows, self._columns = rows, columns
        self._step = rows + gutter, columns + gutter
        self._across, self._last_row = across, down - 1 if row0_at_bottom else None
        shape = down * self._step[0] - gutter, across * self._step[1] - gutter
        self.is_gutter = np.ones(shape, bool)
        for place in range(count):
            self.image(self.is_gutter, place)[...] = False

    def image(self, sheet: NDArray[Any], place: int) -> NDArray[Any]:
        """The part of a sheet where an image lies."""
        down, across = divmod(place, self._across)
        top = (down if self._last_row is None else self._last_row - down) * self._step[0]
        left = across * self._step[1]
        return sheet[top : top + self._rows, left : left + self._columns]
