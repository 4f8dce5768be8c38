"""What options take: from text, or from a value given through the API, to the valid value."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mrc2movie.options.codecs import CODECS, OTHER_NAMES
from mrc2movie.options.grey_rule import GreyRule

GREY_RULES = ("auto", "minmax", "percentile:P,Q", "sigma:K", "mad:K")
LABELS = ("tilt", "section", "depth", "time", "name")
POINT_UNITS = ("auto", "voxels", "angstrom", "centred-voxels", "centred-angstrom", "zyx")
THUMBNAIL_SIZE = 300
WATCH_SECONDS = 60
MOST_SECONDS = 10_000_000


def nearest(typed: str, words: Mapping[str, str]) -> str | None:
    """What is meant by the word that is most like a misspelled one; None where none is like it."""
    from difflib import get_close_matches  # only where something is misspelled

    lower = {word.lower(): meant for word, meant in words.items()}
    found = get_close_matches(typed.lower(), lower, 1)
    return lower[found[0]] if found else None


@dataclass(frozen=True)
class Kind:
    """What an option takes.

    Args:
        parse: From text, or from a value given through the API, to the valid value; ValueError for any other.
        allowed: What is allowed, in words.
        metavar: How the help shows the value; a tuple where the option takes several words, empty for a flag.
        alone: What the option means without a value; None where it needs one.
        words: What may be typed, and what is meant by it: for suggestions and completion.
    """

    parse: Callable[[Any], object]
    allowed: str
    metavar: str | tuple[str, ...]
    alone: str | None = None
    words: Mapping[str, str] = field(default_factory=dict)

    def nearest(self, value: object) -> str | None:
        """The word that was probably meant, if any."""
        return nearest(str(value), self.words)


def number(number: type[int] | type[float], low: float, high: float, metavar: str) -> Kind:
    """A number between two bounds, both allowed."""

    def parse(value: Any) -> object:
        parsed = number(value)
        if (isinstance(value, (int, float)) and parsed != value) or not low <= parsed <= high:
            raise ValueError(value)
        return parsed

    word = "a whole number" if number is int else "a number"
    return Kind(parse, f"{word} from {low:g} to {high:g}", metavar)


def choice(*choices: str) -> Kind:
    """One of some words."""

    def parse(value: Any) -> object:
        word = str(value)  # TOML has numbers: 0.5
        if word not in choices:
            raise ValueError(value)
        return word

    return Kind(parse, "one of " + ", ".join(choices), "|".join(choices), words={word: word for word in choices})


def text(metavar: str, allowed: str = "a text that is not empty", pattern: str = r"(?s).+") -> Kind:
    """A text of a pattern."""

    def parse(value: Any) -> object:
        text = str(value)
        if not re.fullmatch(pattern, text):
            raise ValueError(value)
        return text

    return Kind(parse, allowed, metavar)


def http_url(value: Any) -> object:
    """An address of a server, without a password: the command line and the log are no place for one."""
    parts = urlsplit(str(value))
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.port == 0:
        raise ValueError(value)
    if not str(value).isascii() or any(character.isspace() or not character.isprintable() for character in str(value)):
        raise ValueError(value)
    return str(value)


def flag() -> Kind:
    """On or off."""

    def parse(value: Any) -> object:
        if not isinstance(value, bool):
            raise ValueError(value)
        return value

    return Kind(parse, "True or False", ())


def _pair(value: Any, kind: Kind) -> tuple[Any, Any]:
    if isinstance(value, str):  # would pass for a sequence of letters
        raise TypeError(value)
    first, second = (kind.parse(number) for number in value)
    return first, second


def section_range(value: Any) -> object:
    """(first, end) of a range of sections; a negative one counts from behind the last section, as in Python."""
    first, end = _pair(value, number(int, -(2**31), 2**31, ""))
    if end == 0 or ((first < 0) == (end < 0) and first >= end):
        raise ValueError(value)
    return first, end


def positions(value: Any) -> object:
    """(columns, rows) of a scan."""
    return _pair(value, number(int, 1, 65535, ""))


_SLICE = re.compile(r"(-?\d{1,10})?:(-?\d{1,10})?")


def section_slice(value: Any) -> object:
    """A text ``A:B`` that `slice_of` takes, in which either number may be missing."""
    text = str(value)
    bounds = slice_of(text)
    if bounds.start is not None and bounds.stop is not None:
        section_range((bounds.start, bounds.stop))
    return text


def slice_of(text: str) -> slice:
    """The slice that ``A:B`` means in Python; ValueError for any other text."""
    if not (found := _SLICE.fullmatch(text)):
        raise ValueError(text)
    return slice(*(int(bound) if bound else None for bound in found.groups()))


def end_fractions(value: Any) -> object:
    """Fractions (at the start, at the end)."""
    start, end = _pair(value, number(float, 0, 1, ""))
    if start + end >= 1:
        raise ValueError(value)
    return start, end


def crop(value: Any) -> object:
    """(x, y, width, height) of a rectangle of voxels."""
    if isinstance(value, str):  # would pass for a sequence of digits
        raise TypeError(value)
    x, y, width, height = (number(int, 0, 2**24, "").parse(each) for each in value)
    if not (width and height):
        raise ValueError(value)
    return x, y, width, height


def codec(value: Any) -> object:
    """The name of a codec, or a FourCC, in upper case."""
    code = str(value).upper()
    if code in OTHER_NAMES or (code not in CODECS and not re.fullmatch(r"[0-9A-Z]{3}[0-9A-Z ]", code)):
        raise ValueError(value)
    return code


def grey_rule(value: Any) -> object:
    """A text that `GreyRule` parses."""
    GreyRule.parse(str(value))
    return str(value)


def labels(value: Any) -> object:
    """Names of labels, with commas between; None for ``none``."""
    names = value.split(",") if isinstance(value, str) else list(value)
    if names == ["none"]:
        return None
    if not names or len(set(names)) < len(names) or not set(names) <= set(LABELS):
        raise ValueError(value)
    return ",".join(names)


def point_unit(value: Any) -> object:
    """What coordinates of points count: a word, or the size of a pixel in Å as text."""
    return value if value in POINT_UNITS else f"{number(float, 1e-3, 1e6, '').parse(value):g}"


def thumbnail(value: Any) -> object:
    """The long side of a thumbnail in pixels."""
    return THUMBNAIL_SIZE if value is True else number(int, 16, 4096, "").parse(value)


def watch(value: Any) -> object:
    """For how many seconds a file must not have changed."""
    return float(WATCH_SECONDS) if value is True else number(float, 0.1, MOST_SECONDS, "").parse(value)


def shard(value: Any) -> object:
    """``I/N``, which of so many shares, counted from 1; or ``slurm``."""
    text = str(value)
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if text != "slurm" and not (found and 1 <= int(found[1]) <= int(found[2])):
        raise ValueError(value)
    return text
