"""Which files of a directory become which movies: all names, decided before any work."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeAlias

from mrc2movie.batch.inputs import as_input, in_words, inputs_in
from mrc2movie.batch.report import Job
from mrc2movie.conversion.annotations import require_annotations
from mrc2movie.conversion.compare import require_compared
from mrc2movie.errors import NothingToConvert, UsageError, about
from mrc2movie.options.settings import Settings
from mrc2movie.pages.manifest import check_manifest
from mrc2movie.readers import as_file, stem_of, tilt_series
from mrc2movie.store.files import identity_of
from mrc2movie.store.names import fitting
from mrc2movie.writers import check_codec, suffix
from mrc2movie.writers.record import Made, load, record_name, record_names
from mrc2movie.writers.stills import CONTACT_SHEET


def plan(sources: Sequence[Path], output_directory: Path, settings: Settings) -> Sequence[Job]:
    """Decide all names, and whether all can be written here, before any work.

    Args:
        sources: Directories and files. Of several, one that is missing or empty is refused as a job.
        output_directory: Where the movies go.
        settings: All options.

    Returns:
        The jobs, in the order of the sources and in natural order of the files of each (``tilt_9`` before
        ``tilt_10``), and then what cannot be listed.

    Raises:
        UsageError: There is nothing to convert, two inputs would become the same movie, an input or OUTPUT_DIR cannot
            be looked at, OUTPUT_DIR is a file, or what is wanted cannot be written here.
    """
    with _naming_what_cannot_be_looked_at():
        _check(settings, output_directory)
        return _jobs(sources, output_directory, settings)


def plan_movie(sources: Sequence[Path], movie: Path, settings: Settings) -> Sequence[Job]:
    """The one job of a file that becomes a movie of a given name.

    Raises:
        UsageError: There are several inputs, or the one is missing, a directory or the movie itself, or what is
            wanted cannot be written here.
    """
    with _naming_what_cannot_be_looked_at():
        _check(settings, movie.parent)
        if len(sources) > 1:
            raise UsageError(f"{movie} is named like one movie, and there are {len(sources)} inputs", _NAME_A_DIRECTORY)
        source = as_file(sources[0]) or sources[0]
        if source.is_dir():
            raise UsageError(f"{movie} is named like one movie, and {source} is a directory", _NAME_A_DIRECTORY)
        if not os.path.lexists(source):
            raise UsageError(f"{source}: does not exist", "name another file")
        if movie.exists() and identity_of(source) == identity_of(movie):
            raise UsageError(f"{movie} is the input itself", "name another movie")
    return [Job(source, movie, movie.parent)]


def _check(settings: Settings, output_directory: Path) -> None:
    """Refuse, before any work, what cannot be written here, or would be refused at its end.

    Raises:
        UsageError: It cannot.
    """
    check_codec(settings)
    require_annotations(settings)
    require_compared(settings)
    if settings.manifest:
        check_manifest(Path(settings.manifest), output_directory)
    if settings.callback:
        from mrc2movie.pages.callback import check_callback  # with urllib and ssl, which others need not wait for

        check_callback(settings.callback)


Name: TypeAlias = tuple[str, str]
"""The directory below that of the input, and the name in it."""
Words: TypeAlias = list[tuple[int, int | str]]
"""The words and numbers of a name, to sort by."""

_NAME_A_DIRECTORY = "name a directory for the movies"


@contextmanager
def _naming_what_cannot_be_looked_at() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be looked at ({error.strerror})", "name another") from error


class _Input(NamedTuple):
    """What becomes one movie.

    Attributes:
        path: The file.
        series: Where it has several tilt series: which one.
    """

    path: Path
    series: str = ""


def _jobs(sources: Sequence[Path], output_directory: Path, settings: Settings) -> Sequence[Job]:
    if output_directory.exists() and not output_directory.is_dir():
        raise UsageError(f"{output_directory} is not a directory", _NAME_A_DIRECTORY)
    named: dict[Path, _Input] = {}
    unlisted: dict[Path, Path] = {}
    refused: dict[Path, str] = {}
    others: Counter[str] = Counter()
    for source in sources:
        not_listed: dict[Path, str] = {}
        try:
            with about(source):
                folder = as_input(source, settings)
                inputs = [] if folder else _found(source, output_directory, settings, not_listed, others)
        except (UsageError, OSError) as error:
            if len(sources) == 1:
                raise
            # mrc2movie * movies names OUTPUT_DIR twice
            if os.path.realpath(source) != os.path.realpath(output_directory):
                refused[source] = (
                    f"cannot be looked at ({error.strerror})" if isinstance(error, OSError) else error.in_words
                )
            continue
        if folder:
            _name(named, _Input(folder), Path(f"{source.absolute().name}.cs"))
        root = source if source.is_dir() else source.parent
        for path in inputs:
            name = _below(root, path)
            for series in tilt_series(path) or ("",):
                _name(named, _Input(path, series), name.with_name(_of_series(series)) if series else name)
        unlisted.update((path, _below(root, path)) for path in not_listed)
        refused |= not_listed
    if not named and not unlisted:
        raise NothingToConvert("none of the inputs can be converted", "name directories or files of sections")
    targets = _targets({name: each.path for name, each in named.items()}, suffix(settings), output_directory)
    not_tried = unlisted | {
        source: Path(source.name or str(number)) for number, source in enumerate(refused) if source not in unlisted
    }
    jobs = [
        *(
            Job(each.path, output_directory / target, output_directory, series=each.series)
            for each, target in zip(named.values(), targets, strict=True)
        ),
        *(Job(path, output_directory / target, output_directory, refused[path]) for path, target in not_tried.items()),
    ]
    return [replace(jobs[0], remark=in_words(others)), *jobs[1:]]


def _found(
    source: Path, output_directory: Path, settings: Settings, unlisted: dict[Path, str], others: Counter[str]
) -> Sequence[Path]:
    """The files of an input: those of a directory, in natural order, or the file itself.

    Raises:
        UsageError: There is none.
        OSError: The directory cannot be listed.
    """
    if not os.path.lexists(source):
        raise UsageError("does not exist", "name a directory or a file")
    if not source.is_dir():
        return [source]
    found = inputs_in(source, output_directory, settings, unlisted, others)
    inputs = sorted((Path(entry.path) for entry, _ in found), key=_natural)
    if not inputs and not unlisted:
        wanted = f"matches {settings.pattern}" if settings.pattern else "is named like a file of sections"
        advice = "choose others with --pattern, look into sub-directories with --recursive"
        raise NothingToConvert("; ".join(filter(None, (f"no file in it {wanted}", in_words(others)))), advice)
    return inputs


def _of_series(series: str) -> str:
    """The name by which the movie of a tilt series is called: as if it had a star of its own."""
    return f"{series.replace('/', '_').replace(chr(0), '_')}.star"


def _name(named: dict[Path, _Input], each: _Input, name: Path) -> None:
    """Add an input by its name below OUTPUT_DIR; one that is given twice counts once.

    Names are not made longer by the directory of the input: they would then depend on what else is converted.

    Raises:
        UsageError: Another input has the name.
    """
    other = named.setdefault(name, each)
    one, two = other.path, each.path
    if other.series != each.series:
        raise UsageError(f"two tilt series of {two} would become the same movie, {name.stem}", "rename one of them")
    if one != two and (one.name != two.name or os.path.realpath(one.parent) != os.path.realpath(two.parent)):
        raise UsageError(
            f"{one} and {two} would become the same movie",
            "give each an OUTPUT_DIR of its own, or convert a directory above both with --recursive",
        )


def _natural(path: Path) -> tuple[list[Words], str]:
    """Sort key: numbers by value, letters whatever their case; the exact text breaks ties."""
    return [_words(part) for part in path.parts], str(path)


@lru_cache(4096)  # many files share their directories
def _words(name: str) -> Words:
    return [(0, int(part)) if part.isdecimal() else (1, part.casefold()) for part in re.split(r"(\d+)", name)]


def _below(directory: Path, path: Path) -> Path:
    """The path from a directory with which it begins: `Path.relative_to` would take most of the time of a plan."""
    return Path(*path.parts[len(directory.parts) :])


def _targets(inputs: Mapping[Path, Path], movie_suffix: str, output_directory: Path) -> list[Path]:
    """The movie of each input, by its name: from its stem, or from its whole name where two stems would meet.

    A name once given stays: an input whose movie is recorded keeps it, and only the others make way.
    """

    def movie(name: Name) -> Path:
        return Path(name[0], fitting(name[1], movie_suffix))

    whole = {path: os.path.split(path) for path in inputs}
    names = {path: (directory, stem_of(name)) for path, (directory, name) in whole.items()}
    directories = {directory for directory, _ in whole.values()}
    records = {directory: record_names(output_directory / directory) for directory in directories}
    meeting = set(_meeting(names))
    given: dict[Path, Name] = {}
    for path, long in whole.items():
        if path in meeting or record_name(fitting(long[1], movie_suffix)) in records[long[0]]:
            found = (name for name in (names[path], long) if _is_recorded(inputs[path], output_directory / movie(name)))
            given.update((path, name) for name in found if path not in given)
    names |= given
    while newcomers := [path for path in _meeting(names) if names[path] != whole[path] and path not in given]:
        names.update((path, whole[path]) for path in newcomers)
    return [movie(names[path]) for path in inputs]


def _meeting(names: Mapping[Path, Name]) -> list[Path]:
    """The inputs that share the name of a movie or of a picture with another."""
    plain = {path: os.path.normcase(os.path.join(*name)) for path, name in names.items()}  # noqa: PTH118
    # A thumbnail of x.contact would be named like the contact sheet of x.
    uses = Counter(chain(plain.values(), (name + CONTACT_SHEET for name in plain.values())))
    return [path for path, name in plain.items() if uses[name] > 1 or uses[name + CONTACT_SHEET] > 1]


def _is_recorded(source: Path, movie: Path) -> bool:
    found = load(movie)
    with suppress(OSError):  # the source cannot be looked at: it will be named
        return isinstance(found, Made) and found.is_of(source, movie)
    return False
