"""Whether a movie is to be made, by what lies at its place and what the record says of it."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from mrc2movie.batch.report import Job, Status
from mrc2movie.conversion.unchanging import other_files
from mrc2movie.errors import InputError, OutputError, about
from mrc2movie.options.settings import Settings
from mrc2movie.store.claim import crashes, has_crashes, living_owner
from mrc2movie.store.files import FileStamp, refuse_directory
from mrc2movie.version import __version__
from mrc2movie.writers.beside import (
    data_of_others,
    is_directory,
    knows,
    paths_beside,
    recorded_as,
    refuse_input,
    why_not_beside,
)
from mrc2movie.writers.record import Made, Unusable, load, record_path
from mrc2movie.writers.sheet import why_not_for_page

_CRASHES = 2
"""So many runs may crash while they convert a file before it is skipped."""
_LOST = 3
"""So many turns of a run, on workers of a scheduler for instance, may be lost while they convert a file."""


@dataclass(frozen=True)
class Decision:
    """What is to be done for a job.

    Attributes:
        status: What is to become of it.
        why: The reason, where there is one to give.
        found: The record of an earlier movie, so that it is read once.
    """

    status: Status
    why: str = ""
    found: Made | Unusable | None = None


def decide(job: Job, settings: Settings) -> Decision:
    """Whether a movie is to be made, and why.

    Raises:
        InputError: The input cannot be tried, or crashed every run that did.
        OutputError: Something stands where the movie belongs.
    """
    if job.refusal:
        with about(job.source):
            raise InputError(job.refusal)
    if links := links_between(job):
        with about(links[0]):
            raise OutputError("is a symbolic link, which is never written through", "remove it")
    beside = paths_beside(job.target, settings)
    wanted = (job.target, *beside.values())
    with about(job.target):
        refuse_input(job.source, job.target, settings)
        for path in (*wanted, record_path(job.target)):
            if not is_directory(path):
                refuse_directory(path)
        owner = living_owner(job.target) if settings.dry_run else None
    if owner:
        return Decision(Status.LEFT_TO_ANOTHER, owner.in_words)
    found = load(job.target)
    if settings.overwrite:
        if data := data_of_others(job.target, settings):
            what = "is there without a record and so not ours: it may be data, which even --overwrite leaves alone"
            return Decision(Status.LEFT_ALONE, f"{data} {what}; rename it")
        return Decision(Status.PLANNED, "--overwrite" if os.path.lexists(job.target) else "new", found)
    for path in wanted:
        if os.path.lexists(path) and (why := _why_not_ours(path, job, found)):
            return Decision(Status.LEFT_ALONE, f"{path} {why}")
    why = _why_to_make(job, settings, found)
    if not why:
        return Decision(Status.UP_TO_DATE, found=found)
    crashed = crashes(job.target, attempt_of(job, settings))
    if len(crashed) >= _CRASHES:
        with about(job.source):
            what = f"is skipped, since {len(crashed)} runs crashed while they converted it"
            raise InputError(what, f"--overwrite tries again; please report it with {crashed[-1]}")
    return Decision(Status.PLANNED, why, found)


def _why_to_make(job: Job, settings: Settings, found: Made | Unusable | None) -> str | None:
    """Why a movie is to be made, in words; None where it is up to date."""
    if not os.path.lexists(job.target):
        return "new"
    assert found is not None  # or the movie would not be ours
    if isinstance(found, Unusable):
        return found.why
    others = other_files(job.source, settings, job.series)
    changed = found.why_not_up_to_date(job.target, job.source, settings.movie_options(), others)
    return changed or why_not_beside(job.target, settings, found) or why_not_for_page(job.target, settings, found)


def may_crash(job: Job, settings: Settings) -> bool:
    """Whether a run crashed while this file was under way: with another beside it nobody would know which it was."""
    return has_crashes(job.target.parent) and bool(crashes(job.target, attempt_of(job, settings)))


def refuse_if_lost(job: Job, lost: int) -> None:
    """Refuse a file that has ended too many processes, by the lack of memory for instance.

    Raises:
        InputError: So many were lost while they converted it.
    """
    if lost >= _LOST:
        with about(job.source):
            what = f"is given up, since {lost} workers were lost while they converted it"
            raise InputError(what, "give them more memory, or fewer threads; the same command tries again")


def attempt_of(job: Job, settings: Settings) -> str:
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


def links_between(job: Job) -> list[Path]:
    """The symbolic links below the output directory through which a movie would be written."""
    below = job.target.relative_to(job.output_directory).parents
    return [path for parent in list(below)[:-1] if os.path.islink(path := job.output_directory / parent)]  # noqa: PTH114
