"""What the page shows of each movie: the records of a directory become cards, as JSON has them."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import fsencode
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from mrc2movie.options.settings import as_typed
from mrc2movie.store.claim import RECORD_DIRECTORY
from mrc2movie.store.files import directories_below, entries_of
from mrc2movie.store.names import printable
from mrc2movie.writers.record import record_path
from mrc2movie.writers.sheet import page_picture_paths, positions_in_sheet

Numbers: TypeAlias = NDArray[np.float64]
"""(n,), NaN for those that are not known."""

_PLOTTED = 240
"""Points of a curve at most: no plot on the page is much wider."""
_UNKNOWN = 255
"""The level of a point without a value; others go from 0 to 254."""
_TOP_BY_MEDIAN = 3.0
_LONGEST_TEXT, _MOST_TEXTS = 1000, 20
"""So much text of a kind comes from a record into the page: what mrc2movie writes is shorter."""
_LARGEST_RECORD = 64 * 2**20
"""Bytes; a record of 10,000 sections with all that a header can tell has a tenth of them."""


@dataclass(frozen=True)
class Failure:
    """An input of which no movie was made.

    Attributes:
        source: The input.
        movie: What it would have become.
        why: In a line.
    """

    source: Path
    movie: Path
    why: str


@dataclass(frozen=True)
class _Card:
    """A card, and what it was made from.

    Attributes:
        stamp: Equal as long as the record does not change.
        movie: The movie.
        text: The card as JSON has it.
    """

    stamp: tuple[int, int]
    movie: Path
    text: str


@dataclass(frozen=True)
class _Listed:
    """The records of a directory as they were found.

    Attributes:
        stamp: Equal as long as no movie and no record comes, goes or changes.
        cards: By the paths of the records.
        gone: The movies that are not there although their records are.
    """

    stamp: tuple[int, int]
    cards: Mapping[Path, _Card]
    gone: frozenset[Path]


class Cards:
    """The cards of all records of a directory; a record that has not changed is not read again.

    Args:
        directory: Where the movies are.
        recursive: Whether those of the directories below belong to it.
    """

    def __init__(self, directory: Path, recursive: bool) -> None:
        self._directory = directory
        self._recursive = recursive
        self._listed: dict[Path, _Listed] = {}

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(len(listed.cards) for listed in self._listed.values())

    def read(self, thorough: bool = True) -> bool:
        """Read what is new; whether anything has come, gone or changed since the last time.

        Args:
            thorough: Whether to look into directories, too, that say themselves that nothing has changed in them: the
                clocks of file systems are coarse.
        """
        before, self._listed = self._listed, {}
        for directory in directories_below(self._directory) if self._recursive else [self._directory]:
            with suppress(OSError):  # no movie is in it, or it vanishes just now
                records = directory / RECORD_DIRECTORY
                stamp = directory.stat().st_mtime_ns, records.stat().st_mtime_ns
                known = before.get(directory)
                if known is None or known.stamp != stamp or thorough:
                    known = self._list(directory, stamp, known.cards if known else {})
                self._listed[directory] = known
        return _shown(before) != _shown(self._listed)

    @property
    def directories(self) -> Iterable[Path]:
        """Those that have records."""
        return self._listed.keys()

    def _list(self, directory: Path, stamp: tuple[int, int], known: Mapping[Path, _Card]) -> _Listed:
        there = {entry.name for entry in entries_of(directory)}
        cards: dict[Path, _Card] = {}
        for entry in entries_of(directory / RECORD_DIRECTORY):
            if entry.name.endswith(".json") and entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                path, found = Path(entry.path), (status.st_mtime_ns, status.st_size)
                card = known.get(path)
                cards[path] = card if card and card.stamp == found else self._read(path, found)
        gone = frozenset(card.movie for card in cards.values() if card.movie.name not in there)
        return _Listed(stamp, cards, gone)

    def in_json(self, failures: Sequence[Failure]) -> Iterator[str]:
        """The cards and the failures, in pieces of the JSON text that the script of the page reads."""
        yield '{"cards":['
        yield ",\n".join(card.text for listed in self._listed.values() for card in listed.cards.values())
        failed = {
            self._key(failure.movie): {
                "source": str(failure.source),
                "name": printable(failure.source.name),
                "why": _text(failure.why),
            }
            for failure in failures
        }
        gone = [self._key(movie) for listed in self._listed.values() for movie in listed.gone]
        yield f'],"gone":{json.dumps(sorted(gone))},"failures":{json.dumps(failed)}}}'

    def _key(self, movie: Path) -> str:
        """By what the page knows a movie: its path from the directory of the page."""
        return movie.relative_to(self._directory).as_posix()

    def _read(self, path: Path, stamp: tuple[int, int]) -> _Card:
        movie = path.parent.parent / path.name.removesuffix(".json")
        facts: Mapping[str, object] = {"warnings": ["its record cannot be read"]}
        try:
            kept = json.loads(path.read_bytes()) if stamp[1] <= _LARGEST_RECORD else None
            if isinstance(kept, dict):
                name = _of(kept, "movie", "name")
                if isinstance(name, str) and Path(name).name == name and record_path(movie.with_name(name)) == path:
                    movie = movie.with_name(name)  # a long name is not whole in that of the record
                    facts = _facts(kept, movie)
        except (OSError, ValueError, RecursionError):
            pass
        key = self._key(movie)
        beside = key[: len(key) - len(movie.name)]
        pictures = {
            name: _address(f"{beside}{RECORD_DIRECTORY}/{picture.name}", facts[name])
            for name, picture in page_picture_paths(movie).items()
            if name in facts
        }
        card = {
            "key": key,
            "href": _address(key, facts.get("made")),
            "name": printable(movie.name),
            **facts,
            **pictures,
        }
        return _Card(stamp, movie, json.dumps(card, separators=(",", ":")))


def _shown(listed: Mapping[Path, _Listed]) -> object:
    return {directory: (each.cards, each.gone) for directory, each in listed.items()}


def _address(path: str, version: object) -> str:
    """A path in an address; with the time of the file, so that no browser shows what it has kept of an earlier one."""
    return quote(fsencode(path)) + (f"?{version}" if version else "")


def _facts(kept: Mapping[str, object], movie: Path) -> dict[str, object]:
    """What a card shows, of what a record has; whatever is not as it should be is left out."""
    shown = kept.get("sections")
    numbers = shown if isinstance(shown, list) else []
    count = len(numbers) or _whole(_of(shown, "count")) or 0
    tilts = _numbers(kept.get("section_tilts"))
    paths = kept.get("source_paths")
    source = paths[0] if isinstance(paths, list) and paths and isinstance(paths[0], str) else None
    name = (source and Path(source).name) or _of(kept, "source", "name")
    signals = [signal for signal in _list(kept.get("signals")) if isinstance(signal, dict)]
    doses = _numbers(_of(kept, "header", "sections", "dose_e_per_A2"))
    settings = kept.get("settings")
    made = _whole(_of(kept, "movie", "mtime_ns"))
    facts: dict[str, object | None] = {
        "name": _text(name),
        "source": source,
        "kind": _text(kept.get("kind")),
        "shape": [*map(_whole, _list(kept.get("shape"))[:3])],
        "voxel": [*map(_rounded, _numbers(kept.get("voxel_size_A"))[:3].tolist())],
        "tilts": _ends(tilts),
        "dose": _ends(doses[doses > 0]),
        "defocus": _rounded(_number(kept.get("defocus_um"))),
        "greys": [*map(_rounded, _numbers(kept.get("grey_range"))[:2].tolist())],
        "shown": count,
        "frames": [_number(_of(kept, "frames", side)) for side in ("frames", "width", "height", "fps")],
        "codec": _text(_of(settings, "codec")),
        "preset": _text(kept.get("preset")),
        "options": _text(as_typed(settings)) if isinstance(settings, dict) else None,
        "version": _text(kept.get("version")),
        "bytes": _whole(_of(kept, "movie", "size")),
        "made": made and made // 10**9,
        # What the signals tell is told by a warning, too.
        "warnings": [text for text in _texts(kept.get("warnings")) if not (signals and text.startswith("quality: "))],
        "notes": _texts(kept.get("notes")),
        "signals": _texts([signal.get("text") for signal in signals]),
        "striking": _positions(signals, numbers),
        "means": _curve(_numbers(kept.get("section_means"))),
        "contrast": _curve_from_zero(_numbers(kept.get("section_deviations"))),
    }
    for picture in _list(kept.get("pictures")):
        value, option = _whole(_of(picture, "value")), _of(picture, "option")
        # One without a value shows what the movie no longer does.
        if value and isinstance(option, str) and option in page_picture_paths(movie):
            facts[option] = (_whole(_of(picture, "file", "mtime_ns")) or 0) // 10**6
            if option == "sheet" and 0 < value <= _PLOTTED and count:
                cells = positions_in_sheet(count, value)
                facts["cells"] = [
                    [_whole(_at(numbers, position)), _rounded(_number(_at(tilts.tolist(), position))), position]
                    for position in cells
                ]
    return {name: value for name, value in facts.items() if value not in (None, [], "")}


def _of(kept: object, *names: str) -> object:
    """What is under these names, one below the other; None where nothing is."""
    for name in names:
        kept = kept.get(name) if isinstance(kept, dict) else None
    return kept


def _list(found: object) -> list[object]:
    return found if isinstance(found, list) else []


def _number(found: object) -> float | None:
    try:
        value = float(found) if isinstance(found, (int, float)) and not isinstance(found, bool) else math.nan
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def _numbers(found: object) -> Numbers:
    """A list of numbers as float64, NaN for what is none or not finite; empty where it is no such list."""
    try:
        values = np.array(found if isinstance(found, list) else [], np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError):
        values = np.empty(0)
    return np.where(np.isfinite(values), values, np.nan) if values.ndim == 1 else np.empty(0)


def _whole(found: object) -> int | None:
    value = _number(found)
    return None if value is None or abs(value) > 2**63 else int(value)


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(f"{value:.5g}")


def _text(found: object) -> str | None:
    return printable(found[:_LONGEST_TEXT]) if isinstance(found, str) else None


def _texts(found: object) -> list[str]:
    return [text for text in map(_text, _list(found)[:_MOST_TEXTS]) if text]


def _at(values: Sequence[object], position: int) -> object:
    return values[position] if position < len(values) else None


def _ends(values: Numbers) -> list[float | None] | None:
    known = values[~np.isnan(values)]
    return [_rounded(known.min()), _rounded(known.max())] if known.size else None


def _positions(signals: Sequence[Mapping[str, object]], numbers: Sequence[object]) -> list[int]:
    """Where among the sections shown those are that signals are about."""
    striking = {number for signal in signals for number in map(_whole, _list(signal.get("sections")))}
    if not striking:
        return []
    return [position for position, number in enumerate(numbers) if _whole(number) in striking][:_PLOTTED]


def _curve(values: Numbers) -> dict[str, object] | None:
    """The means of sections to be plotted: from their lowest to their highest."""
    known = values[~np.isnan(values)]
    return _plotted(values, known.min(), known.max()) if known.size else None


def _curve_from_zero(values: Numbers) -> dict[str, object] | None:
    """Standard deviations to be plotted: hot pixels make some so high that the others could not be seen beside them."""
    known = np.sort(values[~np.isnan(values)])
    if not known.size:
        return None
    high = min(known[-1], _TOP_BY_MEDIAN * known[len(known) // 2]) or known[-1]
    return {**_plotted(values, 0.0, high), "most": _rounded(known[-1])}


def _plotted(values: Numbers, low: float, high: float) -> dict[str, object]:
    """Two hexadecimal digits a point between the lowest and the highest value that a plot shows."""
    span = high / 2 - low / 2  # what is near the largest number there is has no difference
    share = ((_thinned(values) / 2 - low / 2) / span).clip(0, 1) if span > 0 else 0 * _thinned(values)
    levels = np.where(np.isnan(share), _UNKNOWN, np.rint(share * (_UNKNOWN - 1))).astype(np.uint8)
    return {"low": _rounded(low), "high": _rounded(high), "levels": levels.tobytes().hex()}


def _thinned(values: Numbers) -> Numbers:
    """At most _PLOTTED values: of each stretch the lowest and the highest, so that none that strikes is lost."""
    if len(values) <= _PLOTTED:
        return values
    begins = np.arange(_PLOTTED // 2) * len(values) // (_PLOTTED // 2)
    ends = np.fmin.reduceat(values, begins), np.fmax.reduceat(values, begins)  # which leave NaN out
    return np.stack(ends, axis=1).ravel()
