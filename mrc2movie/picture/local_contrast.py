"""Local contrast (CLAHE): on tiles that are large enough, and not where there is nothing to contrast."""

import cv2
import numpy as np
from numpy.typing import NDArray

SMALLEST_TILE = 64
"""Side in pixels: a smaller tile has hardly more pixels than CLAHE has bins, so that its clip limit means nothing."""


def tiles(shape: tuple[int, ...], most: int) -> tuple[int, int] | None:
    """How many tiles CLAHE works on along (x, y); None where no two fit along both, and it is better switched off.

    Args:
        shape: Of the frame: (rows, columns), or (rows, columns, 3).
        most: In each direction.
    """
    down, across = (min(most, side // SMALLEST_TILE) for side in shape[:2])
    return (across, down) if min(across, down) >= min(2, most) else None


_AROUND = np.ones((3, 3), np.uint8)
_FLAT, _VARIED = 1, 3


class LocalContrast:
    """CLAHE, but not where there is nothing to contrast; for one thread: OpenCV's is not to be shared, nor the buffers.

    Equalisation makes a constant area brighter or darker by what else its tile holds. Here it keeps its grey from
    some 10 pixels off whatever is not constant; noise is left as it is. A frame without such areas is only looked at
    (0.1 ms of 1024 x 1024); with them it takes 2 ms.

    OpenCV is told where its results go: to make an array, it would wait once more until no other thread runs Python.

    Args:
        clip_limit: Of CLAHE.
        tiles: It works on so many along (x, y).
    """

    def __init__(self, clip_limit: float, tiles: tuple[int, int]) -> None:
        self._clahe = cv2.createCLAHE(clip_limit, tiles)
        self._shape: tuple[int, ...] = ()
        self._smaller: list[NDArray[np.uint8]] = []
        self._spread = np.empty(0, np.uint8)

    def apply(self, frame: NDArray[np.uint8], contrasted: NDArray[np.uint8]) -> None:
        """Equalise a frame, (h, w).

        Args:
            frame: Before.
            contrasted: After: where the result goes.
        """
        self._clahe.apply(frame, contrasted)
        spread = self._spread_of(frame)
        if int(spread.min()) >= _VARIED:
            return
        share = ((spread.astype(np.float32) - _FLAT) / (_VARIED - _FLAT)).clip(0, 1)
        share = np.asarray(cv2.resize(share, frame.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)
        cv2.blendLinear(contrasted, frame, share, 1 - share, contrasted)

    def _spread_of(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The largest value around each pixel less the smallest, in a quarter of the size.

        Pixels are means of squares with four a side, up to three rows and columns at the end left out. The frame is
        halved twice: OpenCV is fast where it averages four pixels to one (0.05 ms of 1024 x 1024, and 0.35 ms at once),
        and four times slower where sides are no multiples.
        """
        rows, columns = (side // 4 * 4 or side for side in frame.shape)
        if self._shape != frame.shape:
            self._shape = frame.shape
            sizes = [(max(1, rows // part), max(1, columns // part)) for part in (2, 4)]
            self._smaller = [np.empty(size, np.uint8) for size in sizes]
            self._spread = np.empty(sizes[-1], np.uint8)
        small = frame[:rows, :columns]
        for smaller in self._smaller:
            small = np.asarray(cv2.resize(small, smaller.shape[::-1], smaller, interpolation=cv2.INTER_AREA), np.uint8)
        return np.asarray(cv2.morphologyEx(small, cv2.MORPH_GRADIENT, _AROUND, self._spread), np.uint8)
