"""Writers: one module for each way to write a movie."""

from pathlib import Path

from mrc2movie.options.codecs import MJPG, require_rate
from mrc2movie.options.settings import Settings
from mrc2movie.writers.avi import JpegAvi, OpenCvAvi, require_codec
from mrc2movie.writers.movie import MovieWriter


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
        OutputError: The file cannot be made.
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
    """Refuse a codec that cannot be written here, before any work.

    Raises:
        UsageError: It cannot; the advice says what can.
    """
    if settings.format != "avi":
        from mrc2movie.writers.video import require_encoder

        require_rate(settings.codec, settings.fps)
        require_encoder(settings.codec)
    else:
        require_codec(settings.codec, settings.fps)


def encodes_in_workers(settings: Settings) -> bool:
    """Whether the worker threads encode, and not an encoder of the movie beside them."""
    return not settings.small and (settings.format != "avi" or settings.codec == MJPG.name)


def suffix(settings: Settings) -> str:
    """The suffix of the movies, such as ``.mp4``."""
    return f".{settings.format}"
