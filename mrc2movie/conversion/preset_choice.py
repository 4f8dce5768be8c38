"""Which preset fits a file, for ``--preset auto``; what the presets stand for is in `settings.PRESETS`."""

from dataclasses import dataclass
from typing import Literal

from mrc2movie.options.settings import Settings
from mrc2movie.readers.volume import Description

_SLAB = 10
"""A volume is at most so many times as long as it is thick: tomograms are 2 to 6 times (1024 x 1024 x 300), while a
tilt series of 41 images of 4096 x 4096 is 100 times."""


@dataclass(frozen=True)
class Choice:
    """The preset for a file.

    Attributes:
        preset: Its name; None where none fits.
        why: In words.
    """

    preset: Literal["tilt", "tomogram"] | None
    why: str


def choose_preset(description: Description) -> Choice:
    """Choose by what a file is: by its name, its tilts, and its shape, in this order.

    The space group is no help: many programs mark every stack as a volume.
    """
    sections, *sides = description.shape
    match description.kind:
        case "tilt series":
            return Choice("tilt", "it is a tilt series by its name or its tilt angles")
        case "volume" if description.kind_by_name:
            return Choice("tomogram", "it is a volume by its name")
        case "volume" | "image stack" if sections > 1 and max(sides) <= _SLAB * sections:
            return Choice("tomogram", f"{sections} sections of {sides[1]} x {sides[0]} have the shape of a volume")
        case "volume" | "image stack" if sections > 1:
            return Choice("tilt", f"{sections} sections of {sides[1]} x {sides[0]} are too few for a volume")
        case kind:
            return Choice(None, f"none fits a file of the kind '{kind}'")


def settle(settings: Settings, description: Description) -> tuple[Settings, tuple[str, ...]]:
    """The settings for a file, with ``auto`` replaced by the preset that fits, and a note on that for the user."""
    if settings.preset != "auto":
        return settings, ()
    choice = choose_preset(description)
    if choice.preset is None:
        return settings, (f"--preset auto: {choice.why}",)
    return settings.with_preset(choice.preset), (f"--preset auto takes {choice.preset}: {choice.why}",)
