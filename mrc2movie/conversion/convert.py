"""One input to one movie, and what lies beside it: the wiring."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mrc2movie import __version__
from mrc2movie.conversion.alike import Alike
from mrc2movie.conversion.bitrate import Fitting
from mrc2movie.conversion.encode import Movie, make_movie, rendered
from mrc2movie.conversion.measure import measure, what_is_shown
from mrc2movie.conversion.passes import Progress, calling
from mrc2movie.conversion.preparation import render_options
from mrc2movie.conversion.preset_choice import settle
from mrc2movie.conversion.sections import SectionProgress
from mrc2movie.conversion.show import in_html
from mrc2movie.errors import InputError, UsageError, about
from mrc2movie.options.codecs import FORMATS
from mrc2movie.options.presets import IMAGE_SECONDS
from mrc2movie.options.settings import Settings
from mrc2movie.picture.labels import plan_labels
from mrc2movie.picture.quality import in_one_line, rounded, signals
from mrc2movie.picture.selection import reverse_pass
from mrc2movie.processors import available_processors
from mrc2movie.readers import open_volume
from mrc2movie.readers.array import ArrayVolume, Lengths
from mrc2movie.readers.resliced import ReslicedVolume
from mrc2movie.readers.volume import Volume
from mrc2movie.store.artifact import publish
from mrc2movie.store.claim import Claim
from mrc2movie.store.files import FileStamp
from mrc2movie.store.record import Made, Record, Unusable, load, source_paths, write_record
from mrc2movie.workers import Share, Workers
from mrc2movie.writers import check_codec, open_movie
from mrc2movie.writers.movie import MovieWriter
from mrc2movie.writers.stills import Stills, pictures_left, write_pictures

logger = logging.getLogger("mrc2movie.conversion.convert")
logger.addHandler(logging.NullHandler())  # the caller adds another to this one, or to "mrc2movie"


@dataclass(frozen=True)
class Conversion:
    """A movie that was made.

    In a notebook it shows itself: the movie, or its middle section where no browser plays it.

    Attributes:
        source: The input; ``array`` for an array.
        target: The movie.
        record: How it was made, as kept beside it.
        seconds: From the start to the end.
    """

    source: Path
    target: Path
    record: Record
    seconds: float

    @property
    def facts(self) -> str:
        """What it is, in a line."""
        facts, size = self.record.frames, self.record.movie.size
        frames = f"{facts.frames} frames of {facts.width} x {facts.height}"
        return f"{frames}, {size / 1e6:.1f} MB in {self.seconds:.1f} s"

    def messages(self) -> Iterator[tuple[int, str]]:
        """What is to be logged of it: levels of the `logging` module, and lines."""
        for warning in self.record.warnings:
            yield logging.WARNING, f"{self.source}: {warning}"
        for note in self.record.notes:
            yield logging.INFO, f"{self.source}: {note}"
        yield logging.INFO, f"{self.source} -> {self.target}: {self.facts}"
        stages = ", ".join(f"{stage} {spent:.2f}" for stage, spent in self.record.seconds.items())
        yield logging.DEBUG, f"{self.source}: seconds of all threads: {stages}"

    def __repr__(self) -> str:
        return f"<Conversion {self.source} -> {self.target}: {self.facts}>"

    def _repr_html_(self) -> str:
        return in_html(self.target, self.record, str(self.source), self.facts)


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
        source: An MRC file; or an array of sections, (z, y, x) of any real dtype, or (z, y, x, 3) uint8 red, green,
            blue. Row 0 is the bottom of the picture unless `settings` have ``flip="no"``. An array is not copied, and
            must not change meanwhile.
        target: The movie; its directory must exist.
        settings: All options; the defaults where None. Where they were given no format, the name of the target
            decides.
        voxel_size_A: Of an array: the side of a voxel in Å, or three along (x, y, z).
        progress: Called in this thread after each section with the stage ("turning" for another axis, "measuring",
            "converting"), the number of sections done, and that of all; True shows a bar of ``tqdm.auto``.

    Raises:
        InputError: The source cannot be read, or all its sections are discarded.
        OutputError: The movie cannot be written; `LeftToAnotherRun` where another run is making it.
        Mrc2movieError: The codec cannot hold such frames.
        UsageError: The target is named for no format, or for another than that of the settings, or the codec cannot be
            written here, or a voxel size is given for a file.
    """
    target = Path(target)
    settings = _settings_for(target, settings)
    if not isinstance(source, (str, Path)):
        opened: Path | ArrayVolume = ArrayVolume(source, voxel_size_A)
    elif voxel_size_A is None:
        opened = Path(source)
    else:
        raise UsageError("voxel_size_A is for arrays", "give Settings(pixel_size=...) for a file")
    with (
        calling(progress, opened.name if isinstance(opened, Path) else "array") as call,
        about(target),
        Claim(target) as claim,
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


def convert_claimed(
    source: Path | ArrayVolume,
    claim: Claim,
    settings: Settings,
    workers: Share,
    progress: SectionProgress,
    found: Made | Unusable | None,
) -> Conversion:
    """What `convert` does, once the target is claimed, with the workers of a run.

    Args:
        source: The input: a file, or an open volume of sections that are in memory.
        claim: Of the movie.
        settings: All options.
        workers: What the file uses of the threads of the run.
        progress: Called after each section.
        found: The record of an earlier movie of this name.
    """
    begin = time.perf_counter()
    target = claim.target
    file_path = source if isinstance(source, Path) else None
    path = source if isinstance(source, Path) else source.path
    with (
        about(path),
        _unchanging(source) as read_from,
        open_volume(source, settings.mode0, claim.directory) if isinstance(source, Path) else source as file,
        _along_axis(file, settings, workers, claim.directory, progress) as volume,
        workers,
    ):
        asked, (settings, preset_notes) = settings, settle(settings, file)
        measured = measure(volume, settings, workers, progress)
        sections, grey_range = measured.sections, measured.grey_range
        description, selection, prepared = sections.description, sections.selection, sections.preparation
        options = render_options(settings, grey_range, measured.shifts, prepared)
        labels = plan_labels(
            settings.label.split(",") if settings.label else (),
            settings.scale_bar,
            description,
            selection,
            prepared.geometry,
            prepared.pixel_size_A,
        )
        stills = Stills(settings.thumbnail, settings.contact_sheet, description, selection)
        alike = Alike(measured.table.maybe_alike())
        with about(target), claim.naming_the_cause():
            count = len(selection.places)
            following = _following(count, settings)
            frames = count + len(following)
            trial = claim.hidden.with_name(claim.beside(f".trial{target.suffix}").name)

            def open_at(path: Path, chosen: Settings) -> MovieWriter:
                return open_movie(path, prepared.frame_shape, chosen, workers.count, target.stem, frames)

            def movie_of(quality: int) -> Movie:
                writer = open_at(claim.hidden, replace(settings, quality=quality))
                return Movie(writer, labels, count, following, claim, workers, sections.watch)

            with sections.watch.stage("fitting"):
                sample = rendered(measured.sample, options, workers)
                long_side = max(prepared.frame_shape[:2])
                fitting = Fitting(settings, frames, long_side, sample, partial(open_at, trial), workers)
            movie = make_movie(movie_of, fitting, (alike, stills), sections, options)
            made = FileStamp.of(claim.hidden)
            beside = write_pictures(stills.finished(), claim, settings)
        read_from.check()
        read = volume.description  # anew: what is wrong with a compressed stream shows at its end
        pictures_made = tuple(each.artifact for each in beside)
        striking = signals(measured.table, selection.numbers, alike.groups(), description)
        record = Record(
            source=read_from.stamp,
            source_paths=source_paths(file_path, target) if file_path else (),
            movie=replace(made, name=target.name),
            pictures=pictures_made + pictures_left(found, target, file_path, asked.movie_options(), pictures_made),
            preset=settings.preset,
            settings=asked.movie_options(),
            header=description.header,
            grey_range=(grey_range.low, grey_range.high),
            sections=selection.numbers,
            section_means=rounded(measured.table.mean),
            section_deviations=rounded(measured.table.deviation),
            signals=striking,
            frames=movie.facts,
            seconds=dict(sections.watch.seconds),
            notes=preset_notes
            + read.notes
            + selection.notes
            + grey_range.notes
            + prepared.notes
            + movie.writer.notes
            + fitting.notes,
            warnings=read.warnings
            + selection.warnings
            + prepared.warnings
            + grey_range.warnings
            + labels.warnings
            + movie.writer.warnings
            + fitting.warnings
            + in_one_line(striking),
            version=__version__,
        )
        with about(target), claim.naming_the_cause():
            # The record goes first: a movie without one would not be known as ours. Should the movie not follow,
            # the record does not fit the old one, which is then made anew.
            write_record(claim, record)
            publish(beside)
            claim.publish()
    return Conversion(path, target, record, time.perf_counter() - begin)


def _following(count: int, settings: Settings) -> Sequence[int]:
    """The positions that are shown again after the last section; under a preset a single image is held for a while."""
    if count == 1 and settings.preset:
        return (0,) * (round(IMAGE_SECONDS * settings.fps) - 1)
    return reverse_pass(count, settings.playback)


def check_head(source: Path, settings: Settings, workers: Share) -> None:
    """Refuse what a conversion would refuse by the head of a file, and write nothing.

    Raises:
        Mrc2movieError: It would.
    """
    with (
        about(source),
        open_volume(source, settings.mode0) as file,
        _along_axis(file, settings, workers, source.parent, lambda stage, done, total, section_bytes: None) as volume,
    ):
        what_is_shown(volume.description, settle(settings, file)[0])


def _along_axis(
    file: Volume, settings: Settings, workers: Share, directory: Path, progress: SectionProgress
) -> AbstractContextManager[Volume]:
    """The volume whose sections are those along the axis."""
    if settings.axis == "z":
        return nullcontext(file)
    return ReslicedVolume(file, settings.axis, workers, directory, partial(progress, "turning"))


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


class _InMemory:
    """An array, of which there is no file to look at."""

    def __init__(self, volume: ArrayVolume) -> None:
        self.stamp = FileStamp(volume.path.name, volume.stored_bytes, 0)

    def check(self) -> None:
        """Whether the array was changed is not seen."""


class _Read:
    """A file as it was before it was read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file, self.stamp, self._changed_ns = _file_as_it_is(path)

    def check(self) -> None:
        """Refuse what was read if it is no longer what is there.

        Raises:
            InputError: It is not.
        """
        try:
            file, stamp, changed_ns = _file_as_it_is(self._path)
        except OSError as error:
            raise InputError(f"was removed while it was read ({error.strerror})", "bring it back") from error
        if file != self._file:
            what = "was replaced by another file"
        elif stamp.size != self.stamp.size:
            what = f"became {'longer' if stamp.size > self.stamp.size else 'shorter'}"
        elif stamp != self.stamp:
            what = "was written to"
        elif changed_ns != self._changed_ns:
            what = "was written to, or its attributes were changed,"
        else:
            return
        raise InputError(f"{what} while it was read", "convert it again when nothing writes to it")


def _file_as_it_is(path: Path) -> tuple[tuple[int, int], FileStamp, int]:
    """Which file it is, its stamp, and its ctime: programs such as rsync set the mtime back, but never the ctime."""
    status = path.stat()
    stamp = FileStamp(path.name, status.st_size, status.st_mtime_ns)
    return (status.st_dev, status.st_ino), stamp, status.st_ctime_ns


@contextmanager
def _unchanging(path: Path | ArrayVolume) -> Iterator[_Read | _InMemory]:
    """Say of a file that could not be read well that it has changed meanwhile, if it has."""
    if isinstance(path, ArrayVolume):
        yield _InMemory(path)
        return
    try:
        read = _Read(path)
    except (OSError, ValueError):
        with open_volume(path):  # which says why
            raise
    try:
        yield read
    except InputError:
        read.check()
        raise
