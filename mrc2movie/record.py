"""The record beside a movie: how it was made, and so whether it is still up to date."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mrc2movie.errors import OutputError
from mrc2movie.publish import hidden_temporary, move_into_place
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
class Picture:
    """A picture beside a movie.

    Attributes:
        option: The option that asks for it.
        value: Of this option.
        file: The picture.
    """

    option: str
    value: object
    file: FileStamp


@dataclass(frozen=True)
class Record:
    """How a movie was made.

    Attributes:
        source: The input.
        movie: The movie.
        pictures: Those made beside it.
        preset: The one that shaped it, if any; with ``auto`` the one that was found.
        settings: The options that shape the movie, as they were asked for.
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
    pictures: tuple[Picture, ...]
    preset: str | None
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
    return movie.parent / RECORD_DIRECTORY / f"{movie.name}.json"


def write_record(movie: Path, record: Record) -> None:
    """Write the record of a movie.

    Raises:
        OutputError: It cannot be written.
    """
    path = record_path(movie)
    text = json.dumps({"format": _FORMAT, **asdict(record)}, indent=1)
    try:
        path.parent.mkdir(exist_ok=True)
        with hidden_temporary(path) as hidden:
            hidden.write_text(text + "\n", encoding="ascii")
            move_into_place(hidden, path)
    except OSError as error:
        raise OutputError(f"its record {path.name} cannot be written ({error.strerror})") from error


def why_not_up_to_date(
    movie: Path, source: Path, settings: dict[str, object], pictures: Mapping[str, tuple[Path, object]]
) -> str | None:
    """What has changed since a recorded movie was made, in words; None if nothing has.

    Args:
        movie: The movie.
        source: What it was made from.
        settings: The options that shape it.
        pictures: Those wanted beside it, with the value of their option, by the name of the option.
    """
    made = _read(record_path(movie))
    if made is None:
        return "its record cannot be read"
    if made.get("source") != asdict(FileStamp.of(source)):
        return "the source has changed"
    if made.get("movie") != asdict(FileStamp.of(movie)):
        return "the movie was changed"
    then = made.get("settings")
    if not isinstance(then, dict):
        return "its record cannot be read"
    changed = sorted(name for name in settings.keys() | then.keys() if settings.get(name) != then.get(name))
    if changed:
        return "other " + ", ".join(changed)
    for option, (path, value) in pictures.items():
        found = asdict(Picture(option, value, FileStamp.of(path))) if path.exists() else None
        if found is None or found not in made.get("pictures", ()):
            return f"no {option.replace('_', ' ')} like this yet"
    return None


def recorded_pictures(movie: Path) -> frozenset[str]:
    """The names of the pictures that were made beside a movie."""
    made = _read(record_path(movie)) or {}
    return frozenset(picture["file"]["name"] for picture in made.get("pictures", ()))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("format") == _FORMAT else None
