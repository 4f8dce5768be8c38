"""The record beside a movie: how it was made, and so whether it is still up to date."""

import json
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mrc2movie.errors import OutputError
from mrc2movie.picture.quality import Signal
from mrc2movie.readers.volume import VolumeKind, VoxelSize
from mrc2movie.store.artifact import Artifact
from mrc2movie.store.claim import RECORD_DIRECTORY, Claim
from mrc2movie.store.files import FileStamp
from mrc2movie.store.kept import read_kept, stamp_of, typed, write_kept
from mrc2movie.store.names import fitting
from mrc2movie.writers.movie import MovieFacts

_FORMAT = 1
_SECTIONS_KEPT = 10_000
"""No tilt series or tomogram has as many; the settings tell which ones a longer movie shows."""


@dataclass(frozen=True)
class Made:
    """What decides whether a movie is up to date, and whose it is.

    Attributes:
        source: The input.
        source_paths: Where it was: its absolute path, and its path from the movie's directory; none in old records.
        movie: The movie.
        pictures: Those beside it.
        settings: The options that shape the movie, as they were asked for.
        sidecars: The other files that it was made of: that tell of its sections, or of what is drawn over them; None in
            old records.
    """

    source: FileStamp
    source_paths: tuple[str, ...]
    movie: FileStamp
    pictures: tuple[Artifact, ...]
    settings: dict[str, object]
    sidecars: tuple[FileStamp, ...] | None

    def is_of(self, source: Path, movie: Path) -> bool:
        """Whether a file is the input, as it was or changed since.

        The input is known by its path, or, where a directory was moved or is reached another way, by its stamp.

        Args:
            source: The file.
            movie: The movie, or another file of its directory.

        Raises:
            OSError: The file cannot be looked at.
        """
        stamp = FileStamp.of(source)
        if stamp == self.source:
            return True
        if not self.source_paths:
            return stamp.name == self.source.name
        return not set(self.source_paths).isdisjoint(source_paths(source, movie))

    @property
    def source_shown(self) -> str:
        """The input, for a message."""
        return self.source_paths[0] if self.source_paths else self.source.name

    def why_not_up_to_date(
        self, movie: Path, source: Path, settings: dict[str, object], sidecars: tuple[FileStamp, ...]
    ) -> str | None:
        """What has changed since the movie was made, in words; None if nothing has.

        The time of the last change of attributes (ctime) does not count: chmod, a link or a copy of a directory would
        have all movies made anew.

        Args:
            movie: The movie.
            source: What it was made from.
            settings: The options that shape it.
            sidecars: The other files, as they are now.
        """
        if self.source != FileStamp.of(source):
            return "the source has changed"
        if self.sidecars is not None and self.sidecars != sidecars:
            names = sorted({sidecar.name for sidecar in set(self.sidecars) ^ set(sidecars)})
            return f"{' and '.join(names)} {'have' if len(names) > 1 else 'has'} changed"
        if movie.is_symlink() or self.movie != FileStamp.of(movie):
            return "the movie was changed"
        then = self.settings
        changed = sorted(name for name in settings.keys() | then.keys() if settings.get(name) != then.get(name))
        return "other " + ", ".join(changed) if changed else None


@dataclass(frozen=True)
class Record(Made):
    """How a movie was made.

    Attributes:
        preset: The one that shaped it, if any; with ``auto`` the one that was found.
        header: What the reader made of the input's header.
        kind: What the sections are.
        shape: (sections, rows, columns) that could be shown.
        voxel_size_A: Along (columns, rows, sections), with what the user gave; None where it is not known.
        defocus_um: Of the microscope, under-focus positive; None where it is not known.
        grey_range: [low, high].
        sections: Section numbers in the order of their first appearance, counted from 0 in file order.
        section_means: The mean of each section shown, in the order of `sections`, from regular rows, before
            ``--match-mean``; None without a finite voxel; empty for more than 10,000 sections.
        section_deviations: The standard deviation of each; so for these.
        section_tilts: The tilt angle of each in degrees; so for these, and empty where they are not known.
        signals: What is striking about the sections, see `quality`.
        frames: Number, size and rate of the movie's frames.
        seconds: Seconds spent in each stage, added up over the threads.
        notes: What the user was told.
        warnings: What the user was warned of.
        version: Of this package.
    """

    preset: str | None
    header: dict[str, object]
    kind: VolumeKind
    shape: tuple[int, int, int]
    voxel_size_A: VoxelSize | None
    defocus_um: float | None
    grey_range: tuple[float, float]
    sections: Sequence[int] = field(repr=False)
    section_means: tuple[float | None, ...] = field(repr=False)
    section_deviations: tuple[float | None, ...] = field(repr=False)
    section_tilts: tuple[float | None, ...] = field(repr=False)
    signals: tuple[Signal, ...]
    frames: MovieFacts
    seconds: dict[str, float]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class Unusable:
    """A record that is there and does not help: the movie and its pictures are ours, and are made anew.

    Attributes:
        why: What is the matter with it.
    """

    why: str


