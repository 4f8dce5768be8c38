"""TIFF stacks: what tifffile, ImageJ, OME, SerialEM and others write."""

import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError, NotWhole
from mrc2movie.readers.describe import complete
from mrc2movie.readers.metadata import in_A, printable_text
from mrc2movie.readers.plain import PlainVolume
from mrc2movie.readers.source import Asked, Fetch, Source
from mrc2movie.readers.tiff.directory import Directory, Form, Malformed, first_position, form_of
from mrc2movie.readers.tiff.page import Page, page_of
from mrc2movie.readers.volume import Description, Load, Section, Volume, VoxelSize, voxel_size

SUFFIXES = frozenset((".tif", ".tiff"))

_SUBFILE, _COMPRESSION, _DESCRIPTION, _X_RESOLUTION, _Y_RESOLUTION, _UNIT, _SOFTWARE = 254, 259, 270, 282, 283, 296, 305
_REDUCED_OR_MASK = 1 | 4
_EER = range(65000, 65003)
_MOST_PAGES = 1_000_000
_DESCRIPTION_BYTES = 2**20
_KEPT_TEXT = 1000


def recognises(source: Source, head: bytes) -> bool:
    """Whether it is a TIFF file."""
    return form_of(head) is not None


def open_tiff(source: Source, head: bytes, asked: Asked) -> Volume:
    """Open a TIFF file.

    Raises:
        InputError: It is no stack of images that can be shown.
    """
    form = form_of(head)
    assert form is not None
    try:
        first = Directory.read(source, form, first_position(form, head))
        if first.number(_COMPRESSION, 1) in _EER:
            raise InputError(
                "is an EER movie: it lists electrons, which become a picture only with a gain reference, in groups of "
                "frames with enough dose",
                "convert it first, with relion_convert_to_tiff or IMOD's clip",
            )
        return _opened(source, form, first)
    except Malformed as error:
        raise InputError(f"is a TIFF file that makes no sense: {error}", "copy it again") from None


@dataclass
class _Pages:
    """The pages that are shown: those like the first one.

    Attributes:
        first: The first one.
        directories: Where the directory of each is.
        starts: Where the first of its pieces starts.
        ends: Where the last of its pieces ends.
        all_plain: Whether each is there with a single read.
        others: How many are there of another size or type.
        missing: How many are not whole.
        scratch_bytes: The most that one needs.
        warnings: What is wrong.
    """

    first: Page
    directories: "array[int]" = field(default_factory=lambda: array("Q"))
    starts: "array[int]" = field(default_factory=lambda: array("Q"))
    ends: "array[int]" = field(default_factory=lambda: array("Q"))
    all_plain: bool = True
    others: int = 0
    missing: int = 0
    scratch_bytes: int = 0
    warnings: list[str] = field(default_factory=list)

    def add(self, position: int, page: Page, file_bytes: int) -> None:
        start, end = page.extent
        if page.layout != self.first.layout or page.row0_at_bottom != self.first.row0_at_bottom:
            self.others += 1
        elif end > file_bytes:
            self.missing += 1
        else:
            self.directories.append(position)
            self.starts.append(start)
            self.ends.append(end)
            self.all_plain &= page.is_plain
            self.scratch_bytes = max(self.scratch_bytes, page.scratch_bytes)


