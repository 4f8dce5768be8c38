"""One input to one movie: read, render and encode in worker threads, in order and bounded; write in this one.

The design calls this room ``convert.py``; a module of that name would hide the function ``mrc2movie.convert``.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from mrc2movie import __version__
from mrc2movie.conversion.processors import available_processors
from mrc2movie.conversion.workers import Workers
from mrc2movie.errors import InputError, UsageError, about
from mrc2movie.options.codecs import FORMATS
from mrc2movie.options.presets import settle
from mrc2movie.options.settings import GreyRule, Settings
from mrc2movie.picture.greys import (
    GreyRange,
    Sampling,
    Statistics,
    choose_range,
    collect,
    collect_with_matched_means,
    section_statistics,
)
from mrc2movie.picture.labels import Labels, Pen, plan_labels
from mrc2movie.picture.render import Frame, Look, Preparation, Renderer, mean_of, preparation
from mrc2movie.picture.selection import Shown, sections_shown, way_back
from mrc2movie.readers import open_volume
from mrc2movie.readers.resliced import TurnedVolume
from mrc2movie.readers.volume import Description, Load, Section, SizeLearned, Volume
from mrc2movie.store.claim import Claim, PacketSpool, flush_to_disk
from mrc2movie.store.record import FileStamp, Record, source_paths, write_record
from mrc2movie.writers import check_codec, open_movie
from mrc2movie.writers.movie import MovieFacts, MovieWriter, Packet
from mrc2movie.writers.stills import Pictures, pictures_left, publish_pictures, write_pictures

Result = TypeVar("Result")

_MOST_FRAMES = 2**31 - 1  # AVI, MP4 and OpenCV count frames in 32 bits

OnSection = Callable[[str, int, int], None]
"""Hears of progress: the stage ("turning" for another axis, "measuring", "converting"), sections done, sections in
all."""


@dataclass(frozen=True)
class Conversion:
    """A movie that was made.

    Attributes:
        source: The input.
        target: The movie.
        record: How it was made, as kept beside it.
        seconds: From the start to the end.
    """

    source: Path
    target: Path
    record: Record
    seconds: float


class Stopwatch:
    """Adds up the seconds that the threads spend in each stage."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of this block for a stage."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - begin
            with self._lock:
                self.seconds[name] += spent


@dataclass(frozen=True)
class Showing:
    """The sections of a volume that a movie shows, in order, as the workers of this run meet them.

    Attributes:
        volume: The volume.
        description: Of the volume, with the voxel size that the user gave.
        shown: Its sections that are shown.
        preparation: What is done to each before it is measured.
        workers: The threads.
        on_section: Hears of progress.
        watch: Measures the stages.
    """

    volume: Volume
    description: Description
    shown: Shown
    preparation: Preparation
    workers: Workers
    on_section: OnSection
    watch: Stopwatch = field(default_factory=Stopwatch)

    def map(self, stage: str, make_worker: Callable[[], Callable[[int, Section], Result]]) -> Iterator[Result]:
        """Read and prepare every section shown once, in the worker threads, and yield what becomes of it, in order.

        Args:
            stage: What the listener is told.
            make_worker: Called in each thread; gives a function of (position among the sections shown, section).
        """
        if self.shown.average == 1:
            results = self._prepared(make_worker)
        else:
            results = self.workers.map(lambda: self._of_mean(make_worker()), self._neighbours())
        for done, result in enumerate(results, start=1):
            yield result
            self.on_section(stage, done, len(self.shown.places))

    def _prepared(self, make_worker: Callable[[], Callable[[int, Section], Result]]) -> Iterator[Result]:
        """Every section that is read, in the order in which it is needed; the worker's is its position in that."""

        def make_reading_worker() -> Callable[[tuple[int, Load]], Result]:
            worker = make_worker()
            scratch = np.empty(self.volume.scratch_bytes, np.uint8)

            def work(item: tuple[int, Load]) -> Result:
                nonlocal scratch
                position, load = item
                with about(self.volume.path):
                    with self.watch.stage("reading"):
                        section = load(scratch)
                    if self.preparation.steps:
                        with self.watch.stage("preparing"):
                            for step in self.preparation.steps:
                                section = step(section)
                    result = worker(position, section)
                if isinstance(result, np.ndarray) and np.may_share_memory(result, scratch):
                    scratch = np.empty_like(scratch)  # the section is kept, so the next one needs a place of its own
                return result

            return work

        loads = ((position, self.volume.section(number)) for position, number in enumerate(self.shown.read()))
        return self.workers.map(make_reading_worker, loads)

    def _neighbours(self) -> Iterator[tuple[int, Sequence[Section]]]:
        """The prepared sections whose mean each position shows.

        Each is read once and held as long as a mean needs it. The means themselves are made by the workers.
        """

        def keep(position: int, section: Section) -> Section:
            return section.astype(self._mean_dtype, copy=False)  # to be added up without another conversion

        arriving = zip(self.shown.read(), self._prepared(lambda: keep), strict=True)
        held: dict[int, Section] = {}
        for position in range(len(self.shown.places)):
            wanted = self.shown.neighbours(position)
            held = {number: held[number] for number in wanted if number in held}
            while len(held) < len(wanted):
                number, section = next(arriving)
                held[number] = section
            yield position, [held[number] for number in wanted]

    def _of_mean(self, worker: Callable[[int, Section], Result]) -> Callable[[tuple[int, Sequence[Section]]], Result]:
        mean = np.empty(self.preparation.shape, self._mean_dtype)

        def work(item: tuple[int, Sequence[Section]]) -> Result:
            position, sections = item
            with self.watch.stage("averaging"):
                mean_of(sections, mean)
            with about(self.volume.path):
                return worker(position, mean)

        return work

    @property
    def _mean_dtype(self) -> np.dtype[np.generic]:
        """Float32, or float64 where the voxels need it."""
        return np.result_type(self.description.dtype, np.float32)


