"""Which preset fits a file, for ``--preset auto``, and what of a preset does not fit a file."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from mrc2movie.conversion.scale_choice import settle_scale
from mrc2movie.options.presets import PRESETS, SMOOTH_INSTEAD
from mrc2movie.options.settings import Settings
from mrc2movie.picture.labelling import is_labelling
from mrc2movie.readers.volume import Description, SizeLearned, Volume

_SLAB = 10
"""A volume is at most so many times as long as it is thick: tomograms are 2 to 6 times (1024 x 1024 x 300), while a
tilt series of 41 images of 4096 x 4096 is 100 times."""

_PARTICLE = 768
"""Pixels a side at most: the boxes of particles are square, and smaller than any camera."""

_PLAUSIBLE_A = (1.01, 50.0)
"""Voxel sizes of tomograms; finer ones, and exactly 1, mean that nobody filled the field in."""

_AS_IT_IS: Mapping[str, object] = {
    "average": 1,
    "deconv": False,
    "smooth": None,
    "clip_limit": 0.0,
    "match_mean": False,
}
"""What shows voxels as they are."""


@dataclass(frozen=True)
class Choice:
    """The preset for a file.

    Attributes:
        preset: Its name; None where none fits.
        why: In words.
        instead: Options for which this file wants other values than the preset's.
    """

    preset: Literal["tilt", "tomogram"] | None
    why: str
    instead: Mapping[str, object] = field(default_factory=dict)


def choose_preset(description: Description) -> Choice:
    """Choose by what a file is: by its name, its tilts, and its shape, in this order.

    The space group is little help: many programs mark every stack as a volume.
    """
    sections, rows, columns = description.shape
    size = f"{sections} sections of {columns} x {rows}"
    match description.kind:
        case "tilt series":
            return Choice("tilt", "it is a tilt series by its name or its tilt angles")
        case "volume" if description.kind_by_name:
            return Choice("tomogram", "it is a volume by its name")
        case "volume" | "image stack" if description.tilts and sections > 1:
            return Choice(None, "its tilts are all alike, so it is a movie of one image, and none fits")
        case "image":
            unlabelled: dict[str, object] = {"label": None, "match_mean": False, "order": "auto"}
            return Choice("tilt", "it is a single image, which is smoothed like a tilt", unlabelled)
        case "image stack" if _are_particles(description):
            return Choice(None, f"{size} are particles, and none fits")
        case "volume" if rows == columns == sections:
            return Choice("tomogram", f"{size} are the map of a particle, which is shown as it is", _AS_IT_IS)
        case "volume" | "image stack" if max(rows, columns) <= _SLAB * sections:
            thin: dict[str, object] = {} if sections >= 8 * _AVERAGE else {"average": max(1, sections // 8)}
            return Choice("tomogram", f"{size} have the shape of a volume", thin)
        case "volume" | "image stack":
            return Choice("tilt", f"{size} are too few for a volume")
        case kind:
            return Choice(None, f"none fits a file of the kind '{kind}'")


_AVERAGE = 5


def _are_particles(description: Description) -> bool:
    """Square images, small and many, in no volume; IMOD marks its tomograms as stacks, too."""
    sections, rows, columns = description.shape
    return (
        rows == columns <= _PARTICLE
        and sections > 1
        and sections != rows
        and "imod_flags" not in description.header
        and not description.tilts
    )


def settle(settings: Settings, volume: Volume) -> tuple[Settings, tuple[str, ...]]:
    """The settings for a file: ``auto`` replaced by what fits, and of a preset what does not fit the file.

    Args:
        settings: All options. What was given explicitly stays.
        volume: The open file.

    Returns:
        The settings, and what the user may want to know of the choices.
    """
    settings, of_preset = _settle_preset(settings, volume)
    settings, of_scale = settle_scale(settings, volume)
    return settings, of_preset + of_scale


def _settle_preset(settings: Settings, volume: Volume) -> tuple[Settings, tuple[str, ...]]:
    description = volume.description
    notes: list[str] = []
    instead: Mapping[str, object] = {}
    if settings.preset == "auto":
        choice = choose_preset(description)
        if choice.preset is None:
            return settings, (f"--preset auto: {choice.why}",)
        notes.append(f"--preset auto takes {choice.preset}: {choice.why}")
        settings, instead = settings.with_preset(choice.preset), choice.instead
    if settings.preset is None:
        return settings, ()
    if _is_labelling(volume):
        instead = _AS_IT_IS
        notes.append("a volume of labels: neither averaged nor smoothed")
    elif "deconv" in PRESETS[settings.preset] and not (instead or settings.pixel_size or _plausible(description)):
        instead = {"deconv": False, "smooth": SMOOTH_INSTEAD}
        notes.append(
            f"no plausible voxel size is known, which --deconv needs: smoothed by {SMOOTH_INSTEAD} pixels instead"
        )
    ours = {name: value for name, value in instead.items() if name not in settings.given}
    return replace(settings, **ours) if ours else settings, tuple(notes)  # type: ignore[arg-type]


def _plausible(description: Description) -> bool:
    sizes = description.voxel_size_A
    return sizes is not None and all(_PLAUSIBLE_A[0] <= size <= _PLAUSIBLE_A[1] for size in sizes[:2])


def _is_labelling(volume: Volume) -> bool:
    """Whether the section in the middle shows labels; of a compressed stream the first one, since the middle is far."""
    description = volume.description
    if description.dtype.kind not in "iu" or description.colour:
        return False
    try:
        load = volume.section(description.shape[0] // 2 if volume.has_random_access else 0)
        return is_labelling(load(np.empty(volume.scratch_bytes, np.uint8)))
    except SizeLearned:
        return False
