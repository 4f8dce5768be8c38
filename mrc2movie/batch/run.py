"""A directory to jobs, jobs to outcomes, outcomes to a report: the loop around `convert`."""

import errno
import hashlib
import json
import logging
import os
import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path

from mrc2movie import __version__
from mrc2movie.batch.report import Job, Outcome, Report, Status, Watcher
from mrc2movie.conversion.convert import Conversion, convert_claimed
from mrc2movie.errors import (
    TOO_LITTLE_MEMORY,
    DiskFull,
    InputError,
    LeftToAnotherRun,
    Mrc2movieError,
    OutputError,
    UsageError,
    about,
    lacks_memory,
    saying,
)
from mrc2movie.options.settings import LOG_NAME, Settings
from mrc2movie.processors import available_processors
from mrc2movie.readers import COMPRESSION_SUFFIXES, PLAIN_SUFFIXES
from mrc2movie.store.claim import (
    RECORD_DIRECTORY,
    Claim,
    crashes,
    forget_crashes,
    living_owner,
    make_directories,
    refuse_directory,
    remove_what_dead_runs_left,
)
from mrc2movie.store.names import fitting
from mrc2movie.store.record import (
    FileStamp,
    Made,
    Unusable,
    load,
    record_path,
    refuse_directory_of_another_user,
)
from mrc2movie.workers import Share, Workers
from mrc2movie.writers import check_codec, suffix
from mrc2movie.writers.stills import CONTACT_SHEET, knows, picture_paths, recorded_as, why_not_beside

_CRASHES = 2
"""So many runs may crash while they convert a file before it is skipped."""

logger = logging.getLogger(__name__)
logger.addHandler(logging.NullHandler())  # who wants to hear of it adds another to this one, or to "mrc2movie"


def convert_directory(
    source: str | Path,
    output_directory: str | Path,
    settings: Settings | None = None,
    *,
    watcher: Watcher | None = None,
) -> Report:
    """Make the movies of all MRC files of a directory, or of one file.

    A file that fails is reported, and the others are converted all the same. Movies that are up to date are left.

    Args:
        source: A directory, or one file, then whatever its name.
        output_directory: Where the movies go; made where it is missing.
        settings: All options; the defaults where None.
        watcher: Hears how the run goes.

    Raises:
        UsageError: Nothing to convert, or an option cannot work here; nothing was done.
    """
    settings = settings or Settings()
    return run(plan(Path(source), Path(output_directory), settings), settings, watcher or Watcher())


def run(jobs: Sequence[Job], settings: Settings, watcher: Watcher) -> Report:
    """Do the jobs one after the other; each uses all workers.

    A disk that is full ends the run: every other movie would fail as well.
    """
    outcomes: list[Outcome] = []
    made: dict[tuple[int, int], Path] = {}
    full = False
    unmade = {} if settings.dry_run else _prepare(jobs, settings)
    with Workers(settings.jobs or available_processors()) as workers:
        for position, job in enumerate(jobs):
            watcher.job_begins(job, position, len(jobs))
            try:
                share = workers.share(position)
                outcome = _run(job, settings, share, watcher, unmade.get(job.output_directory), made)
            except DiskFull as error:
                outcome, full = Outcome(job, Status.FAILED, str(error)), True
            _log(outcome)
            watcher.job_ends(outcome)
            outcomes.append(outcome)
            if full:
                left = jobs[position + 1 :]
                logger.error(
                    "stopped, since the disk is full (%d not begun); the same command again carries on", len(left)
                )
                outcomes += (Outcome(job, Status.NOT_BEGUN) for job in left)
                break
    return Report(tuple(outcomes))


def _prepare(jobs: Sequence[Job], settings: Settings) -> Mapping[Path, OutputError]:
    """Make the output directory, and remove what runs that were killed have left in it.

    Should the directory vanish later, it is not made again: its disk may be gone, and then that would be elsewhere.

    Returns:
        Why it cannot be made, by the directory.
    """
    unmade = {}
    for directory in {job.output_directory for job in jobs}:
        try:
            with about(directory), saying("the output directory cannot be made"):
                make_directories(directory)
        except OutputError as error:
            unmade[directory] = error
    directories = {job.target.parent for job in jobs if not _links_between(job)}
    if settings.recursive:  # also where all inputs are gone
        directories |= {directory for job in jobs[:1] for directory in _directories(job.output_directory)}
    for directory in directories:
        remove_what_dead_runs_left(directory)
    return unmade


