"""Whether a section shows labels, as a segmentation does, and no densities."""

import numpy as np
from numpy.typing import NDArray

_LABELS = 256
_GROUND = 0.5
_SOLID = 0.5


def is_labelling(section: NDArray[np.generic]) -> bool:
    """Whether a section is a map of labels: few values, one of them most of it, the others in areas.

    Counted electrons are few values, too, but the neighbour of one is seldom another.

    Args:
        section: (y, x) of any integer dtype.
    """
    values, counts = np.unique(section, return_counts=True)
    if not 1 < len(values) <= _LABELS or counts.max() < _GROUND * section.size:
        return False
    left, right = section[:, :-1], section[:, 1:]
    labelled = left != values[counts.argmax()]
    return bool(labelled.any()) and float((left == right)[labelled].mean()) > _SOLID
