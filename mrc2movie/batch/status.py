"""How far the work on an output directory is, by what runs have left in it; nothing is written."""

import os
import time
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from mrc2movie.batch.decide import decide
from mrc2movie.batch.failed import why_failed
from mrc2movie.batch.planned import Plan, load_plans
from mrc2movie.batch.report import Job, Status
from mrc2movie.errors import Mrc2movieError, UsageError
from mrc2movie.store.claim import RECORD_DIRECTORY, under_way, under_way_in
from mrc2movie.store.failure import failures_in, load_failure
from mrc2movie.store.files import FileStamp, directories_below
from mrc2movie.store.under_way import UnderWay
from mrc2movie.writers.record import Made, load, record_names

_WINDOW_SECONDS = 3600.0
"""The rate is that of so much time at most: what was true yesterday says little of what is left."""


class State(Enum):
    """How far a file is."""

    DONE = "done"
    FAILED = "failed"
    LEFT_ALONE = "left alone"
    UNDER_WAY = "under way"
    LEFT = "left"


@dataclass(frozen=True)
class FileStatus:
    """A file, and how far it is.

    Attributes:
        source: The input.
        movie: What it becomes.
        state: How far it is.
        why: Why it failed, or was left alone.
        told: What the run that is converting it tells, if it does.
        finished: When its movie was made, in seconds since the epoch.
    """

    source: Path
    movie: Path
    state: State
    why: str = ""
    told: UnderWay | None = None
    finished: float = 0.0

    def as_json(self) -> dict[str, object]:
        """What a script wants to know, as JSON has it; the status is the name of that of `State` in lower case."""
        known: dict[str, object] = {
            "input": str(self.source),
            "output": str(self.movie),
            "status": self.state.name.lower(),
            "why": self.why,
        }
        if self.told:
            known |= {
                "host": self.told.host,
                "process": self.told.process,
                "seconds": round(self.told.seconds, 3),
                "stage": self.told.stage,
                "done": round(self.told.done, 4),
            }
        return known


@dataclass(frozen=True)
class DirectoryStatus:
    """How far the work on an output directory is.

    Attributes:
        output_directory: The directory.
        files: Those that runs have planned or tried, without inputs that are gone before they became movies.
        files_an_hour: At the rate of the runs that are under way, or of the last hour if they began before; None where
            nothing is under way or nothing was finished.
        notes: What may be wrong with this.
    """

    output_directory: Path
    files: Sequence[FileStatus]
    files_an_hour: float | None
    notes: Sequence[str]

    @property
    def problems(self) -> Sequence[FileStatus]:
        """The files that failed or were left alone."""
        return [file for file in self.files if file.state in (State.FAILED, State.LEFT_ALONE)]

    @property
    def under_way(self) -> Sequence[FileStatus]:
        """The files that are being converted."""
        return [file for file in self.files if file.state is State.UNDER_WAY]

    def count(self, state: State) -> int:
        """How many files are in a state."""
        return sum(file.state is state for file in self.files)

    @property
    def counts(self) -> str:
        """How many files are in which state: ``8 done, 0 failed, 1 under way, 3 left``."""
        found = {state: self.count(state) for state in State}
        return ", ".join(f"{number} {state.value}" for state, number in found.items() if number or state in _ALWAYS)

    @property
    def seconds_left(self) -> float | None:
        """How long the rest will take at this rate; None where that is not known."""
        if self.files_an_hour is None:
            return None
        begun = sum(1 - min(max(file.told.done, 0), 1) if file.told else 1 for file in self.under_way)
        return (self.count(State.LEFT) + begun) / self.files_an_hour * 3600

    @property
    def exit_status(self) -> int:
        """1 where a file failed or was left alone, as that of a run; else 0."""
        return int(bool(self.problems))

    def as_json(self) -> dict[str, object]:
        """What a script wants to know, as JSON has it: numbers, and the files that failed or are under way."""
        seconds_left = self.seconds_left
        return {
            "output": str(self.output_directory),
            **{state.name.lower(): self.count(state) for state in State},
            "files_an_hour": None if self.files_an_hour is None else round(self.files_an_hour, 1),
            "seconds_left": None if seconds_left is None else round(seconds_left),
            "files": [file.as_json() for file in (*self.problems, *self.under_way)],
            "notes": list(self.notes),
        }


_ALWAYS = (State.DONE, State.FAILED, State.UNDER_WAY, State.LEFT)


