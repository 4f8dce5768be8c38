"""The pictures beside a movie; the thumbnail is that of another image where that shows better what was recorded."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from mrc2movie.errors import InputError
from mrc2movie.options.settings import Settings
from mrc2movie.picture.plain import plain_picture
from mrc2movie.picture.render import Frame
from mrc2movie.readers import open_volume
from mrc2movie.readers.volume import Description
from mrc2movie.writers.stills import Stills, of_size


def pictures_of(stills: Stills, description: Description, settings: Settings) -> Mapping[str, Frame]:
    """The pictures beside a movie, by the name of their option."""
    pictures = stills.finished()
    if settings.thumbnail and description.thumbnail_file:
        instead = _first_section(description.thumbnail_file, settings.thumbnail)
        pictures = pictures if instead is None else {**pictures, "thumbnail": instead}
    return pictures


def _first_section(path: Path, long_side: int) -> Frame | None:
    """The first section of a file with at most so many pixels a side; None where it cannot be read."""
    with suppress(InputError), open_volume(path) as volume:
        section = volume.section(0)(np.empty(volume.scratch_bytes, np.uint8))
        if not volume.description.colour:
            return of_size(plain_picture(section, row0_at_bottom=volume.description.row0_at_bottom), long_side)
    return None