def convert(
    source: str | Path,
    target: str | Path,
    settings: Settings | None = None,
    *,
    on_section: OnSection = lambda stage, done, total: None,
) -> Conversion:
    """Make the movie of one file, replacing the target in one step when it is complete and verified.

    Args:
        source: An MRC file.
        target: The movie; its directory must exist.
        settings: All options; the defaults, in the format that the target is named for, where None.
        on_section: Called in this thread after each section.

    Raises:
        InputError: The source cannot be read, or all its sections are discarded.
        OutputError: The movie cannot be written; `LeftToAnotherRun` where another run is making it.
        Mrc2movieError: The codec cannot hold such frames.
        UsageError: The target is named for no format, or for another than that of the settings, or the codec cannot be
            written here.
    """
    source, target = Path(source), Path(target)
    settings = _settings_for(target, settings)
    with about(target), Claim(target) as claim:
        return convert_claimed(source, claim, settings, on_section)


def convert_claimed(source: Path, claim: Claim, settings: Settings, on_section: OnSection) -> Conversion:
    """What `convert` does, once the target is claimed."""
    begin = time.perf_counter()
    target = claim.target
    jobs = settings.jobs or available_processors()
    with (
        about(source),
        _one_opencv_thread,
        _unchanging(source) as read_from,
        open_volume(source, settings.mode0, claim.directory) as file,
        _along_axis(file, settings, jobs, claim.directory, on_section) as volume,
        Workers(jobs) as workers,
    ):
        asked, (settings, preset_notes) = settings, settle(settings, file.description)
        showing, greys = _measured(volume, settings, workers, on_section)
        description, shown, prepared = showing.description, showing.shown, showing.preparation
        look = Look(
            grey_range=greys.grey_range,
            row0_at_bottom=description.row0_at_bottom if settings.flip == "auto" else settings.flip == "yes",
            clip_limit=settings.clip_limit,
            tile_grid_size=settings.tile_grid_size,
            invert=settings.invert,
            shifts=greys.shifts,
        )
        labels = plan_labels(settings, description, shown, prepared.shape, prepared.pixel_size_A)
        pictures = Pictures(settings, description, shown)
        with about(target), claim.naming_the_cause():
            writer = open_movie(claim.hidden, prepared.shape, settings, target.stem)
            facts = write_movie(showing, look, labels, pictures, writer, settings, claim)
            made = FileStamp.of(claim.hidden)
            beside = write_pictures(pictures.finished(), claim, settings)
        read_from.check()
        read = volume.description  # anew: what is wrong with a compressed stream shows at its end
        grey_range = greys.grey_range
        pictures_made = tuple(each.picture for each in beside)
        record = Record(
            source=read_from.stamp,
            source_paths=source_paths(source, target),
            movie=replace(made, name=target.name),
            pictures=pictures_made + pictures_left(target, source, asked.movie_options(), pictures_made),
            preset=settings.preset,
            settings=asked.movie_options(),
            header=description.header,
            grey_range=(grey_range.low, grey_range.high),
            sections=shown.numbers,
            frames=facts,
            seconds=dict(showing.watch.seconds),
            notes=preset_notes + read.notes + shown.notes + grey_range.notes + prepared.notes + writer.notes,
            warnings=read.warnings
            + shown.warnings
            + prepared.warnings
            + grey_range.warnings
            + labels.warnings
            + writer.warnings,
            version=__version__,
        )
        with about(target), claim.naming_the_cause():
            # The record goes first: a movie without one would not be known as ours. Should the movie not follow,
            # the record does not fit the old one, which is then made anew.
            write_record(claim, record)
            publish_pictures(beside)
            claim.publish()
    return Conversion(source, target, record, time.perf_counter() - begin)