def _opened(source: Source, form: Form, first: Directory) -> Volume:
    text = first.text(_DESCRIPTION, _DESCRIPTION_BYTES)
    pages = _walk(source, form, first)
    page = pages.first
    in_one_piece = _imagej_images(text) if not first.following and pages.all_plain and pages.starts else 0
    if in_one_piece > 1:
        there = min(in_one_piece, (source.size - pages.starts[0]) // page.layout.section_bytes)
        starts: range | array[int] = range(
            pages.starts[0],
            pages.starts[0] + there * page.layout.section_bytes,
            page.layout.section_bytes,
        )
        pages.missing = in_one_piece - there
    else:
        starts = pages.starts
    if not starts:
        raise NotWhole("is a TIFF file without a whole page", "copy it again, or wait until it is written")
    if pages.missing:
        total = len(starts) + pages.missing
        pages.warnings.append(f"truncated: {len(starts)} of {total} pages are whole and shown")
    if pages.others:
        pages.warnings.append(f"{pages.others} pages of another size or type than the first one are left out")
    description = _describe(source, form, first, text, page, len(starts), pages)
    if pages.all_plain:
        return PlainVolume(source, page.layout, starts, description)
    return TiffVolume(source, form, pages, description)


def _walk(source: Source, form: Form, first: Directory) -> _Pages:
    """All pages, up to the end of the chain or to where it makes no sense."""
    pages: _Pages | None = None
    for directory in _chain(source, form, first):
        if isinstance(directory, str):
            if pages is None:
                raise Malformed(directory)
            pages.warnings.append(f"{directory}: only the pages before are shown")
            break
        if pages is not None and directory.number(_SUBFILE, 0) & _REDUCED_OR_MASK:
            continue
        try:
            page = page_of(directory, form.order, source.size)
        except InputError:
            if pages is None:
                raise
            pages.others += 1
            continue
        except Malformed as error:
            if pages is None:
                raise
            pages.warnings.append(f"a page makes no sense ({error}): only the {len(pages.starts)} before are shown")
            break
        if pages is None:
            pages = _Pages(page)
        pages.add(directory.position, page, source.size)
    assert pages is not None
    return pages


def _chain(source: Source, form: Form, first: Directory) -> Iterator[Directory | str]:
    """The directories one after the other; at last, in words, why there may be more."""
    seen = {first.position}
    directory = first
    yield directory
    while position := directory.following:
        if position in seen:
            yield "the directories of its pages run in a circle"
            return
        if len(seen) >= _MOST_PAGES:
            yield f"it has more than {_MOST_PAGES} pages"
            return
        seen.add(position)
        try:
            directory = Directory.read(source, form, position)
        except Malformed as error:
            yield str(error)
            return
        yield directory


class TiffVolume(Volume):
    """A TIFF file whose pages must be unpacked or put together.

    Args:
        source: The plain file; closed with the volume.
        form: Of the file.
        pages: Those that are shown.
        description: What was made of it.
    """

    def __init__(self, source: Source, form: Form, pages: _Pages, description: Description) -> None:
        self.path = source.path
        self.description = description
        self.scratch_bytes = pages.scratch_bytes
        self._source = source
        self._form = form
        self._pages = pages

    def expect(self, numbers: Iterable[int], rising: bool) -> None:
        """Any order is as good as another."""

    def section(self, number: int) -> Load:
        """The way to load a section, from any thread."""
        pages = self._pages
        length = pages.ends[number] - pages.starts[number]
        return partial(self._load, number, self._source.at(pages.starts[number], length))

    def _load(self, number: int, fetch: Fetch, scratch: NDArray[np.uint8]) -> Section:
        # Only where a page is was kept of it: of a file that changes, nothing else may be shown.
        try:
            directory = Directory.read(self._source, self._form, self._pages.directories[number])
            page = page_of(directory, self._form.order, self._source.size)
            pages = self._pages
            if (
                page.layout != pages.first.layout
                or page.extent != (pages.starts[number], pages.ends[number])
                or page.scratch_bytes > len(scratch)
            ):
                raise Malformed("the file has changed")
            return page.decode(fetch, self._source, scratch)
        except Malformed as error:
            raise InputError(
                f"section {number} cannot be unpacked: {error}",
                f"copy it again, or leave the section out with --discard-range {number} {number + 1}",
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def _describe(
    source: Source, form: Form, first: Directory, text: str, page: Page, count: int, pages: _Pages
) -> Description:
    dialect, size = _dialect_and_size(first, text)
    byte_order = "little" if form.order == "<" else "big"
    notes = ["zero is white in the file: shown so"] if page.white_is_zero else []
    channels = re.search(r"^channels=(\d+)", text, re.MULTILINE) if dialect == "ImageJ" else None
    if channels and int(channels[1][:9]) > 1:
        notes.append(f"{channels[1]} channels: their sections follow each other as in the file")
    header: dict[str, object] = {
        "dialect": dialect,
        "big": form.is_big,
        "byte_order": byte_order,
        "columns": page.columns,
        "rows": page.rows,
        "pages": count,
        "dtype": str(page.dtype.newbyteorder("=")),
        "samples": page.samples,
        "storage": page.in_words,
        "orientation": page.orientation,
        "software": printable_text(first.text(_SOFTWARE, _KEPT_TEXT).encode("latin-1", "replace")),
        "description": _printable(text[:_KEPT_TEXT]),
    }
    by_header = Description(
        shape=(count, page.rows, page.columns),
        dtype=page.layout.section_dtype,
        row0_at_bottom=page.row0_at_bottom,
        voxel_size_A=size,
        header=header,
        kind="image" if count == 1 else "image stack",
        colour=page.samples > 1,
        storage={
            "dialect": f"{dialect}, {'BigTIFF' if form.is_big else 'classic'}",
            "byte order": f"{byte_order}-endian",
            "pixels": f"{page.layout.in_words}, {page.in_words}",
        },
        notes=tuple(notes),
        warnings=tuple(pages.warnings),
        missing=pages.missing,
    )
    return complete(source.path, by_header, claimed=count + pages.missing)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text).strip()


def _imagej_images(text: str) -> int:
    """How many images of an ImageJ stack follow each other after a single directory."""
    found = re.search(r"^images=(\d{1,18})", text, re.MULTILINE) if text.startswith("ImageJ=") else None
    return int(found[1]) if found else 0


def _dialect_and_size(first: Directory, text: str) -> tuple[str, VoxelSize | None]:
    """Whose kind of TIFF file it is, and its pixel size: by OME's or ImageJ's description, else by the resolution."""
    if "<OME" in text[:_KEPT_TEXT] and (pixels := re.search(r"<(?:\w{1,20}:)?Pixels\s([^>]*)>", text)):
        return "OME-TIFF", voxel_size(*(_ome_length(pixels[1], f"PhysicalSize{axis}") for axis in "XYZ"))
    per_unit = [first.ratio(tag) for tag in (_X_RESOLUTION, _Y_RESOLUTION)]
    lengths = [1 / each if each > 0 else 0.0 for each in per_unit]
    if text.startswith("ImageJ="):
        named = re.search(r"^unit=(\S{1,20})", text, re.MULTILINE)
        unit = re.sub(r"\\u00B5", "µ", named[1], flags=re.IGNORECASE) if named else ""
        spacing = re.search(r"^spacing=(\S{1,30})", text, re.MULTILINE)
        lengths.append(_number(spacing[1]) if spacing else 0.0)
        return "ImageJ", voxel_size(*(in_A(length, unit) for length in lengths))
    unit = {2: "inch", 3: "cm"}.get(first.number(_UNIT, 2), "")
    dialect = "SerialEM" if "SerialEM" in text[:_KEPT_TEXT] else "TIFF"
    return dialect, voxel_size(*(in_A(length, unit) for length in lengths))


def _ome_length(attributes: str, name: str) -> float | None:
    """In Å; the unit is µm where it is not given."""
    value, unit = (re.search(rf'\b{name}{end}\s*=\s*["\']([^"\']{{1,30}})["\']', attributes) for end in ("", "Unit"))
    return in_A(_number(value[1]), unit[1] if unit else "µm") if value else None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
