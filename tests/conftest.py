"""What tests of several modules need."""

import compileall
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from movies import LOSSLESS, coloured_frames, run
from numpy.typing import NDArray
from web import chromium

import mrc2movie

Frames = NDArray[np.uint8]


def pytest_configure(config: pytest.Config) -> None:
    """Compile the package once: hundreds of tests start the command, and not everywhere does Python keep bytecode."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(Path(mrc2movie.__file__).parent, quiet=1)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output directory of ``mrc2movie --demo``: one for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demo"
    try:
        place.mkdir()
    except FileExistsError:  # another process makes it
        end = time.monotonic() + 60
        while not (place / "whole").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
    else:
        assert run("--demo", place / "making", "--quiet") == 0
        (place / "making").rename(place / "whole")
    return place / "whole"


@pytest.fixture
def movie(tmp_path: Path) -> Callable[..., Frames]:
    """Converts a file through the command line; gives the frames of one way of the lossless movie, (n, h, w, 3) BGR."""

    def convert(source: Path, *options: str) -> Frames:
        output = tmp_path / "movies"
        words = (*LOSSLESS, "--playback=forward", "--range=minmax", "--overwrite")
        assert run(source, output, *words, *options) == 0
        (made,) = output.glob("*.avi")
        return np.stack(coloured_frames(made))

    return convert


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, headless."""
    driver = chromium(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()
