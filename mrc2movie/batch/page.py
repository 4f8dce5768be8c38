"""The page of a run: what becomes of each job is shown in it as the run goes on."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mrc2movie.batch.report import Outcome, RunProgress, Several, Status
from mrc2movie.errors import Mrc2movieError, about
from mrc2movie.options.settings import Settings
from mrc2movie.pages.cards import Failure
from mrc2movie.pages.live import LivePage, refuse_foreign

logger = logging.getLogger("mrc2movie.batch.page")
logger.addHandler(logging.NullHandler())  # the caller adds another to this one, or to "mrc2movie"


@contextmanager
def page_of_run(
    directory: Path | None, settings: Settings, progress: RunProgress
) -> Iterator[tuple[RunProgress, list[str]]]:
    """Keep the page of the output directory up to date in this block, if one is wanted.

    Args:
        directory: The output directory; None where there is nothing to do.
        settings: Whether a page is wanted.
        progress: What else is called as the run goes on.

    Yields:
        What is to be called, and what gets a line where the page cannot be written.
    """
    problems: list[str] = []
    if directory is None or not settings.report or settings.dry_run:
        yield progress, problems
        return
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
        yield Several((_Failures(page), progress)), problems
    if page.error:
        logger.error("%s", page.error)
        problems.append(str(page.error))
    else:
        logger.info("%s shows %d movie%s", page.path, page.movies, "" if page.movies == 1 else "s")


class _Failures(RunProgress):
    """Shows on the page what failed."""

    def __init__(self, page: LivePage) -> None:
        self._page = page

    def job_ends(self, outcome: Outcome) -> None:
        """Show a failure, or no longer one of before."""
        job = outcome.job
        movie = self._page.path.parent / job.target.relative_to(job.output_directory)
        if outcome.status in (Status.FAILED, Status.LEFT_ALONE):
            self._page.failed(Failure(job.source, movie, outcome.reason))
        else:
            self._page.succeeded(movie)
