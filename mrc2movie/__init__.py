"""Turn MRC files (tilt series, tomograms, movies, particle stacks) into movies.

The programmer's face of the package::

    from mrc2movie import Settings, convert, convert_directory, inspect

    made = convert("tomogram.rec", "tomogram.mp4", Settings(fps=25), progress=True)
    made = convert(array, "tomogram.mp4", voxel_size_A=13.5)
    report = convert_directory("tilt_series", "movies", Settings(playback="forward"))
    known = inspect("tomogram.rec")

`convert` makes one movie of a file or a NumPy array and gives a `Conversion`, which a notebook plays;
`convert_directory` makes those of a directory and gives a `Report` of one `Outcome` a file, each with its `Status`;
`inspect` gives a `FileInfo`, what the readers make of a file. `Settings` are the options of the command line.

Nothing is printed: messages go to the logger ``mrc2movie``, errors are exceptions of ``mrc2movie.errors``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from mrc2movie.version import __version__

if TYPE_CHECKING:
    from mrc2movie.batch.report import Outcome, Report, Status
    from mrc2movie.batch.run import convert_directory
    from mrc2movie.conversion.api import convert
    from mrc2movie.conversion.result import Conversion
    from mrc2movie.info import FileInfo, inspect
    from mrc2movie.options.settings import Settings


__all__ = [
    "Conversion",
    "FileInfo",
    "Outcome",
    "Report",
    "Settings",
    "Status",
    "__version__",
    "convert",
    "convert_directory",
    "inspect",
]

# Loaded on first use: NumPy and OpenCV take longer to import than ``mrc2movie --help`` may take.
_HOME = {
    "Conversion": "mrc2movie.conversion.result",
    "FileInfo": "mrc2movie.info",
    "Outcome": "mrc2movie.batch.report",
    "Report": "mrc2movie.batch.report",
    "Settings": "mrc2movie.options.settings",
    "Status": "mrc2movie.batch.report",
    "convert": "mrc2movie.conversion.api",
    "convert_directory": "mrc2movie.batch.run",
    "inspect": "mrc2movie.info",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
