"""Options from a file, for a facility or a directory of data: TOML, with the names of the options as keys.

A file, and no environment variables: it can be read beside the data, named in the log, and kept under version control,
and it is the same on every node of a cluster, where schedulers, sudo and cron drop variables.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mrc2movie.errors import UsageError, about
from mrc2movie.options.kinds import nearest
from mrc2movie.options.settings import MOVIE_GROUPS, OPTIONS, Settings

CONFIG_NAME = "mrc2movie.toml"
_FOUND_GROUPS = (*MOVIE_GROUPS, "beside the movie")
"""A file that nobody named sets nothing that could replace other files, or write elsewhere."""
_BYTES = 2**20


@dataclass(frozen=True)
class Config:
    """Options from a file.

    Attributes:
        path: The file; None where there is none.
        options: By the names of the fields of `Settings`.
    """

    path: Path | None
    options: Mapping[str, object]

    def in_words(self) -> str:
        """The options and the file, for the log."""
        values = ", ".join(f"{name} = {value}" for name, value in self.options.items())
        return f"options of {self.path}: {values or 'none'}"


def read_config(named: Path | None, sources: Sequence[Path]) -> Config:
    """The options of the file that was named, or else of the one beside the inputs.

    Args:
        named: With ``--config``.
        sources: The inputs; the file lies in a directory, or beside a file.

    Raises:
        UsageError: The file cannot be read, sets what is no option, or is not that of all inputs.
    """
    if named is not None:
        return _read(named, is_named=True)
    # os.path, since it raises nothing: an input that cannot be looked at is named later.
    directories = {source if os.path.isdir(source) else source.parent for source in sources}  # noqa: PTH112
    found = [path for each in sorted(directories) if os.path.isfile(path := each / CONFIG_NAME)]  # noqa: PTH113
    if not found:
        return Config(None, {})
    if len(set(map(os.path.realpath, directories))) > 1:
        raise UsageError(
            f"{found[0]} is not beside all inputs", "name it with --config for all, or convert each directory alone"
        )
    return _read(found[0], is_named=False)


def _read(path: Path, is_named: bool) -> Config:
    import tomllib  # only where there is a file

    try:
        with path.open("rb") as file:
            text = file.read(_BYTES).decode()
        values = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})", "name another --config") from error
    except ValueError as error:
        raise UsageError(f"{path}: is not TOML ({error})", "write lines such as fps = 12") from error
    known = {option.name: option.group for option in OPTIONS}
    options = {}
    with about(path):
        for key, value in values.items():
            name = key.replace("-", "_")
            if name not in known:
                near = nearest(name, {each: each for each in known})
                raise UsageError(f"{key}: no such option", f"did you mean {near}?" if near else "see --help all")
            if not is_named and known[name] not in _FOUND_GROUPS:
                raise UsageError(f"{key}: only a file named with --config may set it", "move it to the command line")
            options[name] = value
        Settings(**options)  # so that what is wrong with it is said of the file
    return Config(path, options)
