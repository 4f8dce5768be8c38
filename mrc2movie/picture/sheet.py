"""Which sections a contact sheet shows, in which order, and what is written below each: numbers and words only."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from mrc2movie.picture.labels import in_degrees
from mrc2movie.picture.selection import Selection
from mrc2movie.readers.volume import Classes, Description, Tilts

MOST_SECTIONS = 20
_MOST_IMAGES = 200
"""A sheet shows so many sections at most, or, of particles and class averages, so many images."""


def cells_of(description: Description, selection: Selection) -> Mapping[int, str]:
    """The positions that a contact sheet shows, in order, and the caption of each.

    Images in classes are sorted: those of the largest class first.
    """
    if description.classes is not None:
        return _by_class(description.classes, selection)
    caption: Callable[[int], str] = description.section_name or str
    if description.tilts and description.tilts.vary:
        caption = partial(_tilt, description.tilts)
    at_most = _MOST_IMAGES if description.kind == "particle stack" else MOST_SECTIONS
    shown = evenly_spaced(len(selection.places), at_most)
    return {position: caption(selection.numbers[position]) for position in shown}


def _tilt(tilts: Tilts, number: int) -> str:
    return in_degrees(tilts.degrees[number])


def _by_class(classes: Classes, selection: Selection) -> Mapping[int, str]:
    sections = np.fromiter(selection.numbers, np.int64, len(selection.places))
    numbers, shares = classes.numbers[sections], classes.shares[sections]
    order = np.lexsort((sections, numbers, -np.nan_to_num(shares, nan=-1.0)))
    captions = {}
    for position in order[evenly_spaced(len(order), _MOST_IMAGES)].tolist():
        number, share = numbers[position], shares[position]
        if classes.are_averages:
            captions[position] = f"{number}: {100 * share:.1f} %" if np.isfinite(share) else str(number)
        else:
            captions[position] = f"{sections[position]}, class {number}"
    return captions


def evenly_spaced(count: int, at_most: int) -> Sequence[int]:
    """At most so many of the positions, the first and the last among them."""
    if count <= at_most:
        return range(count)
    return [round(step * (count - 1) / (at_most - 1)) for step in range(at_most)]
