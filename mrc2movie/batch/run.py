"""The loop over the jobs of a run."""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from mrc2movie import __version__
from mrc2movie.batch.decide import attempt_of, decide, links_between
from mrc2movie.batch.plan import plan
from mrc2movie.batch.report import Job, Message, Outcome, Report, RunProgress, Status
from mrc2movie.conversion.convert import Conversion, check_head, convert_claimed
from mrc2movie.conversion.sections import SectionProgress
from mrc2movie.errors import (
    TOO_LITTLE_MEMORY,
    DiskFull,
    LeftToAnotherRun,
    Mrc2movieError,
    OutputError,
    about,
    lacks_memory,
    saying,
)
from mrc2movie.memory import free_memory
from mrc2movie.options.settings import Settings
from mrc2movie.processors import available_processors
from mrc2movie.store.claim import RECORD_DIRECTORY, Claim, forget_crashes, remove_what_dead_runs_left
from mrc2movie.store.files import entries_of, identity_of, make_directories
from mrc2movie.store.record import refuse_directory_of_another_user
from mrc2movie.workers import Share, Workers
from mrc2movie.writers import encodes_in_workers

logger = logging.getLogger("mrc2movie.batch.run")
logger.addHandler(logging.NullHandler())  # the caller adds another to this one, or to "mrc2movie"


def convert_directory(
    source: str | Path | Iterable[str | Path],
    output_directory: str | Path,
    settings: Settings | None = None,
    *,
    progress: RunProgress | None = None,
) -> Report:
    """Make the movies of all MRC files of a directory, of one file, or of several of them.

    A file that fails is reported, and the others are converted all the same. Movies that are up to date are left.

    Args:
        source: A directory, or one file, then whatever its name, or several of them.
        output_directory: Where the movies go; made where it is missing.
        settings: All options; the defaults where None.
        progress: Its methods are called as the run goes on.

    Raises:
        UsageError: Nothing to convert, or an option cannot work here; nothing was done.
    """
    settings = settings or Settings()
    sources = [source] if isinstance(source, (str, Path)) else source
    jobs = plan([Path(each) for each in sources], Path(output_directory), settings)
    return run(jobs, settings, progress or RunProgress())


def run(jobs: Sequence[Job], settings: Settings, progress: RunProgress) -> Report:
    """Do the jobs, several at once, and report them in order.

    While one file is written, verified and flushed, the next ones are already measured and converted. All share one
    pool of workers, which prefers the earliest file. A disk that is full ends the run: every other movie would fail as
    well.
    """
    outcomes: list[Outcome] = []
    full = False
    unmade = {} if settings.dry_run else _prepare(jobs, settings)
    made: dict[tuple[int, int], Path] = {}
    with Workers(settings.jobs or available_processors()) as workers:

        def work(position: int, section_done: SectionProgress) -> Outcome:
            job = jobs[position]
            why_not = unmade.get(job.output_directory)
            return convert_job(job, settings, workers.share(position), section_done, why_not, made)

        with closing(_in_order(jobs, work, _files_at_once(settings, workers.count), workers, progress)) as arriving:
            for outcome in arriving:
                if outcome.job.remark:
                    logger.info("%s", outcome.job.remark)
                if full and outcome.status is not Status.CONVERTED:
                    outcome = Outcome(outcome.job, Status.NOT_BEGUN)  # stopped, or failed for the same reason
                else:
                    _log(outcome)
                progress.job_ends(outcome)
                outcomes.append(replace(outcome, messages=()))
                if outcome.disk_full:
                    full = True
                    workers.cancel()
    outcomes += (Outcome(job, Status.NOT_BEGUN) for job in jobs[len(outcomes) :])
    if full:
        left = sum(outcome.status is Status.NOT_BEGUN for outcome in outcomes)
        logger.error("stopped, since the disk is full (%d not begun); the same command again carries on", left)
    return Report(tuple(outcomes))


_MOST_FILES = 10


