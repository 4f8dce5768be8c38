"""The record beside a movie: how it was made, and so whether it is still up to date."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mrc2movie.errors import OutputError, saying
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
class Picture:
    """A picture beside a movie.

    Attributes:
        option: The option that asks for it.
        value: Of this option; None where it shows what the movie no longer does.
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
        pictures: Those beside it.
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
    with saying(f"its record {path.name} cannot be written"):
        path.parent.mkdir(exist_ok=True)
        hidden.write_text(text + "\n", encoding="ascii")
    move_into_place(hidden, path, f"its record {path.name}")


def why_not_up_to_date(movie: Path, source: Path, settings: dict[str, object]) -> str | None:
    """What has changed since a recorded movie was made, in words; None if nothing has.

    Args:
        movie: The movie.
        source: What it was made from.
        settings: The options that shape it.
    """
    made = _read(record_path(movie))
    if made is None:
        return "its record cannot be read"
    if made.get("format") != _FORMAT:
        return "its record is of another version of mrc2movie"
    if made.get("source") != asdict(FileStamp.of(source)):
        return "the source has changed"
    if movie.is_symlink() or made.get("movie") != asdict(FileStamp.of(movie)):
        return "the movie was changed"
    then = made.get("settings")
    if not isinstance(then, dict):
        return "its record cannot be read"
    changed = sorted(name for name in settings.keys() | then.keys() if settings.get(name) != then.get(name))
    return "other " + ", ".join(changed) if changed else None


def recorded_source(movie: Path) -> str | None:
    """The name of the input that a movie was made from; None where its record does not tell."""
    source = (_read(record_path(movie)) or {}).get("source")
    name = source.get("name") if isinstance(source, dict) else None
    return name if isinstance(name, str) else None


def recorded_pictures(movie: Path) -> tuple[Picture, ...]:
    """Those that were made beside a movie; none where its record cannot be read."""
    found = (_read(record_path(movie)) or {}).get("pictures", ())
    try:
        return tuple(Picture(each["option"], each["value"], FileStamp(**each["file"])) for each in found)
    except (TypeError, KeyError):
        return ()


def pictures_left(
    movie: Path, source: Path, settings: dict[str, object], made_anew: Collection[Picture]
) -> tuple[Picture, ...]:
    """Those beside a movie that stay as they are while the movie is made anew: they stay ours, and can be replaced.

    Args:
        movie: The movie as it was.
        source: What it was made from.
        settings: The options that will have shaped it.
        made_anew: The other pictures.
    """
    options = {picture.option for picture in made_anew}
    left = [picture for picture in recorded_pictures(movie) if picture.option not in options]
    if left and movie.exists() and why_not_up_to_date(movie, source, settings) is None:
        return tuple(left)
    return tuple(replace(picture, value=None) for picture in left)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="ascii"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
