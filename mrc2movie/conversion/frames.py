"""How the frames of one movie look: the greys, what is drawn over and beside the sections, and what is written."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from mrc2movie.conversion.annotations import annotations
from mrc2movie.conversion.compare import comparison
from mrc2movie.conversion.layouts import labels_wanted, ortho, scale_bar_wanted
from mrc2movie.conversion.measure import Measured
from mrc2movie.conversion.preparation import render_options
from mrc2movie.conversion.sections import SectionProgress
from mrc2movie.options.settings import Settings
from mrc2movie.picture.labels import Labels, plan_labels
from mrc2movie.picture.render import RenderOptions
from mrc2movie.readers.volume import Description
from mrc2movie.store.names import printable


@dataclass(frozen=True)
class Frames:
    """How the frames of a movie look.

    Attributes:
        options: How a section becomes a frame.
        shape: Of the frames: (rows, columns), or (rows, columns, 3) in colour.
        labels: What is written over them.
        notes: What the user may want to know.
        warnings: What the user should know.
    """

    options: RenderOptions
    shape: tuple[int, ...]
    labels: Labels
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def plan_frames(
    path: Path,
    stored: Description,
    measured: Measured,
    settings: Settings,
    title: str,
    opened: ExitStack,
    directory: Path,
    progress: SectionProgress,
) -> Frames:
    """Plan how the frames of a movie look.

    Args:
        path: The input.
        stored: Of the volume as it is stored.
        measured: Its sections in the direction in which they are shown.
        settings: All options.
        title: What the movie is called.
        opened: Closes masks and the volume that is compared, after the threads have ended.
        directory: Where temporary files go.
        progress: Called after each section of a volume that is compared.

    Raises:
        InputError: What is to be drawn or compared does not fit, or cannot be read.
    """
    sections = measured.sections
    description, selection, prepared = sections.description, sections.selection, sections.preparation
    workers = sections.workers
    drawn = annotations(path, settings, stored, description, selection, prepared, workers, opened, directory)
    options = render_options(settings, measured.grey_range, measured.shifts, prepared)
    options = replace(options, overlays=drawn.overlays)
    if measured.cuts:
        options = replace(options, layout=ortho(measured.cuts, settings, description, selection, prepared, options))
    compared = comparison(path, settings, measured, options, workers, opened, directory, progress)
    if compared:
        options = replace(options, layout=compared)
    shape = options.layout.shape if options.layout else prepared.frame_shape
    labels = plan_labels(
        labels_wanted(settings),
        scale_bar_wanted(settings, prepared),
        description,
        selection,
        prepared.geometry,
        prepared.pixel_size_A,
        printable(title),
        drawn.legend,
    )
    return Frames(
        options,
        (*shape[:2], 3) if drawn.overlays else shape,
        labels,
        drawn.notes,
        drawn.warnings + (compared.warnings if compared else ()) + labels.warnings,
    )
