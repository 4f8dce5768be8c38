"""Sections that lie in the open, each in one piece: a positioned read, and they are there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError, NotWhole
from mrc2movie.readers.describe import complete
from mrc2movie.readers.metadata import same_for_all
from mrc2movie.readers.source import Fetch, Source
from mrc2movie.readers.volume import Description, Load, Section, Volume, VolumeKind, VoxelSize
from mrc2movie.readers.voxels import ByteOrder, Centring, Coding, Layout


class PlainVolume(Volume):
    """A plain file, of any format, whose sections are stored alike, each in one piece.

    Args:
        source: The plain file with the voxels; closed with the volume.
        layout: The stored form of each section.
        starts: Where each whole section starts.
        description: What the format makes of the file.
    """

    def __init__(self, source: Source, layout: Layout, starts: Sequence[int], description: Description) -> None:
        self.path = source.path
        self.description = description
        self.scratch_bytes = layout.section_bytes
        self._source = source
        self._layout = layout
        self._starts = starts
        self._centring = (False, False)
        if layout.coding is Coding.COMPLEX:
            scratch = np.empty(self.scratch_bytes, np.uint8)
            fill(source.at(starts[0], self.scratch_bytes), scratch, 0)
            self._centring = layout.centring_of(scratch)

    def expect(self, numbers: Iterable[int], rising: bool) -> None:
        """Any order is as good as another."""

    def section(self, number: int) -> Load:
        """The way to load a section, from any thread."""
        fetch = self._source.at(self._starts[number], self._layout.section_bytes)
        return partial(load, number, fetch, self._layout, self._centring)

    def close(self) -> None:
        """Close the file."""
        self._source.close()


@dataclass(frozen=True)
class Facts:
    """What the header of a simple format says.

    Attributes:
        dialect: The format, and whose kind of it, in words.
        order: The byte order.
        layout: The stored form of a section.
        sections: How many there are.
        row0_at_bottom: Whether row 0 is the bottom of the picture.
        voxel_size_A: Along (columns, rows, sections), where it is known.
        header: What the record keeps of it beside that.
        told: What it says of all sections, by the names of columns, see `Metadata`.
        kind: What the sections are.
        notes: What the user may want to know.
    """

    dialect: str
    order: ByteOrder
    layout: Layout
    sections: int
    row0_at_bottom: bool
    voxel_size_A: VoxelSize | None
    header: Mapping[str, object] = field(default_factory=dict)
    told: Mapping[str, float] = field(default_factory=dict)
    kind: VolumeKind = "image stack"
    notes: tuple[str, ...] = ()


def describe_plain(path: Path, there: int, facts: Facts) -> Description:
    """The whole description of a file of a simple format.

    Args:
        path: The file.
        there: How many sections are there as a whole.
        facts: What its header says.
    """
    layout, notes, warnings = facts.layout, list(facts.notes), []
    kind: VolumeKind = "image" if facts.sections == 1 else facts.kind
    if layout.coding is Coding.COMPLEX:
        kind = "transform"
        notes.append("a transform: shown as log(1 + amplitude), centred")
    if there < facts.sections:
        warnings.append(f"truncated: {there} of {facts.sections} sections are there and shown")
    byte_order = "big" if facts.order == ">" else "little"
    by_header = Description(
        shape=(there, layout.rows, layout.columns),
        dtype=layout.section_dtype,
        row0_at_bottom=facts.row0_at_bottom,
        voxel_size_A=facts.voxel_size_A,
        header={
            "dialect": facts.dialect,
            "columns": layout.columns,
            "rows": layout.rows,
            "count": facts.sections,
            "dtype": layout.dtype.name,
            "byte_order": byte_order,
            **facts.header,
        },
        storage={"dialect": facts.dialect, "byte order": f"{byte_order}-endian", "voxels": layout.in_words},
        kind=kind,
        notes=tuple(notes),
        warnings=tuple(warnings),
        missing=facts.sections - there,
    )
    return complete(
        path, by_header, same_for_all(f"{facts.dialect} header", facts.told, facts.sections), facts.sections
    )


def open_plain(
    source: Source, starts: Sequence[int], facts: Facts, make: Callable[..., PlainVolume] = PlainVolume
) -> PlainVolume:
    """Open a file of a simple format.

    Args:
        source: The file.
        starts: Where each whole section starts; fewer than `Facts.sections` where it is cut.
        facts: What its header says.
        make: Makes the volume of the arguments of `PlainVolume`.
    """
    return make(source, facts.layout, starts, describe_plain(source.path, len(starts), facts))


def whole_sections(source: Source, start: int, layout: Layout, count: int) -> range:
    """Where each section starts that is there as a whole, of sections that follow each other.

    Args:
        source: The file.
        start: Where the first one starts.
        layout: The stored form of each.
        count: How many the header says.

    Raises:
        InputError: Not one is whole.
    """
    size = layout.section_bytes
    there = min(count, (source.size - start) // size)
    if there <= 0:
        raise NotWhole(
            f"its header says {count} sections of {layout.columns} x {layout.rows}, but not one is whole",
            "copy it again, or wait until it is written",
        )
    return range(start, start + there * size, size)


def load(number: int, fetch: Fetch, layout: Layout, centring: Centring, scratch: NDArray[np.uint8]) -> Section:
    """Fetch a section into the scratch buffer and decode it.

    Raises:
        InputError: The file has become shorter.
    """
    stored = scratch[: layout.section_bytes]
    fill(fetch, stored, number)
    return layout.decode(stored, centring)


def fill(fetch: Fetch, stored: NDArray[np.uint8], number: int) -> None:
    """Fetch all the bytes of a section.

    Raises:
        InputError: The file has become shorter.
    """
    if fetch(stored.data) < stored.size:
        raise InputError(
            f"became shorter while it was read: section {number} is no longer there",
            "convert it again when nothing writes to it",
        )
