"""A movie with another volume of the same specimen at the right of each section."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

from mrc2movie.conversion.measure import Measured, measure
from mrc2movie.conversion.opening import open_input
from mrc2movie.conversion.preparation import render_options
from mrc2movie.conversion.sections import PreparedSections, SectionProgress
from mrc2movie.errors import InputError, UsageError, about
from mrc2movie.options.settings import Settings
from mrc2movie.picture.labels import draw_at_upper_right, title_stamp
from mrc2movie.picture.render import Frame, Renderer, RenderOptions
from mrc2movie.readers import is_named_like_input, stem_of
from mrc2movie.readers.matched import MatchedVolume
from mrc2movie.readers.resliced import along
from mrc2movie.readers.volume import Section
from mrc2movie.store.files import FileStamp
from mrc2movie.workers import Share

_GAP_SHARE = 1 / 200
_DIRECTORIES_KEPT = 256


def require_compared(settings: Settings) -> None:
    """Refuse a directory that is not there, before any work.

    Raises:
        UsageError: It is not.
    """
    if settings.compare and not Path(settings.compare).is_dir():
        raise UsageError(f"--compare {settings.compare}: there is no such directory", "name another")


def compared_stamps(source: Path, settings: Settings) -> tuple[FileStamp, ...]:
    """The file that an input is compared with, as it is now; raises OSError."""
    return tuple(FileStamp.of(path) for path in _candidates(source, settings)[:1])


def _candidates(source: Path, settings: Settings) -> Sequence[Path]:
    """The file of the same name, or all of the same name without suffixes, in a directory below like that of a file."""
    if not settings.compare:
        return ()
    above = source.absolute().parent.parts[1:]
    for first in range(len(above) + 1):  # of ``day1/grid2/TS_01.mrc`` in day1/grid2, in grid2, and in none
        directory = Path(settings.compare, *above[first:])
        if (directory / source.name).is_file():
            return (directory / source.name,)
        if directory.is_dir() and (same := _names(directory, directory.stat().st_mtime_ns).get(stem_of(source.name))):
            return [directory / name for name in same]
    return ()


@lru_cache(_DIRECTORIES_KEPT)
def _names(directory: Path, mtime_ns: int) -> Mapping[str, Sequence[str]]:
    """The names of the inputs in a directory, by their stems: listed once as long as its time is the same."""
    names: dict[str, list[str]] = {}
    for name in sorted(filter(is_named_like_input, os.listdir(directory))):  # noqa: PTH208
        names.setdefault(stem_of(name), []).append(name)
    return names


def comparison(
    source: Path,
    settings: Settings,
    measured: Measured,
    options: RenderOptions,
    workers: Share,
    opened: ExitStack,
    directory: Path,
    progress: SectionProgress,
) -> "Comparison | None":
    """Open and measure the volume that a file is compared with; None where it is compared with none.

    Args:
        source: The file.
        settings: All options.
        measured: Of the file.
        options: How its frames are rendered.
        workers: What the file uses of the threads of the run.
        opened: Closes the other volume.
        directory: Where temporary files go.
        progress: Called after each section of the other volume.

    Raises:
        InputError: There is no such volume, or it cannot be read, or has another form.
    """
    if not settings.compare:
        return None
    found = _candidates(source, settings)
    if len(found) != 1:
        names = f"{', '.join(path.name for path in found)} are all" if found else "nothing is"
        raise InputError(f"{names} of its name in {settings.compare}", "--compare takes the file of the same name")
    with about(found[0]):
        file = opened.enter_context(open_input(found[0], settings, directory))
        volume = opened.enter_context(along(file, settings.axis, workers, directory))
        matched = MatchedVolume(volume, measured.sections.description)
        other = measure(matched, settings, workers, partial(_renamed, progress))
    return Comparison(settings, other, options, (source.absolute().parent.name, found[0].absolute().parent.name))


def _renamed(progress: SectionProgress, stage: str, done: int, total: int, section_bytes: int) -> None:
    progress("comparing", done, total, section_bytes)


class Comparison:
    """Frames with a section at the left and the same of another volume at the right.

    Args:
        settings: All options.
        other: The other volume, matched to the sections that are shown.
        options: How the frames at the left are rendered: those at the right in their own greys, else the same.
        titles: What the two are called.

    Attributes:
        shape: Of the frames.
        warnings: What the user should know.
    """

    def __init__(self, settings: Settings, other: Measured, options: RenderOptions, titles: tuple[str, str]) -> None:
        sections, prepared = other.sections, other.sections.preparation
        rows, columns = prepared.frame_shape[:2]
        gap = 2 * max(1, round(_GAP_SHARE * min(rows, columns) / 2))  # even, as most codecs want widths
        self.shape = (rows, 2 * columns + gap, *prepared.frame_shape[2:])
        self._parts = slice(0, columns), slice(columns + gap, None)
        self._titles = [title_stamp(title, (rows, columns)) for title in titles]
        self._sections: PreparedSections = replace(sections, progress=lambda stage, done, total, section_bytes: None)
        rendered = render_options(settings, other.grey_range, other.shifts, prepared)
        self._options = replace(rendered, overlays=options.overlays)
        self._sample: Mapping[int, Section] = other.sample
        self._ready: dict[int, Frame] = {}
        description = sections.volume.description
        told = description.warnings + prepared.warnings + other.grey_range.warnings
        self.warnings = tuple(f"--compare: {sections.volume.path}: {warning}" for warning in told)

    def follow(self) -> Callable[[int], object]:
        """Begin a pass over the other volume, whose frames are ready before they are wanted."""

        def make_worker() -> Callable[[int, Section], Frame]:
            render = Renderer(self._options)
            return lambda position, section: render(section, position).copy()

        frames = self._sections.each("comparing", make_worker)

        def before(position: int) -> None:
            self._ready[position] = next(frames)

        self._ready.clear()
        return before

    def arrange(self, canvas: Frame, frame: Frame, position: int) -> None:
        """Put the frames of both volumes onto a canvas; see `Layout`."""
        other = self._ready.pop(position, None)
        if other is None:  # one of the sample, outside of any pass
            other = Renderer(self._options)(self._sample[position], position)
        canvas[...] = 0
        for part, each, title in zip(self._parts, (frame, other), self._titles, strict=True):
            panel = canvas[:, part]
            panel[...] = each[..., None] if each.ndim < canvas.ndim else each
            if title:
                draw_at_upper_right(title, panel)
