"""What lies beside a movie, pictures and a volume: their names, and whether they are as they are wanted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from mrc2movie.errors import OutputError
from mrc2movie.options.codecs import FORMATS
from mrc2movie.options.settings import Settings
from mrc2movie.store.artifact import Artifact
from mrc2movie.store.files import FileStamp, identity_of
from mrc2movie.store.names import fitting
from mrc2movie.writers.record import Made, Unusable, load
from mrc2movie.writers.stills import PICTURE_SUFFIXES, picture_paths

_VOLUME_SUFFIXES = tuple(
    f".{kind}.{container}" for kind, container in product(("averaged", "binned"), ("mrc", "mrcz", "zarr"))
)
_DIRECTORY_SUFFIXES = {"stacks": ".stacks", "virtual": ".virtual"}
_OPTIONS = {suffix: option for option, suffix in PICTURE_SUFFIXES.items()} | dict.fromkeys(_VOLUME_SUFFIXES, "volume")
_OPTIONS |= {suffix: option for option, suffix in _DIRECTORY_SUFFIXES.items()}
"""The options, by what the names of their files have behind that of the movie."""


def volume_path(movie: Path, settings: Settings) -> Path | None:
    """The volume that is wanted beside a movie, if any."""
    if settings.volume is None:
        return None
    return movie.with_name(fitting(movie.stem, f".{settings.volume}.{settings.volume_format}"))


def volume_value(settings: Settings) -> str:
    """How a volume is made, for the record."""
    version = f" {settings.zarr_version}" if settings.volume_format == "zarr" else ""
    return f"{settings.volume}, {settings.volume_format}{version}"


def stacks_path(movie: Path, settings: Settings) -> Path | None:
    """The directory of the stacks that are wanted beside a movie, if any."""
    return movie.with_name(fitting(movie.stem, _DIRECTORY_SUFFIXES["stacks"])) if settings.stacks else None


def virtual_path(movie: Path, settings: Settings) -> Path | None:
    """The directory of the virtual images that are wanted beside a movie, if any."""
    return movie.with_name(fitting(movie.stem, _DIRECTORY_SUFFIXES["virtual"])) if settings.virtual else None


def _value(option: str, settings: Settings) -> object:
    """How something beside a movie is made, for the record."""
    if option == "volume":
        return volume_value(settings)
    return stacks_value(settings) if option == "stacks" else getattr(settings, option)


def stacks_value(settings: Settings) -> str:
    """How stacks are made, for the record."""
    words = [f"{settings.batch_size} images a stack"]
    words += [name for name in ("no_combine", "normalize_each", "fourier") if getattr(settings, name)]
    return ", ".join([*words, *([f"{settings.max_stacks} stacks"] if settings.max_stacks else [])])


def data_paths(movie: Path, settings: Settings) -> Mapping[str, Path]:
    """What is wanted beside a movie and may be data of others where it is there already, by the name of its option."""
    found = {
        "volume": volume_path(movie, settings),
        "stacks": stacks_path(movie, settings),
        "virtual": virtual_path(movie, settings),
    }
    return {option: path for option, path in found.items() if path}


def paths_beside(movie: Path, settings: Settings) -> Mapping[str, Path]:
    """All that is wanted beside a movie, by the name of its option."""
    return {**picture_paths(movie, settings), **data_paths(movie, settings)}


def is_directory(path: Path) -> bool:
    """Whether what is wanted under this name is a directory."""
    return path.suffix == ".zarr" or path.suffix in _DIRECTORY_SUFFIXES.values()


def recorded_as(path: Path) -> Sequence[Made | Unusable]:
    """The records that know a file, or may have: movies of one name and several formats have it together."""
    movies = (
        path.with_name(f"{path.name.removesuffix(suffix)}.{container}")
        for suffix in _OPTIONS
        if path.name.endswith(suffix)
        for container in FORMATS
    )
    return [found for movie in movies if (found := load(movie)) and knows(found, path.name)]


def knows(found: Made | Unusable, name: str) -> bool:
    """Whether a record knows a file by its name, or may have known it."""
    return isinstance(found, Unusable) or any(each.file.name == name for each in found.pictures)


def why_not_beside(movie: Path, settings: Settings, made: Made) -> str | None:
    """What is wanted beside a movie and not there as it is wanted, in words; None if nothing is.

    Args:
        movie: The movie.
        settings: What is wanted.
        made: What its record keeps.
    """
    for option, path in paths_beside(movie, settings).items():
        if path.exists():
            wanted = Artifact(option, _value(option, settings), FileStamp.of(path))
            if wanted in made.pictures or any(
                wanted in each.pictures for each in recorded_as(path) if isinstance(each, Made)
            ):
                continue
        return f"no {option.replace('_', ' ')} like this yet"
    return None


def left_beside(
    found: Made | Unusable | None,
    movie: Path,
    source: Path | None,
    settings: dict[str, object],
    sidecars: tuple[FileStamp, ...],
    made_anew: Collection[Artifact],
) -> tuple[Artifact, ...]:
    """What stays as it is beside a movie that is made anew: it stays ours, and can be replaced.

    Args:
        found: The record of the movie as it was.
        movie: The movie as it was.
        source: What it was made from; None where that is no file.
        settings: The options that will have shaped it.
        sidecars: The other files that it will have been made of.
        made_anew: What does not stay.
    """
    names = {each.file.name for each in made_anew}
    if isinstance(found, Unusable):  # it may have kept any of them
        return tuple(
            Artifact(option, None, FileStamp.of(path))
            for suffix, option in _OPTIONS.items()
            if (path := movie.with_name(fitting(movie.stem, suffix))).exists() and path.name not in names
        )
    left = [each for each in found.pictures if each.file.name not in names] if found else []
    if (
        left
        and found
        and source
        and movie.exists()
        and found.why_not_up_to_date(movie, source, settings, sidecars) is None
    ):
        return tuple(left)
    return tuple(replace(each, value=None) for each in left)


def refuse_input(source: Path, movie: Path, settings: Settings) -> None:
    """Refuse to write over the input what is wanted beside its movie.

    Raises:
        OutputError: It would be.
    """
    for path in paths_beside(movie, settings).values():
        if path.exists() and source.exists() and identity_of(path) == identity_of(source):
            raise OutputError(f"{path} is the input itself", "name another movie, or take another OUTPUT_DIR")


def data_of_others(movie: Path, settings: Settings) -> Path | None:
    """What stands where such data belong and is known to no record: data of others, maybe, that must not be lost."""
    for path in data_paths(movie, settings).values():
        if (path.exists() or path.is_symlink()) and not recorded_as(path):
            return path
    return None
