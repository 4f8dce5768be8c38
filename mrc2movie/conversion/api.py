"""The function `convert` of the package: one file or array, with workers of its own."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mrc2movie.conversion.convert import convert_claimed
from mrc2movie.conversion.passes import Progress, calling
from mrc2movie.conversion.result import Conversion
from mrc2movie.errors import OutputError, UsageError, about
from mrc2movie.options.codecs import FORMATS
from mrc2movie.options.settings import Settings
from mrc2movie.processors import available_processors
from mrc2movie.readers import as_file
from mrc2movie.readers.array import ArrayVolume, Lengths
from mrc2movie.store.claim import Claim
from mrc2movie.workers import Workers
from mrc2movie.writers import check_codec
from mrc2movie.writers.beside import data_of_others, refuse_input
from mrc2movie.writers.record import load

logger = logging.getLogger(__name__)
logger.addHandler(logging.NullHandler())  # the caller adds another to this one, or to "mrc2movie"


def convert(
    source: str | Path | NDArray[Any],
    target: str | Path,
    settings: Settings | None = None,
    *,
    voxel_size_A: float | Lengths | None = None,
    progress: Progress | bool | None = None,
) -> Conversion:
    """Make the movie of one file or array, replacing the target in one step when it is complete and verified.

    Notes and warnings go to the logger ``mrc2movie``.

    Args:
        source: A file of sections, or a file or job folder that names images in others; or an array of sections,
            (z, y, x) of any real dtype, or (z, y, x, 3) uint8 red, green, blue. Row 0 is the bottom of the picture
            unless `settings` have ``flip="no"``. An array is not copied, and must not change meanwhile.
        target: The movie; its directory must exist.
        settings: All options; the defaults where None. Where they were given no format, the name of the target
            decides.
        voxel_size_A: Of an array: the side of a voxel in Å, or three along (x, y, z).
        progress: Called in this thread after each section with the stage ("turning" for another axis, "measuring",
            "comparing" for the volume that is compared with, "converting"), the number of sections done, and that of
            all; True shows a bar of ``tqdm.auto``.

    Raises:
        InputError: The source cannot be read, or all its sections are discarded.
        OutputError: The movie cannot be written; `LeftToAnotherRun` where another run is making it; or what stands
            where its volume belongs is not ours.
        Mrc2movieError: The codec cannot hold such frames.
        UsageError: The target is named for no format, or for another than that of the settings, or the codec cannot be
            written here, or a voxel size is given for a file.
    """
    target = Path(target)
    settings = _settings_for(target, settings)
    if data := data_of_others(target, settings):
        raise OutputError(f"{data} is there without a record and so not ours: it may be data", "rename it")
    if not isinstance(source, (str, Path)):
        opened: Path | ArrayVolume = ArrayVolume(source, voxel_size_A)
    elif voxel_size_A is None:
        opened = as_file(Path(source)) or Path(source)
        refuse_input(opened, target, settings)
    else:
        raise UsageError("voxel_size_A is for arrays", "give Settings(pixel_size=...) for a file")
    with (
        calling(progress, opened.name if isinstance(opened, Path) else "array") as call,
        about(target),
        Claim(target, source=opened if isinstance(opened, Path) else None) as claim,
        Workers(settings.jobs or available_processors()) as workers,
    ):
        conversion = convert_claimed(
            opened,
            claim,
            settings,
            workers.share(),
            lambda stage, done, total, section_bytes: call(stage, done, total),
            load(target),
        )
    for level, message in conversion.messages():
        logger.log(level, "%s", message)
    return conversion


def _settings_for(target: Path, settings: Settings | None) -> Settings:
    settings = settings or Settings()
    container = target.suffix[1:].lower()
    if container in FORMATS:
        if settings.given.get("format") is None:
            settings = replace(settings, format=container)
    else:
        container = settings.format
        if container == "avi":  # OpenCV knows the container by the name of the file
            known = ", ".join(f".{name}" for name in FORMATS)
            raise UsageError(f"{target.name} is named for no format", f"let its name end in one of {known}")
    if settings.format != container:
        raise UsageError(f"{target.name} is named for another format than {settings.format}", "set format or rename it")
    check_codec(settings)
    return settings
