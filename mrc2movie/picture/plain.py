"""One image as a picture by itself: nearly all of its values, from black to white."""

import numpy as np
from numpy.typing import NDArray

from mrc2movie.picture.render import Frame


def plain_picture(image: NDArray[np.generic], left_out: float = 0.001, *, row0_at_bottom: bool = True) -> Frame:
    """An image as a picture.

    Args:
        image: (y, x), real; what is not finite becomes black.
        left_out: The fraction of the pixels at each end that becomes plain black, or plain white.
        row0_at_bottom: Whether row 0 is the bottom of the picture.
    """
    values = image.astype(np.float64)
    finite = np.isfinite(values)
    low, high = np.quantile(values[finite], (left_out, 1 - left_out)) if finite.any() else (0.0, 1.0)
    grey = np.clip((np.where(finite, values, low) - low) / ((high - low) or 1.0) * 255, 0, 255)
    upright = grey[::-1] if row0_at_bottom else grey
    return np.ascontiguousarray(np.rint(upright), np.uint8)
