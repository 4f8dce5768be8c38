"""The JSON files of a directory of records: written whole under a claim, and read whatever became of them since."""

import json
import os
from pathlib import Path
from typing import TypeVar

from mrc2movie.errors import OutputError, saying
from mrc2movie.store.claim import RECORD_DIRECTORY, Claim
from mrc2movie.store.files import FileStamp, make_directory, move_into_place

T = TypeVar("T")


def write_kept(claim: Claim, path: Path, text: str, what: str) -> None:
    """Write a file of a directory of records, flushed and in one step.

    Args:
        claim: Where it is made, beside the directory of the records or within.
        path: The file.
        text: JSON in ASCII.
        what: What it is, for the message.

    Raises:
        OutputError: It cannot be written, or would be written through a link.
    """
    hidden = claim.beside(path.suffix)
    refuse_links_above(path)
    with saying(f"{what} cannot be written"):
        for directory in _directories_of_records(path):
            make_directory(directory)
        hidden.write_text(text + "\n", encoding="ascii")
    move_into_place(hidden, path, what)


def refuse_links_above(path: Path) -> None:
    """Refuse to touch a file of a directory of records that would be reached through a link.

    Raises:
        OutputError: It would.
    """
    for directory in _directories_of_records(path):
        if directory.is_symlink():
            raise OutputError(f"{directory.name} is a symbolic link, which is never written through", "remove it")


def _directories_of_records(path: Path) -> list[Path]:
    """The directory of records above a file, and those below it on the way."""
    above = list(path.parents)
    return above[[directory.name for directory in above].index(RECORD_DIRECTORY) :: -1]


def read_kept(path: Path) -> object:
    """What a file of a directory of records holds.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is no JSON.
        OSError: It cannot be read.
    """
    try:
        if os.path.lexists(path) and not path.is_file():  # a pipe would never end
            raise ValueError
        return json.loads(path.read_text(encoding="ascii"))
    except NotADirectoryError as error:
        raise FileNotFoundError from error
    except RecursionError as error:
        raise ValueError from error


def typed(value: object, kind: type[T]) -> T:
    """The value, which comes out of JSON, if it is of this type.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(value, kind):
        raise ValueError
    return value


def stamp_of(found: object) -> FileStamp:
    """The stamp of a file as JSON has it; raises ValueError."""
    kept = typed(found, dict)
    return FileStamp(typed(kept.get("name"), str), typed(kept.get("size"), int), typed(kept.get("mtime_ns"), int))
