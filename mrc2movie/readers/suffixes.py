"""What the name of a file says of its sections."""

from pathlib import Path

from mrc2movie.readers.volume import VolumeKind

_KIND_OF_SUFFIX: dict[str, VolumeKind] = {
    ".st": "tilt series",
    ".ali": "tilt series",
    ".preali": "tilt series",
    ".rec": "volume",
    ".srec": "volume",
    ".mrcs": "particle stack",
}


def kind_by_name(path: Path) -> VolumeKind | None:
    """What the sections are by one of the last two suffixes; None where these do not tell."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return next((_KIND_OF_SUFFIX[suffix] for suffix in reversed(suffixes) if suffix in _KIND_OF_SUFFIX), None)


def may_have_sidecars(path: Path) -> bool:
    """Whether files of its name beside it are about its sections.

    A tomogram shares its stem with the tilt series that it comes from: the sidecars are those of that one.
    """
    return kind_by_name(path) not in ("volume", "particle stack")


def split_name(name: str) -> tuple[str, str]:
    """The stem of a name and its suffix in lower case, as `Path` tells them, and ten times as fast."""
    stem, _, suffix = name.rpartition(".")
    return (stem, f".{suffix.lower()}") if stem and suffix else (name, "")
