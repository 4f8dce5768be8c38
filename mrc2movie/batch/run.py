"""The loop over the jobs of a run."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from mrc2movie.batch.cluster import Cluster
from mrc2movie.batch.decide import attempt_of, decide, links_between, may_crash, refuse_if_lost
from mrc2movie.batch.failed import is_a_bug, leaving_a_record, why_failed
from mrc2movie.batch.page import page_of_run
from mrc2movie.batch.pipeline import tell_pipelines
from mrc2movie.batch.plan import plan
from mrc2movie.batch.planned import leave_plan
from mrc2movie.batch.report import Job, Message, Outcome, Report, RunProgress, Status, place_of
from mrc2movie.batch.scheduler import connected
from mrc2movie.batch.shards import share_of
from mrc2movie.conversion.convert import check_head, convert_claimed
from mrc2movie.conversion.sections import SectionProgress
from mrc2movie.errors import DiskFull, LeftToAnotherRun, OutputError, UsageError, about, saying
from mrc2movie.memory import free_memory
from mrc2movie.options.settings import Settings
from mrc2movie.processors import available_processors
from mrc2movie.store.claim import RECORD_DIRECTORY, Claim, forget_crashes, remove_what_dead_runs_left
from mrc2movie.store.failure import forget_failure
from mrc2movie.store.files import directories_below, identity_of, make_directories
from mrc2movie.store.turn import Turn, slurm_turn
from mrc2movie.workers import Share, Workers
from mrc2movie.writers import encodes_in_workers
from mrc2movie.writers.beside import paths_beside
from mrc2movie.writers.record import refuse_directory_of_another_user

logger = logging.getLogger("mrc2movie.batch.run")
logger.addHandler(logging.NullHandler())  # the caller adds another to this one, or to "mrc2movie"


def convert_directory(
    source: str | Path | Iterable[str | Path],
    output_directory: str | Path,
    settings: Settings | None = None,
    *,
    progress: RunProgress | bool | None = None,
) -> Report:
    """Make the movies of all MRC files of a directory, of one file, or of several of them.

    A file that fails is reported, and the others are converted all the same. Movies that are up to date are left.

    Args:
        source: A directory, or one file, then whatever its name, or several of them.
        output_directory: Where the movies go; made where it is missing.
        settings: All options; the defaults where None.
        progress: Its methods are called as the run goes on; True shows a bar of ``tqdm.auto``.

    Raises:
        UsageError: Nothing to convert, an option cannot work here, or the scheduler or its workers cannot be used;
            nothing was done.
    """
    settings = settings or Settings()
    if settings.watch is not None:
        raise UsageError("a watch is no single run", "call mrc2movie.batch.watch.Watch, or the command with --watch")
    if progress is True:
        from mrc2movie.batch.bars import AutoBar

        progress = AutoBar()
    sources = [source] if isinstance(source, (str, Path)) else source
    paths = [Path(each) for each in sources]
    jobs = plan(paths, Path(output_directory), settings)
    share = share_of(jobs, settings.shard)
    with connected(share, settings) as cluster:
        leave_plan(jobs, paths, settings)
        return run(share, settings, progress or RunProgress(), cluster)


def run(jobs: Sequence[Job], settings: Settings, progress: RunProgress, cluster: Cluster | None = None) -> Report:
    """Do the jobs, several at once, and report them in order: here, or on the workers of a scheduler.

    A disk that is full ends the run: every other movie would fail as well. With ``--report`` a page shows the movies
    from the first on.
    """
    begin = time.perf_counter()
    directory = jobs[0].output_directory if jobs else None
    with page_of_run(directory, settings, progress) as (progress, problems):
        outcomes = do_jobs(jobs, settings, progress, cluster)
    if not settings.dry_run:
        problems += tell_pipelines(outcomes, settings)
    return Report(outcomes, time.perf_counter() - begin, tuple(problems))


def do_jobs(
    jobs: Sequence[Job], settings: Settings, progress: RunProgress, cluster: Cluster | None
) -> tuple[Outcome, ...]:
    """Do the jobs, without what tells of them: see `run`."""
    turn = slurm_turn(os.environ) if cluster is None else cluster.turn
    do = partial(_here, turn) if cluster is None else partial(_on, cluster)
    outcomes = do(jobs, settings, progress, {} if settings.dry_run else _prepare(jobs, settings))
    # The turn before may have been lost when a movie was in its place and its claim still there. Such claims are
    # removed last, since the others tell how often a turn was lost with a movie.
    done = all(outcome.status is not Status.NOT_BEGUN for outcome in outcomes)
    if turn and not turn.is_first and done and not settings.dry_run:
        _remove_leftovers(jobs, settings, turn)
    return outcomes


def _on(
    cluster: Cluster,
    jobs: Sequence[Job],
    settings: Settings,
    progress: RunProgress,
    unmade: Mapping[Path, OutputError],
) -> tuple[Outcome, ...]:
    """Do the jobs on the workers of a scheduler: each is a task that calls `convert_job`."""
    progress.run_begins(len(jobs), cluster.threads)
    jobs = [_absolute(job) for job in jobs]
    arriving = cluster.outcomes(jobs, settings.with_absolute_paths(), convert_job, files_at_once, unmade)
    return _report(jobs, arriving, cluster.cancel, progress)


def _absolute(job: Job) -> Job:
    source, target, directory = (path.absolute() for path in (job.source, job.target, job.output_directory))
    return replace(job, source=source, target=target, output_directory=directory)


def _here(
    turn: Turn | None,
    jobs: Sequence[Job],
    settings: Settings,
    progress: RunProgress,
    unmade: Mapping[Path, OutputError],
) -> tuple[Outcome, ...]:
    """Do the jobs in this process.

    While one file is written, verified and flushed, the next ones are already measured and converted. All share one
    pool of workers, which prefers the earliest file.
    """
    made: dict[tuple[int, int], Path] = {}
    with Workers(settings.jobs or available_processors()) as workers:

        def work(position: int) -> Outcome:
            job = jobs[position]
            progress.job_begins(job, position, len(jobs))
            section_done = partial(progress.section_done, job)
            why_not = unmade.get(job.output_directory)
            return convert_job(job, settings, workers.share(position), section_done, why_not, made, turn)

        progress.run_begins(len(jobs), workers.count)
        return _report(jobs, _in_order(jobs, work, settings, workers), workers.cancel, progress)


def _report(
    jobs: Sequence[Job],
    arriving: Generator[tuple[int, Outcome], None, None],
    cancel: Callable[[], None],
    progress: RunProgress,
) -> tuple[Outcome, ...]:
    """Log and show the outcomes as they arrive.

    Args:
        jobs: All jobs.
        arriving: Positions among the jobs, and outcomes.
        cancel: Lets nothing more begin.
        progress: What shows them.

    Returns:
        The outcomes of all jobs, in their order.
    """
    outcomes: dict[int, Outcome] = {}
    full = False
    with closing(arriving):
        for position, outcome in arriving:
            if outcome.job.remark:
                logger.info("%s", outcome.job.remark)
            if full and outcome.status is not Status.CONVERTED:
                outcome = Outcome(outcome.job, Status.NOT_BEGUN)  # stopped, or failed for the same reason
            else:
                _log(outcome, place_of(position, len(jobs)))
            progress.job_ends(outcome)
            outcomes[position] = replace(outcome, messages=())
            if outcome.disk_full:
                full = True
                cancel()
    for position, job in enumerate(jobs):
        if position not in outcomes:
            outcomes[position] = Outcome(job, Status.NOT_BEGUN)
            progress.job_ends(outcomes[position])
    if full:
        left = sum(outcome.status is Status.NOT_BEGUN for outcome in outcomes.values())
        logger.error("stopped, since the disk is full (%d not begun); the same command again carries on", left)
    return tuple(outcomes[position] for position in range(len(jobs)))


_MOST_FILES = 10


def files_at_once(settings: Settings, workers: int) -> int:
    """How many files are under way: one more than there are workers, so that none waits for the end of a file.

    One, where the encoder of a movie works outside of the workers, or where there is one worker: no more processors are
    to be used than are given. Memory for a further file is needed, too.
    """
    if workers == 1 or settings.small or not encodes_in_workers(settings) or settings.dry_run:
        return 1
    return max(1, min(workers + 1, _MOST_FILES, free_memory() // _BYTES_A_FILE))


_BYTES_A_FILE = 512 * 2**20


def _in_order(
    jobs: Sequence[Job], work: Callable[[int], Outcome], settings: Settings, workers: Workers
) -> Generator[tuple[int, Outcome], None, None]:
    """Yield the position and the outcome of each job, in order, while the next ones are under way.

    Args:
        jobs: What is to be done; after `Workers.cancel` nothing more of it is begun.
        work: Does the job at a position.
        settings: How many files may be under way, and what is made of each.
        workers: Cancelled on any exit.
    """
    at_once = files_at_once(settings, workers.count)
    if at_once == 1 or len(jobs) == 1:  # in this thread, where a profiler sees it
        for position in range(len(jobs)):
            if workers.cancelled:
                return
            yield position, work(position)
        return
    under_way: deque[tuple[set[Place], int, Future[Outcome]]] = deque()
    directories: dict[Path, object] = {}

    def earliest() -> tuple[int, Outcome]:
        _, position, future = under_way.popleft()
        return position, future.result()

    with ThreadPoolExecutor(at_once, thread_name_prefix="mrc2movie file") as files:
        try:
            for position, job in enumerate(jobs):
                # Jobs that would write the same file go one after the other.
                places = _places(job, settings, directories)
                alone = may_crash(job, settings)
                while (
                    len(under_way) == at_once
                    or (alone and under_way)
                    or not all(places.isdisjoint(other) for other, *_ in under_way)
                ):
                    yield earliest()
                if workers.cancelled:
                    break
                under_way.append((places, position, files.submit(work, position)))
                if alone:
                    yield earliest()
            while under_way:
                yield earliest()
        finally:
            workers.cancel()


Place: TypeAlias = tuple[object, str]
"""A directory, however it is reached, and a name in it, whatever its case: some file systems ignore that."""


def _places(job: Job, settings: Settings, directories: dict[Path, object]) -> set[Place]:
    """Where a job writes its movie, and what lies beside it.

    Args:
        job: The job.
        settings: What lies beside it.
        directories: Gets the identities of directories, so that each is asked for once.
    """
    directory: object = job.target.parent
    if job.target.parent in directories:
        directory = directories[job.target.parent]
    else:
        with suppress(OSError):
            directory = directories[job.target.parent] = identity_of(job.target.parent)
    paths = (job.target, *paths_beside(job.target, settings).values())
    return {(directory, path.name.casefold()) for path in paths}


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
    _remove_leftovers(jobs, settings)
    return unmade


def _remove_leftovers(jobs: Sequence[Job], settings: Settings, turn: Turn | None = None) -> None:
    """Remove what dead runs left where the movies go; see `remove_what_dead_runs_left`."""
    directories = {job.target.parent for job in jobs if not links_between(job)}
    if settings.recursive:  # also where all inputs are gone
        directories |= {directory for job in jobs[:1] for directory in directories_below(job.output_directory)}
    for directory in directories:
        remove_what_dead_runs_left(directory, turn)


def convert_job(
    job: Job,
    settings: Settings,
    workers: Share,
    progress: SectionProgress,
    unmade: OutputError | None,
    made: dict[tuple[int, int], Path],
    turn: Turn | None = None,
) -> Outcome:
    """Do one job; whatever is wrong with it becomes its outcome.

    Args:
        job: The job.
        settings: All options.
        workers: What the file uses of the threads of the run.
        progress: Called after each section.
        unmade: Why the output directory cannot be made, if so.
        made: Gets the movie, by its identity: the inputs of those that this run has made.
        turn: Of a run that is begun again where it is lost.
    """
    try:
        if unmade:
            raise unmade
        decision = decide(job, settings)
        if decision.status is Status.PLANNED and settings.dry_run:
            check_head(job.source, settings, workers, job.series)
        if decision.status is not Status.PLANNED or settings.dry_run:
            if decision.status is Status.UP_TO_DATE and not settings.dry_run:
                forget_failure(job.target)
            return Outcome(job, decision.status, decision.why)
        _make_directories(job)
        with (
            about(job.target),
            Claim(job.target, attempt_of(job, settings), turn, job.source) as claim,
            leaving_a_record(job, settings, claim),
        ):
            refuse_if_lost(job, claim.lost)
            decision = decide(job, settings)  # again: another run may just have made it
            if decision.status is not Status.PLANNED:
                return Outcome(job, decision.status, decision.why)
            if job.target.exists() and (other := made.get(identity_of(job.target))):
                why = f"{job.target} is, in this directory, the movie that was just made of {other}; rename one input"
                return Outcome(job, Status.LEFT_ALONE, why)
            logger.debug("%s: begins (%s)", job.source, decision.why)
            conversion = convert_claimed(job.source, claim, settings, workers, progress, decision.found, job.series)
            made[identity_of(job.target)] = job.source
            forget_crashes(job.target)
        record = conversion.record
        return Outcome(
            job,
            Status.CONVERTED,
            decision.why,
            record.frames.frames,
            record.movie.size,
            conversion.seconds,
            tuple(Message(level, text) for level, text in conversion.messages()),
            source_size=record.source.size,
        )
    except CancelledError:
        return Outcome(job, Status.NOT_BEGUN)
    except LeftToAnotherRun as error:
        return Outcome(job, Status.LEFT_TO_ANOTHER, error.in_words)
    except Exception as error:
        if is_a_bug(error):
            logger.debug("%s: where it happened:", job.source, exc_info=True)
        return Outcome(job, Status.FAILED, why_failed(error, job), disk_full=isinstance(error, DiskFull))


def _make_directories(job: Job) -> None:
    """Make the directories between the output directory, which must be there, and the movie; check the records'."""
    job.output_directory.stat()
    with about(job.target), saying("its directory cannot be made"):
        make_directories(job.target.parent)
    with about(job.target.parent / RECORD_DIRECTORY):
        refuse_directory_of_another_user(job.target)


def _log(outcome: Outcome, place: str) -> None:
    """Log what became of a job; handlers find its place among the jobs, and whether it was up to date, as attributes.

    Args:
        outcome: What became of it.
        place: See `place_of`.
    """
    job = outcome.job
    log = logging.LoggerAdapter(logger, {"place": place, "nothing_done": outcome.status is Status.UP_TO_DATE})
    for message in outcome.messages:
        log.log(message.level, "%s", message.text)
    match outcome.status:
        case Status.CONVERTED:
            pass
        case Status.FAILED:
            log.error("%s", outcome.why)
        case Status.LEFT_ALONE:
            log.warning("%s", outcome.why)
        case _:
            why = f" ({outcome.why})" if outcome.why else ""
            log.info("%s -> %s: %s%s", job.source, job.target, outcome.status.value, why)
