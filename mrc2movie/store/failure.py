"""The record of a failure: what was tried, and why it gave no movie; it goes when the movie is made."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from mrc2movie.errors import OutputError
from mrc2movie.store.claim import RECORD_DIRECTORY, Claim
from mrc2movie.store.files import FileStamp
from mrc2movie.store.kept import read_kept, refuse_links_above, stamp_of, typed, write_kept
from mrc2movie.store.names import fitting

_FORMAT = 1
_DIRECTORY = "failures"
"""Below the records, so that no failure is taken for the record of a movie."""


@dataclass(frozen=True)
class Failure:
    """An input that could not be converted.

    Attributes:
        movie: The name of the movie that it would have become.
        source: The input as it was tried; None where it could not be looked at.
        source_path: Where it was.
        settings: The options that were to shape the movie.
        why: What the user was told, in a line.
        version: Of this package.
    """

    movie: str
    source: FileStamp | None
    source_path: str
    settings: Mapping[str, object]
    why: str
    version: str


def failure_path(movie: Path) -> Path:
    """Where the failure to make a movie is kept."""
    return movie.parent / RECORD_DIRECTORY / _DIRECTORY / fitting(movie.name, ".json")


def write_failure(claim: Claim, failure: Failure) -> None:
    """Keep the failure to make a claimed movie.

    Raises:
        OutputError: It cannot be written.
    """
    text = json.dumps({"format": _FORMAT, **asdict(failure)}, indent=1)
    write_kept(claim, failure_path(claim.target), text, "the record of its failure")


def load_failure(movie: Path) -> Failure | None:
    """The failure to make a movie; None where none is kept, or none that can be read."""
    return _load(failure_path(movie))


def failures_in(directory: Path) -> Iterator[Failure]:
    """The failures to make movies of a directory, as far as they can be read."""
    with suppress(OSError):
        for path in sorted((directory / RECORD_DIRECTORY / _DIRECTORY).iterdir()):
            if failure := _load(path):
                yield failure


def _load(path: Path) -> Failure | None:
    """The failure that is kept in a file, if it is that of the movie for which the file is named."""
    try:
        kept = typed(read_kept(path), dict)
        if kept.get("format") != _FORMAT:
            return None
        movie = typed(kept.get("movie"), str)
        if Path(movie).name != movie or fitting(movie, ".json") != path.name:
            return None
        return Failure(
            movie=movie,
            source=None if kept.get("source") is None else stamp_of(kept["source"]),
            source_path=typed(kept.get("source_path"), str),
            settings=typed(kept.get("settings"), dict),
            why=typed(kept.get("why"), str),
            version=typed(kept.get("version"), str),
        )
    except (OSError, ValueError):
        return None


def forget_failure(movie: Path) -> None:
    """Remove the failure to make a movie that is there now; what cannot be removed remains."""
    path = failure_path(movie)
    if os.path.lexists(path):
        with suppress(OSError, OutputError):
            refuse_links_above(path)
            path.unlink()
