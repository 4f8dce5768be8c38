"""SPIDER files: images, volumes, and stacks of either.

Format: https://spider-em.github.io/SPIDER/docs/image_doc.html. It has no magic number: several of its fields agree. The
first pixel is the upper left corner, it says.
"""

import math
import struct
from array import array
from dataclasses import dataclass

import numpy as np

from mrc2movie.errors import InputError, NotWhole
from mrc2movie.readers.metadata import in_A
from mrc2movie.readers.plain import Facts, open_plain, whole_sections
from mrc2movie.readers.source import Asked, Source
from mrc2movie.readers.volume import Volume, voxel_size
from mrc2movie.readers.voxels import ByteOrder, grey_layout

SUFFIXES = frozenset((".spi",))

_FIELDS = 43
_SHORTEST_HEADER = 1024
_PICTURES = {1: "image", 3: "volume"}
_TRANSFORMS = (-11, -12, -21, -22)
_LARGEST = 2**24
"""What a 32-bit float counts exactly."""


@dataclass(frozen=True)
class _Header:
    """What stands in front of a file, of a stack or of an image.

    Attributes:
        order: The byte order.
        form: 1 an image, 3 a volume, negative a transform.
        columns: Pixels of a row.
        rows: Rows of a section.
        sections: Of the image or volume.
        header_bytes: Its own length, which also each image of a stack has in front.
        stack: 0 no stack, positive a stack, negative one with an index.
        images: Of a stack.
        pixel_A: Pixel size in Å; 0 where not known.
    """

    order: ByteOrder
    form: int
    columns: int
    rows: int
    sections: int
    header_bytes: int
    stack: int
    images: int
    pixel_A: float


def recognises(source: Source, head: bytes) -> bool:
    """Whether it is a SPIDER file."""
    return _header(head) is not None


def _header(head: bytes) -> _Header | None:
    if len(head) < 4 * _FIELDS:
        return None
    orders: tuple[ByteOrder, ...] = ("<", ">")
    for order in orders:
        # Counted from 1, as in the description.
        fields = (0.0, *struct.unpack_from(f"{order}{_FIELDS}f", head))
        wanted = [fields[place] for place in (1, 2, 5, 12, 13, 22, 23, 24, 26)]
        if not all(math.isfinite(field) and field.is_integer() and abs(field) < _LARGEST for field in wanted):
            continue
        sections, rows, form, columns, records, header_bytes, row_bytes, stack, images = map(int, wanted)
        if (
            (form in _PICTURES or form in _TRANSFORMS)
            and min(rows, columns, records, abs(sections)) >= 1
            and row_bytes == 4 * columns
            and header_bytes == records * row_bytes
            and header_bytes >= _SHORTEST_HEADER
        ):
            pixel = fields[38] if math.isfinite(fields[38]) else 0.0
            return _Header(order, form, columns, rows, abs(sections), header_bytes, stack, images, pixel)
    return None


def open_spider(source: Source, head: bytes, asked: Asked) -> Volume:
    """Open a SPIDER file.

    Raises:
        InputError: It is a transform, a stack with an index, or holds no whole section.
    """
    header = _header(head)
    assert header is not None
    if header.form in _TRANSFORMS:
        raise InputError("is a Fourier transform of SPIDER, which is not shown", "transform it back")
    if header.stack < 0:
        raise InputError("is a SPIDER stack with an index, which is not read", "copy its images into a plain stack")
    layout = grey_layout(header.columns, header.rows, np.dtype(f"{header.order}f4"))
    starts: range | array[int]
    if header.stack:
        sections = header.images * header.sections
        starts = _starts_of_stack(source, header, layout.section_bytes)
        if not starts:
            raise NotWhole(f"its header says a stack of {header.images} images, but not one is whole", "copy it again")
    else:
        sections = header.sections
        starts = whole_sections(source, header.header_bytes, layout, sections)
    size = in_A(header.pixel_A, "Å") if header.pixel_A > 0 else None
    facts = Facts(
        dialect=f"SPIDER {'stack' if header.stack else _PICTURES[header.form]}",
        order=header.order,
        layout=layout,
        sections=sections,
        row0_at_bottom=False,
        voxel_size_A=voxel_size(size, size, size),
        kind="volume" if header.sections > 1 else "image stack",
    )
    return open_plain(source, starts, facts)


def _starts_of_stack(source: Source, header: _Header, section_bytes: int) -> "array[int]":
    """Of the sections that are whole: after the header of the stack, each image has a header of its own."""
    stride = header.header_bytes + header.sections * section_bytes
    starts = array("Q")
    for image in range(min(header.images, (source.size - header.header_bytes) // stride + 1)):
        first = 2 * header.header_bytes + image * stride
        there = min(header.sections, max(0, source.size - first) // section_bytes)
        starts.extend(range(first, first + there * section_bytes, section_bytes))
    return starts
