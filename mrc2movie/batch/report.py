"""What a run is made of: jobs, their outcomes, the report, and the progress on the way."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Status(Enum):
    """What became of a job."""

    CONVERTED = "converted"
    UP_TO_DATE = "up to date"
    PLANNED = "would be converted"
    LEFT_TO_ANOTHER = "left to another run"
    LEFT_ALONE = "left alone"
    FAILED = "failed"
    NOT_BEGUN = "not begun"


NOT_WELL = (Status.FAILED, Status.LEFT_ALONE, Status.NOT_BEGUN)
"""What makes a run end with exit status 1."""


@dataclass(frozen=True)
class Job:
    """One input and the movie that it becomes.

    Attributes:
        source: The input.
        target: The movie.
        output_directory: The one that the user named; the target is in it, or in a directory below.
        refusal: Why the input cannot even be tried, if so.
        remark: What the log gets before the job, if anything: the first of a run has what is to be said of all.
    """

    source: Path
    target: Path
    output_directory: Path
    refusal: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Message:
    """A line for the log.

    Attributes:
        level: Of the `logging` module.
        text: The line.
    """

    level: int
    text: str


@dataclass(frozen=True)
class Outcome:
    """What became of a job: little, since a run keeps those of all its files.

    Attributes:
        job: The job.
        status: What became of it.
        why: The reason, where there is one to give.
        frames: Of the movie that was made, if any.
        size: Of that movie, in bytes.
        seconds: From the start of its making to the end.
        messages: What the log gets of it; a run drops them once they are logged.
        disk_full: Whether it failed since no room is left: every other movie would fail as well.
    """

    job: Job
    status: Status
    why: str = ""
    frames: int = 0
    size: int = 0
    seconds: float = 0.0
    messages: tuple[Message, ...] = ()
    disk_full: bool = False


@dataclass(frozen=True)
class Report:
    """All outcomes of a run, in the order of the jobs."""

    outcomes: tuple[Outcome, ...]

    def count(self, status: Status) -> int:
        """How many jobs came out so."""
        return sum(outcome.status is status for outcome in self.outcomes)

    @property
    def exit_status(self) -> int:
        """0 where every movie is there, or would be in a dry run, or is being made by another run; else 1."""
        return int(any(outcome.status in NOT_WELL for outcome in self.outcomes))


class RunProgress:
    """Called as a run goes on; this one does nothing."""

    def job_begins(self, job: Job, position: int, jobs: int) -> None:
        """Job number `position`, counted from 0, of `jobs` begins."""

    def section_done(self, stage: str, done: int, total: int) -> None:
        """So many sections of the current job have passed a stage."""

    def job_ends(self, outcome: Outcome) -> None:
        """The current job has come out so."""