def _files_at_once(settings: Settings, workers: int) -> int:
    """How many files are under way: one more than there are workers, so that none waits for the end of a file.

    One, where the encoder of a movie works outside of the workers, or where there is one worker: no more processors are
    to be used than are given. Memory for a further file is needed, too.
    """
    if workers == 1 or settings.small or not encodes_in_workers(settings) or settings.dry_run:
        return 1
    return max(1, min(workers + 1, _MOST_FILES, free_memory() // _BYTES_A_FILE))


_BYTES_A_FILE = 512 * 2**20


def _in_order(
    jobs: Sequence[Job],
    work: Callable[[int, SectionProgress], Outcome],
    at_once: int,
    workers: Workers,
    progress: RunProgress,
) -> Generator[Outcome, None, None]:
    """Yield the outcome of each job, in order, while the next ones are under way.

    Args:
        jobs: What is to be done; after `Workers.cancel` nothing more of it is begun.
        work: Does the job at a position; calls its second argument after each section.
        at_once: So many are under way.
        workers: Cancelled on any exit.
        progress: Called for the first job that is under way.
    """
    if at_once == 1 or len(jobs) == 1:  # in this thread, where a profiler sees it
        for position, job in enumerate(jobs):
            if workers.cancelled:
                return
            progress.job_begins(job, position, len(jobs))
            yield work(position, progress.section_done)
        return
    first = 0

    def section_done(position: int, stage: str, done: int, total: int) -> None:
        if position == first:
            progress.section_done(stage, done, total)

    under_way: deque[Future[Outcome]] = deque()
    with ThreadPoolExecutor(at_once, thread_name_prefix="mrc2movie file") as files:
        try:
            for position, job in enumerate(jobs):
                # Where a file system ignores the case of names, two jobs may make the same movie: one after the other.
                names = {str(other.target).casefold() for other in jobs[first:position]}
                while under_way and (len(under_way) == at_once or str(job.target).casefold() in names):
                    progress.job_begins(jobs[first], first, len(jobs))
                    yield under_way.popleft().result()
                    first += 1
                    names = {str(other.target).casefold() for other in jobs[first:position]}
                if workers.cancelled:
                    break
                under_way.append(files.submit(work, position, partial(section_done, position)))
            while under_way:
                progress.job_begins(jobs[first], first, len(jobs))
                yield under_way.popleft().result()
                first += 1
        finally:
            workers.cancel()


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
    directories = {job.target.parent for job in jobs if not links_between(job)}
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
            to_list += (here / entry.name for entry in entries_of(here) if entry.is_dir(follow_symlinks=False))


def convert_job(
    job: Job,
    settings: Settings,
    workers: Share,
    progress: SectionProgress,
    unmade: OutputError | None,
    made: dict[tuple[int, int], Path],
) -> Outcome:
    """Do one job; whatever is wrong with it becomes its outcome.

    Args:
        job: The job.
        settings: All options.
        workers: What the file uses of the threads of the run.
        progress: Called after each section.
        unmade: Why the output directory cannot be made, if so.
        made: Gets the movie, by its identity: the inputs of those that this run has made.
    """
    try:
        if unmade:
            raise unmade
        decision = decide(job, settings)
        if decision.status is Status.PLANNED and settings.dry_run:
            check_head(job.source, settings, workers)
        if decision.status is not Status.PLANNED or settings.dry_run:
            return Outcome(job, decision.status, decision.why)
        _make_directories(job)
        with about(job.target), Claim(job.target, attempt_of(job, settings)) as claim:
            decision = decide(job, settings)  # again: another run may just have made it
            if decision.status is not Status.PLANNED:
                return Outcome(job, decision.status, decision.why)
            if job.target.exists() and (other := made.get(identity_of(job.target))):
                why = f"{job.target} is, in this directory, the movie that was just made of {other}; rename one input"
                return Outcome(job, Status.LEFT_ALONE, why)
            conversion = convert_claimed(job.source, claim, settings, workers, progress, decision.found)
            made[identity_of(job.target)] = job.source
            forget_crashes(job.target)
        frames, size = conversion.record.frames.frames, conversion.record.movie.size
        messages = tuple(_messages(conversion))
        return Outcome(job, Status.CONVERTED, decision.why, frames, size, conversion.seconds, messages)
    except CancelledError:
        return Outcome(job, Status.NOT_BEGUN)
    except LeftToAnotherRun as error:
        return Outcome(job, Status.LEFT_TO_ANOTHER, error.in_words)
    except Mrc2movieError as error:
        return Outcome(job, Status.FAILED, str(error), disk_full=isinstance(error, DiskFull))
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


def _messages(conversion: Conversion) -> Iterator[Message]:
    source, record, facts = conversion.source, conversion.record, conversion.record.frames
    for warning in record.warnings:
        yield Message(logging.WARNING, f"{source}: {warning}")
    for note in record.notes:
        yield Message(logging.INFO, f"{source}: {note}")
    frames = f"{facts.frames} frames of {facts.width} x {facts.height}"
    size = f"{record.movie.size / 1e6:.1f} MB in {conversion.seconds:.1f} s"
    yield Message(logging.INFO, f"{source} -> {conversion.target}: {frames}, {size}")
    stages = ", ".join(f"{stage} {spent:.2f}" for stage, spent in record.seconds.items())
    yield Message(logging.DEBUG, f"{source}: seconds of all threads: {stages}")


def _log(outcome: Outcome) -> None:
    job = outcome.job
    for message in outcome.messages:
        logger.log(message.level, "%s", message.text)
    match outcome.status:
        case Status.CONVERTED:
            pass
        case Status.FAILED:
            logger.error("%s", outcome.why)
        case Status.LEFT_ALONE:
            logger.warning("%s", outcome.why)
        case _:
            why = f" ({outcome.why})" if outcome.why else ""
            logger.info("%s -> %s: %s%s", job.source, job.target, outcome.status.value, why)
