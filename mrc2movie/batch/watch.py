"""A run that goes on: files are converted as they arrive, and anew when they change."""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mrc2movie.batch.arrivals import Arrivals
from mrc2movie.batch.page import page_of_run
from mrc2movie.batch.pipeline import tell_pipelines
from mrc2movie.batch.planned import leave_plan
from mrc2movie.batch.report import Job, Outcome, Report, RunProgress, Several, Status
from mrc2movie.batch.run import do_jobs
from mrc2movie.batch.scheduler import connected
from mrc2movie.errors import NothingToConvert, UsageError
from mrc2movie.options.settings import Settings

logger = logging.getLogger(__name__)

_LOOKS = 6
"""So many looks are taken in the time for which a file must not change."""
_REST = 125
"""So much longer than a look takes is the rest after it: looking takes less than a hundredth of a processor, however
many files there are."""


class Watch:
    """Converts what is there, what arrives, and what changes, until a signal arrives or nothing new does.

    Args:
        find_jobs: Plans all files that are there, also those that have not arrived whole.
        sources: The inputs.
        output_directory: Where the movies go.
        settings: All options.

    Raises:
        UsageError: As for any run; but there may be nothing to convert yet.
    """

    def __init__(
        self,
        find_jobs: Callable[[], Sequence[Job]],
        sources: Sequence[Path],
        output_directory: Path,
        settings: Settings,
    ) -> None:
        with suppress(NothingToConvert):
            find_jobs()
        self._begin = time.perf_counter()
        self._find_jobs = find_jobs
        self._sources = sources
        self._output_directory = output_directory
        self._settings = settings
        self._arrivals = Arrivals(sources, output_directory, settings)
        self._planned: Sequence[Job] = ()
        self._outcomes: dict[Path, Outcome] = {}
        self._of_page: Sequence[str] = ()
        self._of_pipelines: Sequence[str] = ()
        self._said: set[str] = set()

    @property
    def report(self) -> Report:
        """What became last of each file, with those that still wait."""
        waiting = self._waiting
        paths = {path.absolute() for path in waiting}  # as a scheduler has them
        outcomes = [each for each in self._outcomes.values() if each.job.source.absolute() not in paths]
        for path, why in waiting.items():
            job = Job(path, self._output_directory / path.name, self._output_directory)
            jobs = [each for each in self._planned if each.source == path] or [job]
            outcomes += [Outcome(each, Status.NOT_BEGUN, f"{path}: {why}") for each in jobs]
        return Report(tuple(outcomes), time.perf_counter() - self._begin, (*self._of_page, *self._of_pipelines))

    def run(self, progress: RunProgress) -> None:
        """Watch until nothing new has arrived for as long as was given, if it was, or the disk is full.

        Args:
            progress: Its methods are called for all files that arrive together as for a run.
        """
        seconds = self._settings.watch or 0.0
        inputs = ", ".join(map(str, self._sources))
        logger.info("watching %s: each file is converted when it has not changed for %g s", inputs, seconds)
        progress = Several((progress, _Outcomes(self._outcomes)))
        with page_of_run(self._output_directory, self._settings, progress) as (progress, self._of_page):
            waited: Mapping[Path, str] = {}
            while True:
                arrived = self._arrivals.look()
                waiting = self._waiting
                if arrived or waiting.keys() - waited.keys():
                    self._plan()
                for path, why in waiting.items():
                    self._warn(f"{path}: waits: {why}")
                waited = waiting
                if self._convert(arrived, progress) or self._is_over():
                    break
                time.sleep(max(seconds / _LOOKS, _REST * self._arrivals.look_seconds))

    @property
    def _waiting(self) -> Mapping[Path, str]:
        """What is there and cannot be converted yet, and why."""
        return {**self._arrivals.not_whole, **self._arrivals.unlisted}

    def _plan(self) -> None:
        """Decide the names of all files that are there: of two that would meet, both must be known."""
        try:
            self._planned = self._find_jobs()
        except UsageError as error:
            self._planned = ()
            if not self._arrivals.unlisted:  # else a disk is away, which is said of each input
                self._warn(str(error))
        else:
            leave_plan(self._planned, self._sources, self._settings)

    def _convert(self, arrived: Collection[Path], progress: RunProgress) -> bool:
        """Convert what has arrived; returns whether the disk is full."""
        jobs = [job for job in self._planned if job.source in arrived]
        later = set(arrived) - {job.source for job in jobs}
        outcomes: Sequence[Outcome] = ()
        if jobs:
            try:
                with connected(jobs, self._settings) as cluster:
                    outcomes = do_jobs(jobs, self._settings, progress, cluster)
            except UsageError as error:  # the scheduler is away
                self._warn(str(error))
                later |= {job.source for job in jobs}
            else:
                progress.run_ends()
                self._of_pipelines = tell_pipelines(tuple(self._outcomes.values()), self._settings)
            # Should the other run die, the movie is made here.
            pairs = zip(jobs, outcomes, strict=False)
            later |= {job.source for job, outcome in pairs if outcome.status is Status.LEFT_TO_ANOTHER}
        for path in later:
            self._arrivals.again(path)
        return any(outcome.disk_full for outcome in outcomes)

    def _is_over(self) -> bool:
        until = self._settings.watch_until
        if until is None or not self._arrivals.are_judged:
            return False
        return time.monotonic() - self._arrivals.changed >= until

    def _warn(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            logger.warning("%s", message)


class _Outcomes(RunProgress):
    """Keeps the last outcome of each file."""

    def __init__(self, kept: dict[Path, Outcome]) -> None:
        self._kept = kept

    def job_ends(self, outcome: Outcome) -> None:
        """Keep it, without what was logged."""
        self._kept[outcome.job.target] = replace(outcome, messages=())
