"""DM3 and DM4 files of Gatan's Digital Micrograph: images, and stacks of them as K2 and K3 cameras give.

The tags by their names are those that https://imagejdocu.list.lu/misc/dm3_format lists.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mrc2movie.errors import InputError
from mrc2movie.readers.dm.tags import Array, Malformed, Tags, read_tags, version_of
from mrc2movie.readers.metadata import TILT, in_A
from mrc2movie.readers.plain import Facts, open_plain, whole_sections
from mrc2movie.readers.source import Asked, Source
from mrc2movie.readers.volume import Volume, VoxelSize, voxel_size
from mrc2movie.readers.voxels import Layout, grey_layout

SUFFIXES = frozenset((".dm3", ".dm4"))

_TYPES = {
    **{1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8", 14: "u1", 39: "i8", 40: "u8"},
    **{3: "c8", 13: "c16"},
}
_OTHER_TYPES = {**dict.fromkeys((5, 27, 28), "a packed transform"), **dict.fromkeys((8, 23), "in colour")}
_MOST_IMAGES, _MOST_DIMENSIONS = 1000, 16

# Below the tags of an image; the factor brings it to the unit of the name.
_TOLD = (
    ("exposure_s", "DataBar.Exposure Time (s)", 1),
    ("exposure_s", "Acquisition.Parameters.High Level.Exposure (s)", 1),
    ("voltage_kV", "Microscope Info.Voltage", 1e-3),
    ("magnification", "Microscope Info.Indicated Magnification", 1),
    (TILT, "Microscope Info.Stage Position.Stage Alpha", 1),
)


@dataclass(frozen=True)
class _Image:
    """One of the images of a file.

    Attributes:
        path: Of its tags.
        data: Where its pixels are.
        dimensions: The fastest first.
        kind: The number of its type.
    """

    path: str
    data: Array
    dimensions: tuple[int, ...]
    kind: int


def recognises(source: Source, head: bytes) -> bool:
    """Whether Digital Micrograph wrote it."""
    return version_of(head) > 0


def open_dm(source: Source, head: bytes, asked: Asked) -> Volume:
    """Open a DM3 or DM4 file.

    Raises:
        InputError: It has no image, or none that can be shown.
    """
    name = f"DM{version_of(head)}"
    try:
        tags = read_tags(source, head)
    except Malformed as error:
        raise InputError(f"is a {name} file that makes no sense: {error}", "copy it again") from None
    found = _images(tags)
    shown = [image for image in found if not _why_not(tags, image)]
    if not shown:
        why = _why_not(tags, found[0]) if found else "it has none"
        raise InputError(f"is a {name} file without an image that can be shown: {why}", "save it as an image")
    image = max(shown, key=lambda image: image.data.size)
    layout = _layout(image, tags)
    sections = math.prod(image.dimensions[2:])
    starts = whole_sections(source, image.data.position, layout, min(sections, image.data.size // layout.section_bytes))
    return open_plain(source, starts, _facts(name, tags, image, layout, len(shown)))


def _images(tags: Tags) -> Sequence[_Image]:
    """All images, without the thumbnails if there are others."""
    thumbnails = {tags.whole(f"Thumbnails.{number}.ImageIndex") for number in range(_MOST_IMAGES)}
    found = {}
    for number in range(_MOST_IMAGES):
        path = f"ImageList.{number}"
        data, kind = tags.values.get(f"{path}.ImageData.Data"), tags.whole(f"{path}.ImageData.DataType")
        if isinstance(data, Array) and kind is not None:
            found[number] = _Image(path, data, _dimensions(tags, path), kind)
    return [image for number, image in found.items() if number not in thumbnails] or list(found.values())


def _dimensions(tags: Tags, path: str) -> tuple[int, ...]:
    sizes = []
    for number in range(_MOST_DIMENSIONS):
        size = tags.whole(f"{path}.ImageData.Dimensions.{number}")
        if size is None:
            break
        sizes.append(size)
    return tuple(sizes)


def _why_not(tags: Tags, image: _Image) -> str:
    """Why an image cannot be shown; empty where it can be."""
    if image.kind not in _TYPES:
        return f"its pixels are {_OTHER_TYPES.get(image.kind, f'of type {image.kind}')}"
    if not image.dimensions or min(image.dimensions) < 1:
        return f"it says dimensions {image.dimensions}"
    if len(image.dimensions) < 2 or "eV" in _unit(tags, image, 0):
        return "it has spectra"
    if math.prod(image.dimensions[:2]) * np.dtype(_TYPES[image.kind]).itemsize > image.data.size:
        return f"{image.dimensions[0]} x {image.dimensions[1]} pixels are more than there are"
    return ""


def _unit(tags: Tags, image: _Image, dimension: int) -> str:
    return tags.text(f"{image.path}.ImageData.Calibrations.Dimension.{dimension}.Units").strip("\0 ")


def _layout(image: _Image, tags: Tags) -> Layout:
    """The stored form of a section: all dimensions but the first two count sections."""
    columns, rows = image.dimensions[:2]
    return grey_layout(columns, rows, np.dtype(_TYPES[image.kind]).newbyteorder(tags.order))


def _facts(name: str, tags: Tags, image: _Image, layout: Layout, images: int) -> Facts:
    others = image.dimensions[2:]
    notes = []
    if images > 1:
        notes.append(f"{images} images are in the file: the largest is shown")
    if sum(size > 1 for size in others) > 1:
        notes.append(f"{' x '.join(map(str, others))} images: shown one after the other, the first of these fastest")
    units = [_unit(tags, image, number) for number in range(len(image.dimensions))]
    return Facts(
        dialect=name,
        order=tags.order,
        layout=layout,
        sections=math.prod(others),
        row0_at_bottom=False,
        voxel_size_A=_voxel_size(tags, image),
        header={"dimensions": list(image.dimensions), "units": units, "data_type": image.kind},
        told=_told(tags, image),
        notes=tuple(notes),
    )


def _told(tags: Tags, image: _Image) -> dict[str, float]:
    """What the tags tell of the exposure and the microscope."""
    told: dict[str, float] = {}
    for name, path, factor in _TOLD:
        value = tags.number(f"{image.path}.ImageTags.{path}")
        if value is not None and math.isfinite(value) and (value or name == TILT) and abs(value) < 1e12:
            told.setdefault(name, value * factor)
    return told


def _voxel_size(tags: Tags, image: _Image) -> VoxelSize | None:
    """Of the first three dimensions; None where the first two have no lengths."""
    lengths = []
    for number in range(3):
        scale = tags.number(f"{image.path}.ImageData.Calibrations.Dimension.{number}.Scale")
        lengths.append(in_A(abs(scale), _unit(tags, image, number)) if scale else None)
    return voxel_size(*lengths)
