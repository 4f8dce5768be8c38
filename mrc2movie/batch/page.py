"""The page of a run: what becomes of each job is shown in it as the run goes on."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mrc2movie.batch.report import Job, Outcome, RunProgress, Status
from mrc2movie.errors import Mrc2movieError, about
from mrc2movie.options.settings import Settings
from mrc2movie.pages.cards import Failure
from mrc2movie.pages.live import LivePage, refuse_foreign

logger = logging.getLogger("mrc2movie.batch.page")
logger.addHandler(logging.NullHandler())  # the caller adds another to this one, or to "mrc2movie"


@contextmanager
def page_of_run(
    jobs: Sequence[Job], settings: Settings, progress: RunProgress
) -> Iterator[tuple[RunProgress, list[str]]]:
    """Keep the page of the output directory up to date in this block, if one is wanted.

    Args:
        jobs: Those of the run.
        settings: Whether a page is wanted.
        progress: What else is called as the run goes on.

    Yields:
        What is to be called, and what gets a line where the page cannot be written.
    """
    problems: list[str] = []
    if not settings.report or settings.dry_run:
        yield progress, problems
        return
    directory = jobs[0].output_directory
    page = LivePage(directory, settings.recursive, settings.overwrite)
    try:
        if not settings.overwrite:
            with about(page.path):
                refuse_foreign(page.path)
    except Mrc2movieError as error:  # the movies are made all the same
        logger.error("%s", error)
        yield progress, [str(error)]
        return
    with page:
        yield _Shown(progress, page), problems
    if page.error:
        logger.error("%s", page.error)
        problems.append(str(page.error))
    else:
        logger.info("%s shows %d movie%s", page.path, page.movies, "" if page.movies == 1 else "s")


class _Shown(RunProgress):
    """Passes everything on, and shows what failed on the page.

    Args:
        progress: What else is called.
        page: The page.
    """

    def __init__(self, progress: RunProgress, page: LivePage) -> None:
        self._progress = progress
        self._page = page

    def run_begins(self, jobs: int, threads: int) -> None:
        """Pass it on."""
        self._progress.run_begins(jobs, threads)

    def job_begins(self, job: Job, position: int, jobs: int) -> None:
        """Pass it on."""
        self._progress.job_begins(job, position, jobs)

    def section_done(self, job: Job, stage: str, done: int, total: int, section_bytes: int) -> None:
        """Pass it on."""
        self._progress.section_done(job, stage, done, total, section_bytes)

    def job_ends(self, outcome: Outcome) -> None:
        """Show a failure; pass it on."""
        job = outcome.job
        movie = self._page.path.parent / job.target.relative_to(job.output_directory)
        if outcome.status in (Status.FAILED, Status.LEFT_ALONE):
            self._page.failed(Failure(job.source, movie, outcome.reason))
        else:
            self._page.succeeded(movie)
        self._progress.job_ends(outcome)
