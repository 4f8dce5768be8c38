"""The plan that a run leaves, so that others can tell what is still to come.

It is kept with the records of OUTPUT_DIR, in one file for the same inputs and options: the same command again, each
shard of it and each look of a watch replace it, and runs over other inputs leave other files. It stays when the run has
ended, since other shards may still be waiting; what became of each file is told by the records and failures.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from mrc2movie.batch.report import Job
from mrc2movie.errors import LeftToAnotherRun, Mrc2movieError, UsageError
from mrc2movie.options.settings import MOVIE_GROUPS, OPTIONS, Settings
from mrc2movie.store.claim import RECORD_DIRECTORY, Claim
from mrc2movie.store.files import make_directories
from mrc2movie.store.kept import read_kept, refuse_links_above, typed, write_kept

_FORMAT = 1
_DIRECTORY = "plans"
_GROUPS = (*MOVIE_GROUPS, "beside the movie")
"""The groups whose options decide whether a movie is up to date; `overwrite` does, too."""
_ATTEMPTS, _WAIT_SECONDS = 20, 0.05

Entry: TypeAlias = tuple[str, str, str, str]
"""A file of a plan: the movie below OUTPUT_DIR, the input, why it cannot even be tried, and which tilt series of it."""


@dataclass(frozen=True)
class Plan:
    """What a run is to do.

    Attributes:
        jobs: All, in their order.
        settings: The options that decide whether a movie is up to date.
        anew_since: Movies that were made before are made anew (--overwrite), by the clock that stamps the files, in
            seconds since the epoch; 0 where none is.
    """

    jobs: Sequence[Job]
    settings: Settings
    anew_since: float


def leave_plan(jobs: Sequence[Job], sources: Sequence[Path], settings: Settings) -> None:
    """Leave what is to be done, as far as it can be written; nothing of a single file or a dry run.

    Args:
        jobs: All that are planned, also those of other shards.
        sources: The inputs. Where some are files, as in a loop over a few at a time, the plan also keeps those of the
            runs before.
        settings: All options.
    """
    if len(jobs) < 2 or settings.dry_run:
        return
    # A plan that cannot be left stops no run, and what is in its way is said of each file.
    with suppress(Mrc2movieError, OSError):
        make_directories(jobs[0].output_directory)
        for _ in range(_ATTEMPTS):
            try:
                return _leave(jobs, sources, settings)
            except LeftToAnotherRun:
                time.sleep(_WAIT_SECONDS)


def _leave(jobs: Sequence[Job], sources: Sequence[Path], settings: Settings) -> None:
    output_directory = jobs[0].output_directory
    are_directories = [source.is_dir() for source in sources]
    places = {source if is_one else source.parent for source, is_one in zip(sources, are_directories, strict=True)}
    options = _options(settings)
    key = [sorted(map(os.path.realpath, places)), all(are_directories), settings.recursive, settings.pattern, options]
    name = f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}.json"
    path = _plans(output_directory) / name
    own = list(_entries(jobs))

    def text() -> str:
        """With what other runs have left there, as it is now, where some inputs are files."""
        return _text(options, own if all(are_directories) else own + _of_others(path, own))

    wanted = text()
    if _holds(path, wanted):
        if settings.overwrite or path != _by_age(output_directory)[-1]:
            refuse_links_above(path)
            os.utime(path)
        return
    with Claim(output_directory / name) as claim:  # nothing is ever made under this name
        write_kept(claim, path, wanted if all(are_directories) else text(), "the plan")


def _of_others(path: Path, own: Sequence[Entry]) -> list[Entry]:
    """The files of a plan that are there and not among these; none where it cannot be read."""
    targets = {target for target, *_ in own}
    with suppress(OSError, ValueError):
        return [each for each in _read(path)[1] if each[0] not in targets and os.path.lexists(each[1])]
    return []


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == f"{text}\n".encode()


def _plans(output_directory: Path) -> Path:
    return output_directory / RECORD_DIRECTORY / _DIRECTORY


def _by_age(output_directory: Path) -> list[Path]:
    """The files of the plans, the newest last."""
    with suppress(FileNotFoundError):
        return sorted(_plans(output_directory).glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    return []


def _options(settings: Settings) -> dict[str, object]:
    """The options that were given and decide whether a movie is up to date, as JSON has them."""
    names = [option.name for option in OPTIONS if option.group in _GROUPS or option.name == "overwrite"]
    return {name: getattr(settings, name) for name in names if name in settings.given}


def _entries(jobs: Sequence[Job]) -> Iterator[Entry]:
    depth = len(jobs[0].output_directory.parts)
    absolute: dict[str, str] = {}
    for job in jobs:
        directory, name = os.path.split(job.source)
        if directory not in absolute:
            absolute[directory] = os.path.abspath(directory)  # noqa: PTH100
        source = os.path.join(absolute[directory], name)  # noqa: PTH118
        yield "/".join(job.target.parts[depth:]), source, job.refusal, job.series


def _text(options: Mapping[str, object], entries: Sequence[Entry]) -> str:
    """The plan as JSON, a file a line."""
    files = ",\n".join(map(json.dumps, entries))
    return f'{{"format": {_FORMAT}, "options": {json.dumps(options)}, "files": [\n{files}\n]}}'


def _read(path: Path) -> tuple[dict[str, object], Sequence[Entry]]:
    """The options and the files of a plan.

    Raises:
        OSError: It cannot be read.
        ValueError: It is none, or one of another version.
    """
    kept = typed(read_kept(path), dict)
    entries = []
    for found in typed(kept.get("files"), list):
        target, source, refusal, series = (typed(each, str) for each in typed(found, list))
        if ".." in target.split("/") or os.path.isabs(target):  # noqa: PTH117
            raise ValueError
        entries.append((target, source, refusal, series))
    if kept.get("format") != _FORMAT:
        raise ValueError
    return typed(kept.get("options"), dict), entries


def load_plans(output_directory: Path) -> tuple[Sequence[Plan], Sequence[Path]]:
    """The plans that runs have left, the newest last; and the files of those that cannot be read."""
    plans, unread = [], []
    for path in _by_age(output_directory):
        try:
            options, entries = _read(path)
            jobs = [
                Job(Path(source), output_directory / target, output_directory, refusal, series=series)
                for target, source, refusal, series in entries
            ]
            settings = Settings(**{**options, "dry_run": True})  # type: ignore[arg-type]
            anew_since = path.stat().st_mtime_ns / 1e9 if settings.overwrite else 0.0
            plans.append(Plan(jobs, replace(settings, overwrite=False), anew_since))
        except (UsageError, OSError, ValueError, TypeError):  # of options that this version does not have, too
            unread.append(path)
    return plans, unread
