"""What tests of several modules need."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mrc2movie.cli import main

Frames = NDArray[np.uint8]


@pytest.fixture
def movie(tmp_path: Path) -> Callable[..., Frames]:
    """Converts a file through the command line; gives the frames of one way of the lossless movie, (n, h, w, 3) BGR."""

    def convert(source: Path, *options: str) -> Frames:
        output = tmp_path / "movies"
        words = [str(source), str(output), "--codec=FFV1", "--playback=forward", "--clip-limit=0", "--range=minmax"]
        assert main([*words, "--overwrite", *options]) == 0
        (made,) = output.glob("*.avi")
        capture = cv2.VideoCapture(str(made))
        frames = []
        while True:
            found, frame = capture.read()
            if not found:
                break
            frames.append(frame)
        capture.release()
        return np.stack(frames).astype(np.uint8)

    return convert