def _along_axis(
    file: Volume, settings: Settings, jobs: int, directory: Path, on_section: OnSection
) -> AbstractContextManager[Volume]:
    """The volume whose sections are those along the axis."""
    if settings.axis == "z":
        return nullcontext(file)
    return TurnedVolume(file, settings.axis, jobs, directory, partial(on_section, "turning"))


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
def _unchanging(path: Path) -> Iterator[_Read]:
    """Say of a file that could not be read well that it has changed meanwhile, if it has."""
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


@dataclass(frozen=True)
class Greys:
    """What the measuring pass finds.

    Attributes:
        grey_range: What becomes black and white.
        shifts: What is to be added to the voxels at each position, so that the means match; empty for nothing.
    """

    grey_range: GreyRange
    shifts: Sequence[float] = ()


def _measured(volume: Volume, settings: Settings, workers: Workers, on_section: OnSection) -> tuple[Showing, Greys]:
    """The measuring pass over the sections that are shown, again if a compressed stream turns out to be shorter."""
    while True:
        description = volume.description
        if settings.pixel_size:
            description = replace(description, voxel_size_A=(settings.pixel_size,) * 3)
        shown = sections_shown(description.shape[0], settings, description.tilts)
        if not shown.numbers:
            raise InputError(
                f"all {description.shape[0]} sections are discarded",
                "discard fewer (--discard-range, --discard-percentage)",
            )
        prepared = preparation(settings, description.section_shape, description.voxel_size_A)
        with suppress(SizeLearned):
            _check_frames(volume, shown, settings)
            volume.expect(shown.read(), shown.rising)
            showing = Showing(volume, description, shown, prepared, workers, on_section)
            return showing, measure(showing, GreyRule.parse(settings.range), settings.match_mean)


def _check_frames(volume: Volume, shown: Shown, settings: Settings) -> None:
    """Refuse more frames than the containers can count.

    Raises:
        InputError: There are more.
        SizeLearned: A compressed stream is shorter than its header says.
    """
    frames = len(shown.places) + len(way_back(len(shown.places), settings))
    if frames <= _MOST_FRAMES:
        return
    if settings.axis == "z":
        volume.section(volume.description.shape[0] - 1)  # a compressed stream must have that many
    raise InputError(
        f"would be a movie of {frames} frames, more than the {_MOST_FRAMES} that one can have",
        "show fewer sections (--every, --discard-range, --playback forward)",
    )


