"""Which annotation files belong to a volume, and what is in them as bytes and text."""

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from mrc2movie.errors import InputError, about
from mrc2movie.readers.source import InputFile

_MOST_BYTES = 2**30
"""A million points take a tenth of it."""

NAME = "{name}"
"""Stands for the name of the volume in a pattern."""


def files_for(pattern: str, name: str) -> Sequence[Path]:
    """The files that a pattern names for a volume, in natural order; none where there is none.

    Args:
        pattern: A path, in which ``{name}`` stands for the name of the volume, and ``*`` and ``?`` for any letters.
        name: Of the volume, without its suffixes.
    """
    plain = Path(pattern.replace(NAME, name))
    if plain.exists() or not (set("*?[") & set(pattern)):
        return [plain] if plain.exists() else []
    found = glob.glob(pattern.replace(NAME, glob.escape(name)))  # noqa: PTH207 as in a shell, whatever the directory
    return sorted(map(Path, found), key=_natural)


def _natural(path: Path) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", str(path))]


def content_of(path: Path) -> bytes:
    """All bytes of a file.

    Raises:
        InputError: It cannot be read, is no regular file, or is far too long to be what it should be.
    """
    with about(path), InputFile(path) as file:
        if file.size > _MOST_BYTES:
            raise InputError(f"has {file.size / 1e9:.1f} GB, which no file of annotations has", "name another")
        return file.read(0, file.size)


def text_of(content: bytes) -> str:
    """The text of a file, in UTF-8, or in Latin-1 where it is not that."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def is_named(annotated: str, name: str) -> bool:
    """Whether a column of tomogram names means the volume.

    The entry may be a path, and the file may have more to its name: ``TS_1`` is ``rec_TS_1.mrc`` and
    ``TS_1_10.00Apx.mrc``, but not ``TS_12.mrc``.

    Args:
        annotated: An entry of the column.
        name: Of the volume, without its suffixes.
    """
    entry = annotated.replace("\\", "/").rpartition("/")[2]
    stem = re.sub(r"\.(mrc|mrcs|rec|st|ali|map|hdf|tomostar|star|tif|tiff|em)$", "", entry, flags=re.IGNORECASE)
    if not stem:
        return False
    return stem == name or re.search(rf"(?<![^\W_]){re.escape(stem)}(?![^\W_])", name) is not None
