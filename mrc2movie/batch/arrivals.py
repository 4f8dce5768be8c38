"""Which inputs have arrived whole: by looking again and again, since no system tells what other machines write."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mrc2movie.batch.inputs import as_input, inputs_in
from mrc2movie.conversion.opening import open_input
from mrc2movie.conversion.unchanging import other_files
from mrc2movie.errors import InputError, NotWhole
from mrc2movie.options.settings import Settings
from mrc2movie.readers.sidecars import sections_in_mdoc, sidecar_names
from mrc2movie.store.files import FileStamp

Stamps: TypeAlias = tuple[FileStamp, ...]
"""Of a file, and of each of its sidecars."""


@dataclass
class _Seen:
    """A file that was seen.

    Attributes:
        stamps: What it was like at the last look.
        since: When it was first seen like this, by the clock of `time.monotonic`.
        is_judged: Whether it has arrived like this, or was found not to be whole.
        why_not_whole: Why it is not whole; empty where it is, or was not judged yet.
    """

    stamps: Stamps
    since: float
    is_judged: bool = False
    why_not_whole: str = ""


class Arrivals:
    """The files of the inputs as they come, grow and change.

    Args:
        sources: The inputs: directories and files.
        output_directory: Where the movies go.
        settings: Which files, and for how long one must not have changed.

    Attributes:
        changed: When a look last found something new or changed, by the clock of `time.monotonic`.
        unlisted: The directories that the last look could not list, and why.
        look_seconds: What the last look took of a processor, apart from files that were opened, each of them once.
    """

    def __init__(self, sources: Sequence[Path], output_directory: Path, settings: Settings) -> None:
        self.changed = time.monotonic()
        self.unlisted: dict[Path, str] = {}
        self.look_seconds = 0.0
        self._sources = sources
        self._output_directory = output_directory
        self._settings = settings
        self._seen: dict[str, _Seen] = {}

    def look(self) -> Sequence[Path]:
        """Look at every file once; returns those that have arrived since the last look, whole and at rest."""
        begin = time.thread_time()
        self.unlisted = {}
        before, self._seen = self._seen, {}
        now = time.monotonic()
        for path, stamps in self._stamps():
            seen = before.get(path)
            if seen is None or seen.stamps != stamps:
                seen, self.changed = _Seen(stamps, now), now
            self._seen[path] = seen
        if self.unlisted:  # what is in them may be there again at the next look
            self._seen = before | self._seen
        self.look_seconds = time.thread_time() - begin
        return [Path(path) for path, seen in self._seen.items() if self._arrives(path, seen, now)]

    def again(self, path: Path) -> None:
        """Let a file arrive once more, when it has not changed for as long as any other."""
        if seen := self._seen.get(str(path)):
            seen.is_judged, seen.since = False, time.monotonic()

    @property
    def are_judged(self) -> bool:
        """Whether every file has arrived, or was found not to be whole."""
        return all(seen.is_judged for seen in self._seen.values())

    @property
    def not_whole(self) -> Mapping[Path, str]:
        """The files that are at rest and not whole, and why."""
        return {Path(path): seen.why_not_whole for path, seen in self._seen.items() if seen.why_not_whole}

    def _stamps(self) -> Iterator[tuple[str, Stamps]]:
        """Every input that can be looked at, as it is now."""
        for source in self._sources:
            try:
                file = as_input(source, self._settings)
                if file or not source.is_dir():
                    path = file or source
                    yield str(path), (FileStamp.of(path), *other_files(path, self._settings))
                    continue
                for entry, files in inputs_in(source, self._output_directory, self._settings, self.unlisted, Counter()):
                    with suppress(OSError):  # it has just gone, or is a link to nothing
                        yield entry.path, _stamps(entry, files)
            except OSError as error:
                self.unlisted[source] = f"cannot be looked at ({error.strerror})"

    def _arrives(self, path: str, seen: _Seen, now: float) -> bool:
        if seen.is_judged or now - seen.since < (self._settings.watch or 0):
            return False
        seen.is_judged = True
        seen.why_not_whole = why_not_whole(Path(path), self._settings)
        return not seen.why_not_whole


def _stamps(entry: os.DirEntry[str], files: Mapping[str, os.DirEntry[str]]) -> Stamps:
    there = (entry, *(files[name] for name in sidecar_names(entry.name) if name in files))
    statuses = ((each.name, each.stat()) for each in there)
    return tuple(FileStamp(name, status.st_size, status.st_mtime_ns) for name, status in statuses)


def why_not_whole(path: Path, settings: Settings) -> str:
    """Why a file is not whole by its header and its mdoc, in words; empty where it is."""
    try:
        with open_input(path, settings) as volume:
            description = volume.description
    except NotWhole as error:
        return error.message
    except InputError:  # more of it would not help: it is to fail
        return ""
    there, listed = description.shape[0], sections_in_mdoc(path)
    if description.missing:
        return f"{there} of the {there + description.missing} sections that its header promises are there"
    return f"{there} of the {listed} sections that its mdoc lists are there" if listed > there else ""