def measure(showing: Showing, rule: GreyRule, match_mean: bool = False) -> Greys:
    """The measuring pass: exact minimum and maximum, robust statistics, and the grey range from them.

    Args:
        showing: What is measured.
        rule: How the range is found.
        match_mean: Whether every section is shifted to the common mean first.
    """
    sampling = Sampling.of(len(showing.shown.places), showing.preparation.shape)

    def make_worker() -> Callable[[int, Section], Statistics]:
        def work(position: int, section: Section) -> Statistics:
            with showing.watch.stage("measuring"):
                sampled = sampling.slice(position) if rule.needs_sample else slice(0)
                return section_statistics(section, sampled, match_mean)

        return work

    parts = showing.map("measuring", make_worker)
    statistics, shifts = collect_with_matched_means(parts) if match_mean else (collect(parts), ())
    return Greys(choose_range(statistics, rule, _rounding(showing)), shifts)


def _rounding(showing: Showing) -> float:
    """How far apart equal voxels may come to be, relative to them: twice what was found for each step and for means."""
    if not showing.preparation.steps and showing.shown.average == 1:
        return 0.0
    precise = np.finfo(np.result_type(showing.description.dtype, np.float32))
    return float(precise.eps) * (8 + showing.shown.average / 4)


def write_movie(
    showing: Showing,
    look: Look,
    labels: Labels,
    pictures: Pictures,
    writer: MovieWriter,
    settings: Settings,
    claim: Claim,
) -> MovieFacts:
    """The second pass: every section rendered and encoded once, written in order, and written again on the way back.

    Raises:
        OutputError: The finished movie is not what it must be.
    """
    watch = showing.watch
    count = len(showing.shown.places)
    back = way_back(count, settings)
    last = back[-1] if back else count - 1
    rendered: dict[int, Frame] = {}

    def make_worker() -> Callable[[int, Section], Packet]:
        render, pen, encode = Renderer(look), Pen(labels), writer.encoder()

        def work(position: int, section: Section) -> Packet:
            with watch.stage("contrast"):
                frame = render(section, position)
            pictures.see(frame, position)
            pen.write(frame, position)
            if position in (0, last):
                rendered[position] = frame.copy()
            with watch.stage("encoding"):
                return encode(frame, position)

        return work

    with _finished_or_abandoned(writer), PacketSpool(claim.directory) as spool:
        for packet in showing.map("converting", make_worker):
            with watch.stage("writing"):
                writer.write(packet)
                if back:
                    spool.append(packet)
        for position in back:
            with watch.stage("writing"):
                writer.write(spool[position])
        with watch.stage("writing"):
            writer.close()
    facts = MovieFacts(count + len(back), writer.width, writer.height, writer.fps)
    with watch.stage("flushing and verifying"):
        flushed = showing.workers.start(flush_to_disk, claim.hidden)
        begins_well = showing.workers.start(partial(writer.verify, facts), {0: rendered[0]})
        writer.verify(facts, {facts.frames - 1: rendered[last]})
        begins_well.result()
        flushed.result()
    return facts


def _settings_for(target: Path, settings: Settings | None) -> Settings:
    container = target.suffix[1:].lower()
    if container in FORMATS:
        settings = settings or Settings(format=container)
    else:
        settings = settings or Settings()
        container = settings.format
        if container == "avi":  # OpenCV knows the container by the name of the file
            known = ", ".join(f".{name}" for name in FORMATS)
            raise UsageError(f"{target.name} is named for no format", f"let its name end in one of {known}")
    if settings.format != container:
        raise UsageError(f"{target.name} is named for another format than {settings.format}", "set format or rename it")
    check_codec(settings)
    return settings


@contextmanager
def _finished_or_abandoned(writer: MovieWriter) -> Iterator[None]:
    """Whatever ends the writing early, also Ctrl-C, is not kept waiting, nor replaced by what it leads to."""
    try:
        yield
    except BaseException:
        with suppress(Exception):
            writer.abandon()
        raise


class _OneOpenCvThread:
    """The workers are the threads: OpenCV must not start its own inside each, as long as any conversion lasts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._conversions = 0
        self._before = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._conversions:
                self._before = cv2.getNumThreads()
                cv2.setNumThreads(1)
            self._conversions += 1

    def __exit__(self, *reason: object) -> None:
        with self._lock:
            self._conversions -= 1
            if not self._conversions:
                cv2.setNumThreads(self._before)


_one_opencv_thread = _OneOpenCvThread()
