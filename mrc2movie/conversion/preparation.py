"""What the options mean for one file: which sections are shown, and which steps prepare them."""

from collections.abc import Sequence
from dataclasses import dataclass

from mrc2movie.errors import InputError
from mrc2movie.options.settings import Settings
from mrc2movie.picture.filters import HALF_AMPLITUDE, Bin, Lowpass, Shrink, Smaller, Step
from mrc2movie.picture.geometry import Geometry
from mrc2movie.picture.selection import Selection, select_sections
from mrc2movie.readers.volume import Description

_LONGEST_SIDE = 2**24
"""Voxels; of any instrument far less, and OpenCV counts in 32 bits."""


@dataclass(frozen=True)
class Preparation:
    """What is done to every section before its grey values are measured.

    Attributes:
        steps: In this order. They and the means of neighbours are sums, so that their order does not matter to these,
            and smaller sections come first: all that follows is cheaper.
        shape: Of the prepared sections: (rows, columns), or (rows, columns, 3) in colour.
        geometry: Where voxels lie in the frames.
        pixel_size_A: Of the prepared sections, along (x, y), in Å; None where it is not known.
        notes: What the user may want to know of it.
        warnings: What the user should know of it.
    """

    steps: Sequence[Step]
    shape: tuple[int, ...]
    geometry: Geometry
    pixel_size_A: tuple[float, float] | None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def selection_of(description: Description, settings: Settings) -> Selection:
    """Which sections of a file the movie shows, in which order."""
    return select_sections(
        description.shape[0],
        description.tilts,
        order=settings.order,
        discard_range=settings.discard_range,
        discard_percentage=settings.discard_percentage,
        every=settings.every,
        average=settings.average,
        playback=settings.playback,
    )


def preparation(description: Description, settings: Settings) -> Preparation:
    """What is done to every section, so that the grey range fits what is shown.

    Args:
        description: Of the volume, in the direction in which it is shown.
        settings: The steps.

    Raises:
        InputError: A step needs a voxel size, and none is known, or a side is longer than any picture's.
    """
    shape = prepared = description.section_shape
    if max(shape[:2]) > _LONGEST_SIDE:
        raise InputError(f"sections of {shape[1]} x {shape[0]} are too long for pictures", "is the header right?")
    smaller: list[Smaller] = []
    if settings.bin > 1:
        smaller.append(Bin(settings.bin))
    if settings.max_size:
        smaller.append(Shrink(settings.max_size))
    down = across = 1.0
    for step in smaller:
        more = step.voxels(prepared)
        down, across = down * more[0], across * more[1]
        prepared = step.shape(prepared)
    geometry = Geometry(
        shape=(prepared[0], prepared[1]),
        axis=settings.axis,
        voxels_per_pixel=(down, across),
        row0_at_bottom=description.row0_at_bottom if settings.flip == "auto" else settings.flip == "yes",
    )
    sizes = description.voxel_size_A and geometry.pixel_size_A(description.voxel_size_A[:2])
    steps: list[Step] = list(smaller)
    notes, warnings = [], []
    if prepared != shape:
        flags = " ".join(flag for flag, on in (("--bin", settings.bin > 1), ("--max-size", settings.max_size)) if on)
        notes.append(f"made smaller from {shape[1]} x {shape[0]} to {prepared[1]} x {prepared[0]} ({flags})")
    if settings.lowpass:
        if sizes is None:
            raise InputError("has no voxel size, which --lowpass needs", "give it with --pixel-size ANGSTROM")
        length_A = max(prepared[1] * sizes[0], prepared[0] * sizes[1])
        if settings.lowpass > length_A:
            warnings.append(
                f"--lowpass {settings.lowpass:g} is coarser than the whole picture of {length_A:.4g} Å, which serves "
                "instead: there is hardly anything to see"
            )
        elif settings.lowpass < 2 * max(sizes):
            warnings.append(
                f"--lowpass {settings.lowpass:g} is finer than two pixels of {max(sizes):.4g} Å: hardly anything is "
                "smoothed"
            )
        deviation_A = HALF_AMPLITUDE * min(settings.lowpass, length_A)
        steps.append(Lowpass((deviation_A / sizes[1], deviation_A / sizes[0])))
    return Preparation(tuple(steps), prepared, geometry, sizes, tuple(notes), tuple(warnings))
