"""Turn MRC files (tilt series, tomograms, movies, particle stacks) into movies.

The programmer's face of the package::

    from mrc2movie import Settings, convert, convert_directory

    outcome = convert("tomogram.rec", "tomogram.avi", Settings(fps=25))
    report = convert_directory("tilt_series", "movies", Settings(playback="forward"))

Nothing is printed: messages go to the logger ``mrc2movie``, errors are exceptions of ``mrc2movie.errors``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mrc2movie.batch.run import convert_directory
    from mrc2movie.conversion.convert import convert
    from mrc2movie.options.settings import Settings

__version__ = "0.2.0"
__all__ = ["Settings", "__version__", "convert", "convert_directory"]

# Loaded on first use: NumPy and OpenCV take longer to import than ``mrc2movie --help`` may take.
_HOME = {
    "Settings": "mrc2movie.options.settings",
    "convert": "mrc2movie.conversion.convert",
    "convert_directory": "mrc2movie.batch.run",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
