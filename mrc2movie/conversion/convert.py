"""One input to one movie, and what lies beside it: the wiring."""

import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from mrc2movie.conversion.alike import Alike
from mrc2movie.conversion.beside import Beside, require_beside
from mrc2movie.conversion.bitrate import Fitting
from mrc2movie.conversion.encode import Movie, make_movie, rendered
from mrc2movie.conversion.frames import plan_frames
from mrc2movie.conversion.measure import measure, what_is_shown
from mrc2movie.conversion.opening import as_scan, open_input
from mrc2movie.conversion.passes import Passes
from mrc2movie.conversion.preparation import timeline
from mrc2movie.conversion.preset_choice import settle
from mrc2movie.conversion.result import Conversion
from mrc2movie.conversion.sections import SectionProgress
from mrc2movie.conversion.unchanging import unchanging
from mrc2movie.errors import about
from mrc2movie.options.settings import Settings
from mrc2movie.picture.quality import in_one_line, rounded, signals, tilts_of
from mrc2movie.readers.array import ArrayVolume
from mrc2movie.readers.resliced import along
from mrc2movie.readers.volume import Volume
from mrc2movie.store.artifact import publish
from mrc2movie.store.claim import Claim
from mrc2movie.store.failure import forget_failure
from mrc2movie.store.files import FileStamp
from mrc2movie.version import __version__
from mrc2movie.workers import Share
from mrc2movie.writers import open_movie
from mrc2movie.writers.beside import left_beside
from mrc2movie.writers.movie import MovieWriter
from mrc2movie.writers.record import Made, Record, Unusable, source_paths, write_record


def convert_claimed(
    source: Path | ArrayVolume,
    claim: Claim,
    settings: Settings,
    workers: Share,
    progress: SectionProgress,
    found: Made | Unusable | None,
    series: str = "",
) -> Conversion:
    """Make the movie of one input, once the target is claimed, with the workers of a run.

    Args:
        source: The input: a file, or an open volume of sections that are in memory.
        claim: Of the movie.
        settings: All options.
        workers: What the file uses of the threads of the run.
        progress: Called after each section.
        found: The record of an earlier movie of this name.
        series: Of an input with several tilt series: which one.
    """
    begin = time.perf_counter()
    target = claim.target
    file_path = source if isinstance(source, Path) else None
    path = source if isinstance(source, Path) else source.path
    progress = partial(_tell, claim, Passes(), progress)
    with (
        about(path),
        unchanging(source, settings, series) as read_from,
        _opened(source, settings, claim.directory, series) as file,
        along(file, settings.axis, workers, claim.directory, partial(progress, "turning")) as volume,
        ExitStack() as opened,  # closed after the workers have ended: they may still write
        workers,
    ):
        asked, (settings, preset_notes) = settings, settle(settings, file)
        require_beside(file.description, settings)
        measured = measure(volume, settings, workers, progress)
        sections, grey_range = measured.sections, measured.grey_range
        description, selection = sections.description, sections.selection
        frames = plan_frames(path, file.description, measured, settings, target.stem, opened, claim.directory, progress)
        alike = Alike(measured.table.maybe_alike())
        with about(target), claim.naming_the_cause():
            shown = timeline(len(selection.places), settings)
            trial = claim.hidden.with_name(claim.beside(f".trial{target.suffix}").name)

            def open_at(path: Path, chosen: Settings) -> MovieWriter:
                return open_movie(path, frames.shape, chosen, workers.count, target.stem, len(shown))

            def movie_of(quality: int) -> Movie:
                writer = open_at(claim.hidden, replace(settings, quality=quality))
                return Movie(writer, frames.labels, shown, claim, workers, sections.watch)

            with sections.watch.stage("fitting"):
                render = partial(rendered, measured.sample, frames.options, workers)
                sampled, long_side = sorted(measured.sample), max(frames.shape[:2])
                fitting = Fitting(settings, len(shown), long_side, sampled, render, partial(open_at, trial), workers)
            beside = Beside(file, sections, settings, grey_range, claim, opened)
            movie = make_movie(movie_of, fitting, (alike, *beside.products), sections, frames.options)
            made = FileStamp.of(claim.hidden)
            made_beside = beside.made(progress)
        read_from.check()
        read = volume.description  # anew: what is wrong with a compressed stream shows at its end
        pictures = tuple(each.artifact for each in made_beside)
        striking = signals(measured.table, selection.numbers, alike.groups(), description)
        record = Record(
            source=read_from.stamp,
            source_paths=source_paths(file_path, target) if file_path else (),
            movie=replace(made, name=target.name),
            pictures=pictures
            + left_beside(found, target, file_path, asked.movie_options(), read_from.others, pictures),
            preset=settings.preset,
            settings=asked.movie_options(),
            sidecars=read_from.others,
            header=description.header,
            kind=description.kind,
            shape=description.shape,
            voxel_size_A=description.voxel_size_A,
            defocus_um=description.optics.defocus_um,
            grey_range=(grey_range.low, grey_range.high),
            sections=selection.numbers,
            section_means=rounded(measured.table.mean),
            section_deviations=rounded(measured.table.deviation),
            section_tilts=rounded(tilts_of(description, selection.numbers)),
            signals=striking,
            frames=movie.facts,
            seconds=dict(sections.watch.seconds),
            notes=preset_notes
            + read.notes
            + selection.notes
            + grey_range.notes
            + sections.preparation.notes
            + frames.notes
            + movie.writer.notes
            + fitting.notes,
            warnings=read.warnings
            + selection.warnings
            + sections.preparation.warnings
            + grey_range.warnings
            + frames.warnings
            + beside.warnings
            + movie.writer.warnings
            + fitting.warnings
            + in_one_line(striking),
            version=__version__,
        )
        with about(target), claim.naming_the_cause():
            # The record goes first: a movie without one would not be known as ours. Should the movie not follow,
            # the record does not fit the old one, which is then made anew.
            write_record(claim, record)
            publish(made_beside)
            claim.publish()
            forget_failure(target)
    return Conversion(path, target, record, time.perf_counter() - begin)


def _tell(
    claim: Claim, passes: Passes, progress: SectionProgress, stage: str, done: int, total: int, section_bytes: int
) -> None:
    """Tell of a section that is done, also those who ask what is under way."""
    passes.count(stage, done, total)
    claim.how_far = stage, passes.done / passes.total
    progress(stage, done, total, section_bytes)


def _opened(source: Path | ArrayVolume, settings: Settings, directory: Path, series: str) -> Volume:
    if isinstance(source, Path):
        return open_input(source, settings, directory, series)
    return as_scan(source, settings)


def check_head(source: Path, settings: Settings, workers: Share, series: str = "") -> None:
    """Refuse what a conversion would refuse by the head of a file, and write nothing.

    Raises:
        Mrc2movieError: It would.
    """
    with (
        about(source),
        open_input(source, settings, series=series) as file,
        along(file, settings.axis, workers, source.parent) as volume,
    ):
        settled, _ = settle(settings, file)
        require_beside(file.description, settled)
        what_is_shown(volume.description, settled)