def look_at(output_directory: Path) -> DirectoryStatus:
    """Look at what runs have planned, made and failed to make, and at what they are making.

    Raises:
        UsageError: There is no such directory, or no run has left anything in it.
    """
    if not output_directory.is_dir():
        raise UsageError(f"--status {output_directory}: is no directory", "name the OUTPUT_DIR of a run")
    plans, unread = load_plans(output_directory)
    planned = {job.target: (job, plan) for plan in plans for job in plan.jobs}  # the newest plan of a movie holds
    files = {target: file for target, (job, plan) in planned.items() if (file := _planned(job, plan))}
    for directory in directories_below(output_directory):
        if not directory.name.startswith(RECORD_DIRECTORY):
            for file in _not_planned(directory, planned):
                files.setdefault(file.movie, file)
    if not files and not planned:
        raise UsageError(f"--status {output_directory}: no run has left anything in it", "name the OUTPUT_DIR of a run")
    notes = [f"{path} cannot be read, or is of another version: what it plans is not counted" for path in unread]
    return DirectoryStatus(output_directory, list(files.values()), _files_an_hour(files.values()), notes)


def _planned(job: Job, plan: Plan) -> FileStatus | None:
    """How far a planned file is; None where it is gone without a movie."""
    file = FileStatus(job.source, job.target, State.LEFT)
    try:
        decision = decide(job, plan.settings)
    except Mrc2movieError as error:
        return replace(file, state=State.FAILED, why=str(error))
    except (OSError, ValueError) as error:  # ValueError: a null character in a path
        if os.path.lexists(job.source):
            return replace(file, state=State.FAILED, why=why_failed(error, job))
        made = load(job.target)
        return _recorded(job.target, made) if isinstance(made, Made) else None
    if decision.status is Status.LEFT_TO_ANOTHER:
        return replace(file, state=State.UNDER_WAY, told=under_way(job.target))
    if decision.status is Status.LEFT_ALONE:
        return replace(file, state=State.LEFT_ALONE, why=decision.why)
    if decision.status is Status.UP_TO_DATE and isinstance(decision.found, Made):
        finished = decision.found.movie.mtime_ns / 1e9
        if finished >= plan.anew_since:
            return replace(file, state=State.DONE, finished=finished)
    failure = load_failure(job.target)
    to_try = FileStamp.if_there(job.source), plan.settings.movie_options()
    if failure and (failure.source, failure.settings) == to_try:
        return replace(file, state=State.FAILED, why=failure.why)
    return file if os.path.lexists(job.source) else None


def _not_planned(directory: Path, planned: Container[Path]) -> Iterator[FileStatus]:
    """How far the other files are of whose movies in a directory something is known; the first of a movie holds."""
    for told in under_way_in(directory):
        if (movie := directory / told.movie) not in planned:
            yield FileStatus(Path(told.source), movie, State.UNDER_WAY, told=told)
    for failure in failures_in(directory):
        source, movie = Path(failure.source_path), directory / failure.movie
        if movie not in planned and os.path.lexists(source):
            is_the_same = failure.source == FileStamp.if_there(source)
            yield FileStatus(source, movie, *((State.FAILED, failure.why) if is_the_same else (State.LEFT,)))
    for name in sorted(record_names(directory)):
        movie = directory / name.removesuffix(".json")
        if name.endswith(".json") and movie not in planned and isinstance(made := load(movie), Made):
            movie = directory / made.movie.name  # a long name is cut for that of the record
            if movie not in planned and (file := _recorded(movie, made)):
                yield file


def _recorded(movie: Path, made: Made) -> FileStatus | None:
    """How far a file is of which there is no plan: done, or changed since; None where it or its movie is gone."""
    file = FileStatus(Path(made.source_shown), movie, State.DONE, finished=made.movie.mtime_ns / 1e9)
    try:
        is_whole = made.movie == FileStamp.of(movie)
        sources = [source for path in made.source_paths if os.path.lexists(source := movie.parent / path)]
        if not sources:
            return file if is_whole else None
        changed = made.why_not_up_to_date(movie, sources[0], made.settings, made.sidecars or ())
    except (OSError, ValueError):
        return None
    return replace(file, source=sources[0], state=State.LEFT if changed else State.DONE)


def _files_an_hour(files: Iterable[FileStatus]) -> float | None:
    began = [file.told.run_began for file in files if file.told]
    finished = [file.finished for file in files if file.state is State.DONE]
    if not began or not finished:
        return None
    now = max(time.time(), *finished)  # the clock of the file server may be ahead
    begin = max(min(began), now - _WINDOW_SECONDS)
    count = sum(each >= begin for each in finished)
    return count / max(now - begin, 1) * 3600 or None
