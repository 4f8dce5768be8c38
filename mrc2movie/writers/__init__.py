"""Writers: one module for each way to write a movie."""

from pathlib import Path

from mrc2movie.settings import Settings
from mrc2movie.writers.avi import JPEG_CODEC, JpegAvi, OpenCvAvi, require_codec
from mrc2movie.writers.movie import MovieWriter


def open_movie(path: Path, shape: tuple[int, int], settings: Settings) -> MovieWriter:
    """Begin a movie.

    Args:
        path: The file to write, under a temporary name with the right suffix.
        shape: (rows, columns) of the frames.
        settings: Codec, rate and quality.

    Raises:
        Mrc2movieError: The codec cannot hold such frames.
        OutputError: The file cannot be made.
    """
    if settings.codec == JPEG_CODEC:
        return JpegAvi(path, shape, settings.fps, settings.quality)
    return OpenCvAvi(path, shape, settings.fps, settings.codec)


def check_codec(settings: Settings) -> None:
    """Refuse a codec that cannot be written here, before any work.

    Raises:
        UsageError: It cannot; the advice says what can.
    """
    require_codec(settings.codec, settings.fps)


def suffix(settings: Settings) -> str:
    """The suffix of the movies: ``.avi``."""
    return ".avi"
