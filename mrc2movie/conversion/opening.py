"""An input opened as the settings say; the readers know no options."""

from pathlib import Path

from mrc2movie.errors import about
from mrc2movie.options.settings import Settings
from mrc2movie.readers import open_source, open_volume, other_stamps
from mrc2movie.readers.scans.known import with_scan
from mrc2movie.readers.source import closed_on_error
from mrc2movie.readers.volume import Volume
from mrc2movie.store.files import FileStamp


def open_input(path: Path, settings: Settings, spool_directory: Path | None = None, series: str = "") -> Volume:
    """Open an input; see `open_volume`."""
    image_dir, iterations = _image_dir(settings), settings.iterations
    volume = open_volume(path, settings.mode0, spool_directory, image_dir, series, iterations, settings.dataset)
    with about(path), closed_on_error(volume):
        return as_scan(volume, settings)


def as_scan(volume: Volume, settings: Settings) -> Volume:
    """A volume that knows where its sections were recorded, where the settings or another file tell.

    Raises:
        InputError: What they tell contradicts the volume.
    """
    return with_scan(volume, settings.navigation_shape, settings.scan_path == "serpentine", open_source)


def stamps_of_parts(path: Path, settings: Settings, series: str = "") -> tuple[FileStamp, ...]:
    """The other files that an input consists of; see `other_stamps`."""
    return other_stamps(path, _image_dir(settings), series, settings.iterations)


def _image_dir(settings: Settings) -> Path | None:
    return Path(settings.image_dir) if settings.image_dir else None
