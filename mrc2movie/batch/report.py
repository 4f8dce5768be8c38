"""What a run is made of: jobs, their outcomes, the report, and the progress on the way."""

from collections.abc import Sequence
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
        series: Of an input with several tilt series: which one.
    """

    source: Path
    target: Path
    output_directory: Path
    refusal: str = ""
    remark: str = ""
    series: str = ""


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
        source_size: Of the input that it was made from, in bytes.
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
    source_size: int = 0

    @property
    def reason(self) -> str:
        """Why, without the path of the input before it."""
        return self.why.removeprefix(f"{self.job.source}: ")

    def as_json(self) -> dict[str, object]:
        """What a script wants to know, as JSON has it; the status is the name of that of `Status` in lower case."""
        return {
            "input": str(self.job.source),
            "output": str(self.job.target),
            "status": self.status.name.lower(),
            "why": self.why,
            "frames": self.frames,
            "bytes": self.size,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class Report:
    """All outcomes of a run, in the order of the jobs.

    Attributes:
        outcomes: One for each input.
        seconds: From the start of the run to its end.
        problems: What else went wrong, in a line each.
    """

    outcomes: tuple[Outcome, ...]
    seconds: float = 0.0
    problems: tuple[str, ...] = ()

    @property
    def counts(self) -> str:
        """How many came out in which way: ``3 converted, 1 failed``."""
        found = ((self.count(status), status.value) for status in Status)
        return ", ".join(f"{count} {words}" for count, words in found if count) or "no files"

    def __repr__(self) -> str:
        return f"<Report: {self.counts}>"

    def count(self, status: Status) -> int:
        """How many jobs came out so."""
        return sum(outcome.status is status for outcome in self.outcomes)

    @property
    def exit_status(self) -> int:
        """0 where every movie is there, or would be in a dry run, or is being made by another run; else 1.

        Also 1 where anything else went wrong.
        """
        return int(bool(self.problems) or any(outcome.status in NOT_WELL for outcome in self.outcomes))


def place_of(position: int, jobs: int) -> str:
    """What a line about a job begins with: ``[12/500]`` and a space; nothing where it is the only one."""
    return f"[{position + 1}/{jobs}] " if jobs > 1 else ""


class RunProgress:
    """Called as a run goes on, from any of its threads, but never twice at once for one job; this one does nothing."""

    def run_begins(self, jobs: int, threads: int) -> None:
        """So many jobs will be done by so many worker threads; 0 where these are still to come."""

    def job_begins(self, job: Job, position: int, jobs: int) -> None:
        """Job number `position`, counted from 0, of `jobs` begins."""

    def section_done(self, job: Job, stage: str, done: int, total: int, section_bytes: int) -> None:
        """So many sections of a job, of so many bytes each, have passed a stage."""

    def job_ends(self, outcome: Outcome) -> None:
        """A job has come out so; also one that was not begun."""

    def run_ends(self) -> None:
        """All jobs of a run have ended, and others may follow later."""


class Several(RunProgress):
    """Passes everything on to several."""

    def __init__(self, several: Sequence[RunProgress]) -> None:
        self._several = several

    def run_begins(self, jobs: int, threads: int) -> None:
        """Pass it on."""
        for each in self._several:
            each.run_begins(jobs, threads)

    def job_begins(self, job: Job, position: int, jobs: int) -> None:
        """Pass it on."""
        for each in self._several:
            each.job_begins(job, position, jobs)

    def section_done(self, job: Job, stage: str, done: int, total: int, section_bytes: int) -> None:
        """Pass it on."""
        for each in self._several:
            each.section_done(job, stage, done, total, section_bytes)

    def job_ends(self, outcome: Outcome) -> None:
        """Pass it on."""
        for each in self._several:
            each.job_ends(outcome)

    def run_ends(self) -> None:
        """Pass it on."""
        for each in self._several:
            each.run_ends()
