"""Writers: one module for each way to write a movie, and for what lies beside it."""

from importlib import import_module
from pathlib import Path

from mrc2movie.errors import UsageError
from mrc2movie.options.codecs import MJPG, require_rate
from mrc2movie.options.settings import Settings
from mrc2movie.workers import Share
from mrc2movie.writers.avi import JpegAvi, OpenCvAvi, require_codec
from mrc2movie.writers.movie import MovieWriter
from mrc2movie.writers.volume import Grid, VolumeWriter


def open_movie(
    path: Path,
    shape: tuple[int, ...],
    settings: Settings,
    threads: int = 1,
    title: str = "",
    frames: int | None = None,
) -> MovieWriter:
    """Begin a movie.

    Args:
        path: The file to write, under a temporary name with the right suffix.
        shape: Of the frames: (rows, columns), or (rows, columns, 3) in colour.
        settings: Format, codec, rate and quality.
        threads: How many an encoder of all frames may use.
        title: What the movie is called, where the container can say so.
        frames: At most so many will be written, so that room for their index is kept in front; None where nobody
            knows: then the finished movie is copied once more.

    Raises:
        Mrc2movieError: The codec cannot hold such frames.
        OutputError: The file cannot be made; of some formats it is made only with the first frame.
    """
    if settings.format != "avi":
        # PyAV takes as long to import as all the rest, and is not for those who write AVI.
        from mrc2movie.writers.video import IndependentFrames, PredictedFrames

        if settings.small:
            return PredictedFrames(path, shape, settings, title, frames, threads)
        return IndependentFrames(path, shape, settings, title, frames)
    if settings.codec == MJPG.name:
        return JpegAvi(path, shape, settings.fps, settings.quality)
    return OpenCvAvi(path, shape, settings.fps, settings.codec)


def check_codec(settings: Settings) -> None:
    """Refuse a codec, or a format of volumes, that cannot be written here, before any work.

    Raises:
        UsageError: It cannot; the advice says what can.
    """
    if settings.volume and settings.volume_format in _NEEDED:
        _require_package(settings.volume_format, *_NEEDED[settings.volume_format])
    if settings.format != "avi":
        from mrc2movie.writers.video import require_encoder

        require_rate(settings.codec, settings.fps)
        require_encoder(settings.codec)
    else:
        require_codec(settings.codec, settings.fps)


_NEEDED = {"mrcz": ("blosc2", 2), "zarr": ("zarr", 3)}
"""The packages that write volumes, and the oldest versions of which that is known."""


def _require_package(volume_format: str, package: str, oldest: int) -> None:
    what = f"--volume-format {volume_format} needs the Python package {package}"
    advice = f"pip install 'mrc2movie[{volume_format}]'"
    try:
        version = import_module(package).__version__
    except (ImportError, ValueError) as error:  # a ValueError where it was built for another NumPy
        raise UsageError(f"{what}, which cannot be imported ({error})", advice) from error
    if int(version.split(".")[0]) < oldest:
        raise UsageError(f"{what} {oldest} or later, and this is {version}", advice)


def open_volume_writer(path: Path, grid: Grid, settings: Settings, workers: Share, *, backward: bool) -> VolumeWriter:
    """Begin a volume.

    Args:
        path: The file or directory to write, which must not be there yet.
        grid: What the volume is.
        settings: The format.
        workers: What the file uses of the threads of the run.
        backward: Whether the last plane comes first.

    Raises:
        OutputError: It cannot be made.
        Mrc2movieError: The format cannot hold such sections.
    """
    if settings.volume_format == "zarr":
        from mrc2movie.writers.zarr import ZarrWriter  # not everybody has it

        return ZarrWriter(path, grid, settings.zarr_version, workers)
    from mrc2movie.writers.mrc import MrcWriter, MrczWriter

    return MrczWriter(path, grid, backward) if settings.volume_format == "mrcz" else MrcWriter(path, grid)


def encodes_in_workers(settings: Settings) -> bool:
    """Whether the worker threads encode, and not an encoder of the movie beside them."""
    return not settings.small and (settings.format != "avi" or settings.codec == MJPG.name)


def suffix(settings: Settings) -> str:
    """The suffix of the movies, such as ``.mp4``."""
    return f".{settings.format}"
