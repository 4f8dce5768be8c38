"""Which files of a directory are inputs."""

import errno
import os
import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

from mrc2movie.options.settings import LOG_NAME, Settings
from mrc2movie.pages.live import PAGE_NAME
from mrc2movie.readers import as_file, is_named_like_input
from mrc2movie.readers.suffixes import split_name
from mrc2movie.store.files import entries_of, identity_of
from mrc2movie.writers.beside import recorded_as
from mrc2movie.writers.record import record_path

_UNFINISHED = re.compile(r"\.(tmp|part)\Z|downloading", re.IGNORECASE)
"""In the names of files that are being transferred."""


def in_words(others: Counter[str]) -> str:
    """What the images in a directory are that are no inputs; empty where there are none."""
    ordered = sorted(others.items(), key=lambda each: (-each[1], each[0]))
    counts = [f"{count} {kind} file{'s' if count > 1 else ''}" for kind, count in ordered]
    if not counts:
        return ""
    first = " and ".join(filter(None, (", ".join(counts[:-1]), counts[-1])))
    advice = "; relion_convert_to_tiff and IMOD's clip make TIFF files of EER" if "EER" in others else ""
    return f"{first} {'are no inputs' if others.total() > 1 else 'is no input'}: such files are not read{advice}"


_OTHER_IMAGES = {
    **dict.fromkeys((".jpg", ".jpeg"), "JPEG"),
    **{".eer": "EER", ".png": "PNG"},
}
"""Images in other formats, by their suffixes: people who expect movies of them should know why there are none."""


def as_input(source: Path, settings: Settings) -> Path | None:
    """The one file that stands for a directory, which is then not looked into; None for any other path."""
    return None if settings.pattern or settings.recursive else as_file(source)


def inputs_in(
    directory: Path, output_directory: Path, settings: Settings, unlisted: dict[Path, str], others: Counter[str]
) -> Iterator[tuple[os.DirEntry[str], Mapping[str, os.DirEntry[str]]]]:
    """The files to convert, without what an earlier run made; each with all files of its directory, by name.

    No directory is visited twice: links to directories are followed when all directories proper have been visited.

    Args:
        directory: Where they are.
        output_directory: Where the movies go, maybe the same.
        settings: Which files.
        unlisted: Gets the directories below that cannot be listed, and why.
        others: Gets the number of images in other formats, by their names, unless the user gave a pattern.

    Raises:
        OSError: The directory itself cannot be listed.
    """
    itself = identity_of(directory)
    output = identity_of(output_directory) if output_directory.exists() else None
    into_itself = output == itself
    visited = {output} - {itself}
    directories, links = deque([directory]), deque[Path]()
    while directories or links:
        here = directories.popleft() if directories else links.popleft()
        try:
            if (identity := identity_of(here)) in visited:
                continue
            visited.add(identity)
            entries = entries_of(here)
        except OSError as error:
            if here == directory:
                raise
            unlisted[here] = f"cannot be listed ({error.strerror})"
            continue
        files = {}
        for entry in entries:
            try:
                is_directory = entry.is_dir()
            except OSError as error:
                is_directory = False  # a link; should it be named like a file, the file will be named
                if settings.recursive and error.errno != errno.ELOOP:
                    unlisted[here / entry.name] = f"cannot be looked at ({error.strerror})"
                    continue
            if not is_directory:
                files[entry.name] = entry
            elif settings.recursive and not entry.name.startswith("."):
                (links if entry.is_symlink() else directories).append(here / entry.name)
        for name, entry in files.items():
            kind = _kind_of(name, settings)
            if not kind or (into_itself and _is_ours(here / name)):
                continue
            if kind == _INPUT:
                yield entry, files
            else:
                others[kind] += 1


_INPUT = "input"


def _kind_of(name: str, settings: Settings) -> str:
    """What a file is by its name: an input, an image in another format, or, empty, something else."""
    if name.startswith(".") and not (settings.pattern or "").startswith("."):
        return ""  # what macOS keeps beside a.mrc is ._a.mrc
    is_input = fnmatch(name, settings.pattern) if settings.pattern else is_named_like_input(name)
    if is_input:
        return "" if settings.watch is not None and _UNFINISHED.search(name) else _INPUT
    return "" if settings.pattern else _OTHER_IMAGES.get(split_name(name)[1], "")


def _is_ours(path: Path) -> bool:
    return os.path.lexists(record_path(path)) or bool(recorded_as(path)) or path.name in (LOG_NAME, PAGE_NAME)
