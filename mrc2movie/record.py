"""The record beside a movie: how it was made, and so whether it is still up to date."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mrc2movie.errors import OutputError, not_written
from mrc2movie.names import fitting
from mrc2movie.publish import Claim, move_into_place
from mrc2movie.writers.movie import MovieFacts

RECORD_DIRECTORY = ".mrc2movie"
_FORMAT = 1


@dataclass(frozen=True)
class FileStamp:
    """A file at a moment.

    Attributes:
        name: Its name, without the directory: a directory may be moved.
        size: Bytes.
        mtime_ns: Time of the last change, in nanoseconds since the epoch.
    """

    name: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "FileStamp":
        """The stamp of a file as it is now; raises OSError."""
        status = path.stat()
        return cls(path.name, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Record:
    """How a movie was made.

    Attributes:
        source: The input.
        movie: The movie.
        settings: The options that shape the movie.
        header: What the reader made of the input's header.
        grey_range: [low, high].
        sections: Section numbers in the order of their first appearance, counted from 0 in file order.
        frames: Number, size and rate of the movie's frames.
        seconds: Seconds spent in each stage, added up over the threads.
        notes: What the user was told.
        warnings: What the user was warned of.
        version: Of this package.
    """

    source: FileStamp
    movie: FileStamp
    settings: dict[str, object]
    header: dict[str, object]
    grey_range: tuple[float, float]
    sections: tuple[int, ...]
    frames: MovieFacts
    seconds: dict[str, float]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    version: str


def record_path(movie: Path) -> Path:
    """Where the record of a movie is kept."""
    return movie.parent / RECORD_DIRECTORY / fitting(movie.name, ".json")


def write_record(claim: Claim, record: Record) -> None:
    """Write the record of a claimed movie.

    Raises:
        OutputError: It cannot be written.
    """
    path, hidden = record_path(claim.target), claim.beside(".json")
    text = json.dumps({"format": _FORMAT, **asdict(record)}, indent=1)
    if path.parent.is_symlink():
        raise OutputError(f"{RECORD_DIRECTORY} is a symbolic link, which is never written through", "remove it")
    try:
        path.parent.mkdir(exist_ok=True)
        hidden.write_text(text + "\n", encoding="ascii")
    except OSError as error:
        raise not_written(f"its record {path.name} cannot be written", error) from error
    move_into_place(hidden, path, f"its record {path.name}")


def why_not_up_to_date(movie: Path, source: Path, settings: dict[str, object]) -> str | None:
    """What has changed since a recorded movie was made, in words; None if nothing has."""
    made = _read(record_path(movie))
    if made is None:
        return "its record cannot be read"
    if made.get("format") != _FORMAT:
        return "its record is of another version of mrc2movie"
    if made.get("source") != asdict(FileStamp.of(source)):
        return "the source has changed"
    if made.get("movie") != asdict(FileStamp.of(movie)):
        return "the movie was changed"
    then = made.get("settings")
    if not isinstance(then, dict):
        return "its record cannot be read"
    changed = sorted(name for name in settings.keys() | then.keys() if settings.get(name) != then.get(name))
    return "other " + ", ".join(changed) if changed else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="ascii"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