def _directories(directory: Path) -> Iterator[Path]:
    """A directory and all below it, as far as they can be listed; `os.walk` of Python 3.11 stops at 1000 levels."""
    to_list = deque([directory])
    while to_list:
        yield (here := to_list.popleft())
        with suppress(OSError):
            to_list += (here / entry.name for entry in _entries(here) if entry.is_dir(follow_symlinks=False))


def _links_between(job: Job) -> list[Path]:
    """The symbolic links below the output directory through which a movie would be written."""
    below = job.target.relative_to(job.output_directory).parents
    return [path for parent in list(below)[:-1] if os.path.islink(path := job.output_directory / parent)]  # noqa: PTH114


def plan(source: Path, output_directory: Path, settings: Settings) -> Sequence[Job]:
    """Decide all names, and whether the codec works here, before any work.

    Returns:
        The jobs, in natural order of their inputs (``tilt_9`` before ``tilt_10``), and then what cannot be listed.

    Raises:
        UsageError: There is nothing to convert, INPUT or OUTPUT_DIR cannot be looked at, OUTPUT_DIR is a file, or the
            codec cannot be written.
    """
    try:
        check_codec(settings)
        return _jobs(source, output_directory, settings)
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be looked at ({error.strerror})", "name another") from error


def _jobs(source: Path, output_directory: Path, settings: Settings) -> Sequence[Job]:
    if output_directory.exists() and not output_directory.is_dir():
        raise UsageError(f"{output_directory} is not a directory", "name a directory for the movies")
    unlisted: dict[Path, str] = {}
    if source.is_dir():
        inputs = sorted(_inputs(source, output_directory, settings, unlisted), key=_natural)
        wanted = f"matches {settings.pattern}" if settings.pattern else "is named like an MRC file"
        missing = f"no file in {source} {wanted}"
        advice = "choose others with --pattern, look into sub-directories with --recursive"
    else:
        inputs = [source] if os.path.lexists(source) else []
        missing, advice = f"{source} does not exist", "name a directory or a file"
    if not inputs and not unlisted:
        raise UsageError(missing, advice)
    root = source if source.is_dir() else source.parent
    targets = _targets([path.relative_to(root) for path in inputs], suffix(settings), root, output_directory)
    return [
        *(Job(path, output_directory / target, output_directory) for path, target in zip(inputs, targets, strict=True)),
        *(
            Job(path, output_directory / path.relative_to(root), output_directory, why)
            for path, why in unlisted.items()
        ),
    ]


def _inputs(directory: Path, output_directory: Path, settings: Settings, unlisted: dict[Path, str]) -> Iterator[Path]:
    """The files to convert, without what an earlier run made.

    No directory is visited twice: links to directories are followed when all directories proper have been visited.

    Args:
        directory: Where they are.
        output_directory: Where the movies go, maybe the same.
        settings: Which files.
        unlisted: Gets the directories below that cannot be listed, and why.

    Raises:
        OSError: The directory itself cannot be listed.
    """
    itself = _identity(directory)
    output = _identity(output_directory) if output_directory.exists() else None
    into_itself = output == itself
    visited = {output} - {itself}
    directories, links = deque([directory]), deque[Path]()
    while directories or links:
        here = directories.popleft() if directories else links.popleft()
        try:
            if (identity := _identity(here)) in visited:
                continue
            visited.add(identity)
            entries = _entries(here)
        except OSError as error:
            if here == directory:
                raise
            unlisted[here] = f"cannot be listed ({error.strerror})"
            continue
        for entry in entries:
            path = here / entry.name
            try:
                is_directory = entry.is_dir()
            except OSError as error:
                is_directory = False  # a link; should it be named like a file, the file will be named
                if settings.recursive and error.errno != errno.ELOOP:
                    unlisted[path] = f"cannot be looked at ({error.strerror})"
                    continue
            if is_directory:
                if settings.recursive and not entry.name.startswith("."):
                    (links if entry.is_symlink() else directories).append(path)
                continue
            wanted = fnmatch(entry.name, settings.pattern) if settings.pattern else _named_like_mrc(entry.name)
            if entry.name.startswith(".") and not (settings.pattern or "").startswith("."):
                continue  # what macOS keeps beside a.mrc is ._a.mrc
            if wanted and not (into_itself and _is_ours(path)):
                yield path


def _is_ours(path: Path) -> bool:
    return os.path.lexists(record_path(path)) or bool(recorded_as(path)) or path.name == LOG_NAME


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return list(entries)


def _named_like_mrc(name: str) -> bool:
    return _stem(name) != name