def source_paths(source: Path, movie: Path) -> tuple[str, ...]:
    """The absolute path of an input without symbolic links before its name, and the path from a movie's directory."""
    absolute = os.path.join(os.path.realpath(source.parent), source.name)  # noqa: PTH118
    try:
        return absolute, os.path.relpath(absolute, os.path.realpath(movie.parent))
    except ValueError:  # on Windows, on different drives
        return (absolute,)


def record_path(movie: Path) -> Path:
    """Where the record of a movie is kept."""
    return movie.parent / RECORD_DIRECTORY / record_name(movie.name)


def record_name(movie: str) -> str:
    """What the record of a movie of this name is called."""
    return fitting(movie, ".json")


def record_names(directory: Path) -> Collection[str]:
    """What the records of the movies of a directory are called; none where they cannot be listed."""
    with suppress(OSError):
        return set(os.listdir(directory / RECORD_DIRECTORY))  # noqa: PTH208
    return set()


def write_record(claim: Claim, record: Record) -> None:
    """Write the record of a claimed movie.

    Raises:
        OutputError: It cannot be written.
    """
    path = record_path(claim.target)
    # The header may be large: no copy.
    kept = {"format": _FORMAT} | {field.name: getattr(record, field.name) for field in fields(record)}
    kept["sections"] = _in_json(record.sections)
    # One line a field: to indent every number would take ten times as long, since only Python's own encoder does that.
    lines = (f"{json.dumps(name)}: {json.dumps(value, default=asdict)}" for name, value in kept.items())
    write_kept(claim, path, "{\n " + ",\n ".join(lines) + "\n}", f"its record {path.name}")


def _in_json(sections: Sequence[int]) -> object:
    """The numbers; from some length on only how many there are, and the ends."""
    if len(sections) <= _SECTIONS_KEPT:
        return list(sections)
    return {"count": len(sections), "first": sections[0], "last": sections[-1]}


def refuse_directory_of_another_user(movie: Path) -> None:
    """Refuse, before any work, to make a movie whose record could not be written.

    Raises:
        OutputError: The directory of the records is another user's, who lets nobody else write into it.
    """
    directory = movie.parent / RECORD_DIRECTORY
    effective = os.access in os.supports_effective_ids
    if not directory.is_dir() or os.access(directory, os.W_OK | os.X_OK, effective_ids=effective):
        return
    if directory.stat().st_uid != os.geteuid():
        advice = "let its owner give it to your group (chmod g+w), or take another OUTPUT_DIR"
        raise OutputError("is another user's, and you may not write the records of your movies into it", advice)


def load(movie: Path) -> Made | Unusable | None:
    """What the record of a movie keeps; None where there is no record."""
    try:
        return _made(read_kept(record_path(movie)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return _CANNOT_BE_READ


def all_kept(movie: Path) -> dict[str, Any]:
    """All that the record of a movie keeps, as it stands there; nothing where it cannot be read."""
    try:
        return typed(read_kept(record_path(movie)), dict)
    except (OSError, ValueError):
        return {}


_CANNOT_BE_READ = Unusable("its record cannot be read")


def _made(found: object) -> Made | Unusable:
    kept = typed(found, dict)
    if kept.get("format") != _FORMAT:
        return Unusable("its record is of another version of mrc2movie")
    return Made(
        source=stamp_of(kept.get("source")),
        source_paths=tuple(typed(path, str) for path in typed(kept.get("source_paths", []), list)),
        movie=stamp_of(kept.get("movie")),
        pictures=tuple(_picture(typed(picture, dict)) for picture in typed(kept.get("pictures", []), list)),
        settings=typed(kept.get("settings"), dict),
        sidecars=tuple(map(stamp_of, typed(kept["sidecars"], list))) if "sidecars" in kept else None,
    )


def _picture(found: dict[str, object]) -> Artifact:
    return Artifact(typed(found.get("option"), str), found.get("value"), stamp_of(found.get("file")))