def _natural(path: Path) -> tuple[list[list[tuple[int, int | str]]], str]:
    """Sort key: numbers by value, letters whatever their case; the exact text breaks ties."""
    names = [
        [(0, int(part)) if part.isdecimal() else (1, part.casefold()) for part in re.split(r"(\d+)", name)]
        for name in path.parts
    ]
    return names, str(path)


def _targets(inputs: Sequence[Path], movie_suffix: str, root: Path, output_directory: Path) -> list[Path]:
    """The movie of each input: by its stem, and by its whole name where two stems would meet.

    A name once given stays: an input whose movie is recorded keeps it, and only the others make way.
    """

    def movie(name: Path) -> Path:
        return name.with_name(fitting(name.name, movie_suffix))

    names = {path: path.with_name(_stem(path.name)) for path in inputs}
    meeting = set(_meeting(names))
    given: dict[Path, Path] = {}
    for path, short in names.items():
        if path in meeting or os.path.lexists(record_path(output_directory / movie(path))):
            recorded = (name for name in (short, path) if _is_recorded(root / path, output_directory / movie(name)))
            given.update((path, name) for name in recorded if path not in given)
    names |= given
    while newcomers := [path for path in _meeting(names) if names[path] != path and path not in given]:
        names.update((path, path) for path in newcomers)
    return [movie(names[path]) for path in inputs]


def _meeting(names: Mapping[Path, Path]) -> list[Path]:
    """The inputs that share the name of a movie or of a picture with another."""
    # A thumbnail of x.contact would be named like the contact sheet of x.
    pictures = {path: (name, name.with_name(name.name + CONTACT_SHEET)) for path, name in names.items()}
    uses = Counter(os.path.normcase(name) for both in pictures.values() for name in both)
    return [path for path, both in pictures.items() if any(uses[os.path.normcase(name)] > 1 for name in both)]


def _is_recorded(source: Path, movie: Path) -> bool:
    found = load(movie)
    with suppress(OSError):  # the source cannot be looked at: it will be named
        return isinstance(found, Made) and found.is_of(source, movie)
    return False


def _stem(name: str) -> str:
    """``a`` for ``a.mrc`` and ``a.mrc.gz``; ``a.b`` stays, as no MRC file is named so."""
    plain = Path(name)
    if plain.suffix.lower() in COMPRESSION_SUFFIXES:
        plain = Path(plain.stem)
    return plain.stem if plain.suffix.lower() in PLAIN_SUFFIXES else name


def _run(
    job: Job,
    settings: Settings,
    workers: Share,
    watcher: Watcher,
    unmade: OutputError | None,
    made: dict[tuple[int, int], Path],
) -> Outcome:
    """Do one job.

    Args:
        job: The job.
        settings: All options.
        workers: What the file uses of the threads of the run.
        watcher: Hears of progress.
        unmade: Why the output directory cannot be made, if so.
        made: Gets the movie, by its identity: the inputs of those that this run has made.
    """
    try:
        if unmade:
            raise unmade
        decided = _decide(job, settings)
        if decided.status is not Status.PLANNED or settings.dry_run:
            return decided
        _make_directories(job)
        with about(job.target), Claim(job.target, _attempt(job, settings)) as claim:
            decided = _decide(job, settings)  # again: another run may just have made it
            if decided.status is not Status.PLANNED:
                return decided
            if job.target.exists() and (other := made.get(_identity(job.target))):
                why = f"{job.target} is, in this directory, the movie that was just made of {other}; rename one input"
                return Outcome(job, Status.LEFT_ALONE, why)
            conversion = convert_claimed(job.source, claim, settings, workers, watcher.section_done)
            made[_identity(job.target)] = job.source
            forget_crashes(job.target)
        _log_conversion(conversion)
        frames, size = conversion.record.frames.frames, conversion.record.movie.size
        return Outcome(job, Status.CONVERTED, decided.why, frames, size, conversion.seconds)
    except DiskFull:
        raise
    except LeftToAnotherRun as error:
        return Outcome(job, Status.LEFT_TO_ANOTHER, error.in_words)
    except Mrc2movieError as error:
        return Outcome(job, Status.FAILED, str(error))
    except OSError as error:
        return Outcome(job, Status.FAILED, f"{error.filename or job.source}: {error.strerror}")
    except Exception as error:
        if lacks_memory(error):
            return Outcome(job, Status.FAILED, f"{job.source}: {TOO_LITTLE_MEMORY}")
        logger.debug("%s: where it happened:", job.source, exc_info=True)
        why = f"{job.source}: unexpected {type(error).__name__} ({error}); this is a bug of mrc2movie {__version__}"
        return Outcome(job, Status.FAILED, f"{why}: please report it with this file")


def _make_directories(job: Job) -> None:
    """Make the directories between the output directory, which must be there, and the movie; check the records'."""
    job.output_directory.stat()
    with about(job.target), saying("its directory cannot be made"):
        make_directories(job.target.parent)
    with about(job.target.parent / RECORD_DIRECTORY):
        refuse_directory_of_another_user(job.target)


def _decide(job: Job, settings: Settings) -> Outcome:
    """Whether a movie is to be made, and why; raises what stands against it."""
    if job.refusal:
        with about(job.source):
            raise InputError(job.refusal)
    if links := _links_between(job):
        with about(links[0]):
            raise OutputError("is a symbolic link, which is never written through", "remove it")
    wanted = (job.target, *picture_paths(job.target, settings).values())
    with about(job.target):
        for path in (*wanted, record_path(job.target)):
            refuse_directory(path)
        owner = living_owner(job.target) if settings.dry_run else None
    if owner:
        return Outcome(job, Status.LEFT_TO_ANOTHER, owner.in_words)
    found = load(job.target)
    if not settings.overwrite:
        for path in wanted:
            if os.path.lexists(path) and (why := _why_not_ours(path, job, found)):
                return Outcome(job, Status.LEFT_ALONE, f"{path} {why}")
    if settings.overwrite:
        return Outcome(job, Status.PLANNED, "--overwrite" if os.path.lexists(job.target) else "new")
    why = _why_to_make(job, settings, found)
    if not why:
        return Outcome(job, Status.UP_TO_DATE)
    crashed = crashes(job.target, _attempt(job, settings))
    if len(crashed) >= _CRASHES:
        with about(job.source):
            what = f"is skipped, since {len(crashed)} runs crashed while they converted it"
            raise InputError(what, f"--overwrite tries again; please report it with {crashed[-1]}")
    return Outcome(job, Status.PLANNED, why)


def _why_to_make(job: Job, settings: Settings, found: Made | Unusable | None) -> str | None:
    """Why a movie is to be made, in words; None where it is up to date."""
    if not os.path.lexists(job.target):
        return "new"
    assert found is not None  # or the movie would not be ours
    if isinstance(found, Unusable):
        return found.why
    changed = found.why_not_up_to_date(job.target, job.source, settings.movie_options())
    return changed or why_not_beside(job.target, settings, found)


def _attempt(job: Job, settings: Settings) -> str:
    """Stands for the file as it is, the options and this version: with others the file may be converted well."""
    try:
        stamp = asdict(FileStamp.of(job.source))
    except OSError:
        return ""
    return hashlib.sha256(json.dumps([stamp, settings.movie_options(), __version__]).encode()).hexdigest()[:16]


def _why_not_ours(path: Path, job: Job, found: Made | Unusable | None) -> str | None:
    """Why a movie or a picture must not be replaced, in words; None if it may be.

    Args:
        path: The movie, or a picture beside it.
        job: What would replace it.
        found: The record of the job's movie.
    """
    is_known = found and (path == job.target or knows(found, path.name))
    records = [found] if found and is_known else recorded_as(path)
    if not records:
        return "is there without a record and so not ours; --overwrite replaces it"
    for record in records:
        if isinstance(record, Made) and not record.is_of(job.source, job.target):
            what = "movie" if path == job.target else "picture"
            return f"is the {what} of {record.source_shown}; --overwrite replaces it, or take another OUTPUT_DIR"
    return None


def _log_conversion(conversion: Conversion) -> None:
    source, record, facts = conversion.source, conversion.record, conversion.record.frames
    for warning in record.warnings:
        logger.warning("%s: %s", source, warning)
    for note in record.notes:
        logger.info("%s: %s", source, note)
    logger.info(
        "%s -> %s: %d frames of %d x %d, %.1f MB in %.1f s",
        *(source, conversion.target, facts.frames, facts.width, facts.height),
        *(record.movie.size / 1e6, conversion.seconds),
    )
    logger.debug(
        "%s: seconds of all threads: %s",
        source,
        ", ".join(f"{stage} {spent:.2f}" for stage, spent in record.seconds.items()),
    )


def _log(outcome: Outcome) -> None:
    job = outcome.job
    match outcome.status:
        case Status.CONVERTED:
            pass  # has been logged
        case Status.FAILED:
            logger.error("%s", outcome.why)
        case Status.LEFT_ALONE:
            logger.warning("%s", outcome.why)
        case _:
            why = f" ({outcome.why})" if outcome.why else ""
            logger.info("%s -> %s: %s%s", job.source, job.target, outcome.status.value, why)
