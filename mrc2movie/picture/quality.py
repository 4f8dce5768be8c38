"""What is striking about the sections of a file: statistics of each in, signals in words out."""

import math
import zlib
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from mrc2movie.picture.labels import in_degrees
from mrc2movie.readers.volume import Description, Tilts

MOST_SECTIONS = 10_000
"""Of more sections nothing is kept: no tilt series or tomogram has as many."""

SignalKind: TypeAlias = Literal[
    "not finite", "constant", "alike", "darker", "brighter", "jump", "missing tilts", "tilt gap"
]

_ROWS = 16
_VOXELS = 4096
"""The mean and the deviation of a section come from regular rows: at least so many rows and voxels, or all there are.
That costs about 1 % of a conversion, for sections of any size; noise makes the mean wrong by 2 % of the deviation."""

_HASHED_ROWS = 4
_HASHED_BYTES = 2048
"""The fingerprint comes from at least so many of these rows, and so many bytes in the middle of each. For more than
5 KiB, zlib lets other threads run Python, and then waits longer for its turn than it has worked."""

_TIMES = 3.0
_MUCH = 0.4
_DEVIATIONS = 0.75
_STANDARD_ERRORS = 20.0
"""A section is much darker or brighter where its mean is off the median of its four nearest neighbours by _TIMES their
spread and another margin: _MUCH of the logarithm (a third darker, a half brighter) where means are brightnesses, else
_DEVIATIONS. The logarithm makes the darkening of a tilted slab, exp(-thickness / cos), nearly linear. What chance does
in a small section is within _STANDARD_ERRORS of the mean. A jump is a step so much larger than those nearest."""

_NEIGHBOURS = 4
_PLACES = (-2, -1, 1, 2)
_FEWEST = 4
_GAP = 1.7
"""A gap is a tilt step so many times as large as the steps beside it, which differ by less where tilts follow the
cosine."""

_UNRELATED = ("particle stack", "volume stack", "transform", "scan")
"""Their sections are no neighbours."""

_NAMED = 12


@dataclass(frozen=True)
class Signal:
    """Something that people should look at.

    Attributes:
        kind: What it is, in a word or two.
        sections: Those that it is about, counted from 0 in file order; none where it is about those that are missing.
        text: What it is, in words, with section numbers and tilts.
    """

    kind: SignalKind
    sections: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class SectionFacts:
    """What regular rows show of a section.

    Attributes:
        mean: Of their finite voxels; NaN where there is none.
        deviation: The standard deviation of these.
        voxels: The number of voxels in these rows.
        fingerprint: Equal where the rows are; where it differs, they do.
    """

    mean: float
    deviation: float
    voxels: int
    fingerprint: int


def section_facts(section: NDArray[np.generic], all_finite: bool) -> SectionFacts:
    """What regular rows show of a section.

    Args:
        section: (y, x) of any real native dtype, or (y, x, 3) in colour.
        all_finite: Whether every voxel is known to be finite.
    """
    step = max(1, min(len(section) // _ROWS, section.size // _VOXELS))
    rows = section[::step]
    fingerprint = 0
    left = max(0, rows[0].size - _HASHED_BYTES // rows.itemsize) // 2
    middle = slice(left, left + _HASHED_BYTES // rows.itemsize)
    for row in rows[:: max(1, len(rows) // _HASHED_ROWS)]:
        fingerprint = zlib.crc32(row.ravel()[middle].data, fingerprint)
    values: NDArray[Any] = rows if rows.ndim == 2 else rows.reshape(1, -1)
    if values.dtype not in (np.uint8, np.int8, np.uint16, np.int16):
        values = values.astype(np.result_type(values.dtype, np.float32), copy=False)
    if not all_finite:
        values = values[np.isfinite(values)].reshape(1, -1)
    if not values.size:
        return SectionFacts(math.nan, math.nan, rows.size, fingerprint)
    mean, deviation = np.empty((1, 1)), np.empty((1, 1))
    cv2.meanStdDev(values, mean, deviation)
    return SectionFacts(float(mean[0, 0]), float(deviation[0, 0]), rows.size, fingerprint)


@dataclass
class SectionTable:
    """What the measuring pass keeps of each section, in the order shown: eight bytes a number."""

    mean: "array[float]" = field(default_factory=lambda: array("d"))
    deviation: "array[float]" = field(default_factory=lambda: array("d"))
    minimum: "array[float]" = field(default_factory=lambda: array("d"))
    maximum: "array[float]" = field(default_factory=lambda: array("d"))
    nonfinite: "array[int]" = field(default_factory=lambda: array("q"))
    fingerprint: "array[int]" = field(default_factory=lambda: array("q"))
    voxels: int = 0

    def add(self, facts: SectionFacts, minimum: float, maximum: float, nonfinite: int, mean: float | None) -> None:
        """Add the next section.

        Args:
            facts: What its rows show.
            minimum: Its exact smallest finite value; +inf where no value is finite.
            maximum: Its exact largest finite value; -inf where no value is finite.
            nonfinite: Number of its NaN and infinite voxels.
            mean: Its exact mean, where known.
        """
        self.mean.append(facts.mean if mean is None else mean)
        self.deviation.append(facts.deviation)
        self.minimum.append(minimum)
        self.maximum.append(maximum)
        self.nonfinite.append(nonfinite)
        self.fingerprint.append(facts.fingerprint)
        self.voxels = facts.voxels

    def __len__(self) -> int:
        return len(self.mean)

    def is_constant(self, position: int) -> bool:
        """Whether a section has finite voxels that are all alike, and no other."""
        alike = self.minimum[position] == self.maximum[position] and not self.nonfinite[position]
        return alike and self.voxels > 1

    def maybe_alike(self) -> frozenset[int]:
        """The positions whose sections may exactly equal that at another, constant ones left out."""
        found: defaultdict[tuple[float, float, int], list[int]] = defaultdict(list)
        for position, key in enumerate(zip(self.minimum, self.maximum, self.fingerprint, strict=True)):
            if not self.is_constant(position):
                found[key].append(position)
        return frozenset(position for positions in found.values() if len(positions) > 1 for position in positions)


def signals(
    table: SectionTable, numbers: Sequence[int], alike: Iterable[Sequence[int]], description: Description
) -> tuple[Signal, ...]:
    """What is striking about the sections shown, and about the tilts of the file.

    Args:
        table: What was measured of them; empty where there are too many.
        numbers: Their numbers, counted from 0 in file order.
        alike: Groups of positions whose sections are exactly equal.
        description: Of the volume.
    """
    names = _Names(numbers, description.tilts)
    positions = range(len(table))
    found = [
        names.signal("not finite", [p for p in positions if table.nonfinite[p]], "NaN or infinite voxels in {}"),
        names.signal("constant", [p for p in positions if table.is_constant(p)], "no two voxels differ in {}"),
    ]
    for group in [run for equal in alike for run in _neighbours(equal, numbers)]:
        text = f"all {len(group)} sections are exactly equal" if len(group) == len(table) else "exactly equal are {}"
        found.append(names.signal("alike", group, text))
    if description.kind not in _UNRELATED:
        found += _of_brightness(table, names, description.tilts)
    return *filter(None, found), *tilt_signals(description)


def rounded(values: Iterable[float]) -> tuple[float | None, ...]:
    """Numbers as the record keeps them, to six digits; None for NaN."""
    return tuple(None if math.isnan(value) else float(f"{value:.6g}") for value in values)


def tilts_of(description: Description, numbers: Sequence[int]) -> Iterator[float]:
    """The tilt angles of these sections; none where they are not known, were not tilted, or are too many."""
    if description.tilts and description.tilts.vary and len(numbers) <= MOST_SECTIONS:
        yield from (description.tilts.degrees[number] for number in numbers)


def tilt_signals(description: Description) -> tuple[Signal, ...]:
    """What the head of a file and its sidecars show: tilts that are missing."""
    count, tilts, found = description.shape[0], description.tilts, []
    for listed in description.other_tilts:
        text = f"{listed.origin} lists {len(listed.degrees)} tilts, the file has {count} sections, so it is not used"
        if tilts and (missing := _missing(listed.degrees, tilts.degrees)):
            text += f": none at {_some([in_degrees(angle) for angle in missing])}"
        found.append(Signal("missing tilts", (), text))
    if tilts and tilts.vary:
        by_tilt = sorted(range(count), key=tilts.degrees.__getitem__)
        angles = [tilts.degrees[number] for number in by_tilt]
        steps = np.diff(angles)
        for place, beside in enumerate(_nearest(steps)):
            usual = float(_median(beside)) if len(beside) == _NEIGHBOURS else math.inf
            if steps[place] > _GAP * max(usual, _SMALLEST_STEP):
                low, high = in_degrees(angles[place]), in_degrees(angles[place + 1])
                text = f"no tilt between {low} and {high}, where they are {usual:.3g}° apart"
                found.append(Signal("tilt gap", (by_tilt[place], by_tilt[place + 1]), text))
    return tuple(found)


_SMALLEST_STEP = 0.5
"""Degrees; a stage is no more precise, and an angle may occur twice."""


def in_one_line(found: Sequence[Signal]) -> tuple[str, ...]:
    """The warning that tells all signals of a file; none where there is no signal."""
    return (f"quality: {_some([signal.text for signal in found], '; ')}",) if found else ()


@dataclass(frozen=True)
class _Names:
    """Sections as people know them.

    Attributes:
        numbers: Of the sections shown.
        tilts: Of all sections, where known.
    """

    numbers: Sequence[int]
    tilts: Tilts | None

    def name(self, position: int) -> str:
        number = self.numbers[position]
        return f"{number} ({in_degrees(self.tilts.degrees[number])})" if self.tilts else str(number)

    def signal(self, kind: SignalKind, positions: Sequence[int], text: str) -> Signal | None:
        """A signal about these sections, if there are any; the braces in the text become their names."""
        if not positions:
            return None
        ordered = sorted(positions, key=lambda position: self.numbers[position])
        names = _some([self.name(position) for position in ordered])
        named = f"section{'s' if len(ordered) > 1 else ''} {names}"
        return Signal(kind, tuple(self.numbers[position] for position in ordered), text.format(named))


def _neighbours(positions: Sequence[int], numbers: Sequence[int]) -> list[list[int]]:
    """The positions in groups that are neighbours as shown or in the file: those of a crystal repeat further off."""
    runs: list[list[int]] = []
    for position in sorted(positions, key=numbers.__getitem__):
        last = runs[-1][-1] if runs else None
        if last is not None and 1 in (abs(position - last), abs(numbers[position] - numbers[last])):
            runs[-1].append(position)
        else:
            runs.append([position])
    return [run for run in runs if len(run) > 1]


def _some(words: Sequence[str], between: str = ", ") -> str:
    """The words; where they are many, the first, and how many there are."""
    if len(words) <= _NAMED:
        return between.join(words)
    return between.join([*words[:_NAMED], f"… ({len(words)} in all)"])


def _of_brightness(table: SectionTable, names: _Names, tilts: Tilts | None) -> list[Signal | None]:
    """Sections much darker or brighter than their neighbours by tilt, or else as shown, and jumps of the mean."""
    order = [p for p in range(len(table)) if not table.is_constant(p) and math.isfinite(table.mean[p])]
    if len(order) < _FEWEST:
        return []
    if tilts and tilts.vary:
        order.sort(key=lambda position: tilts.degrees[names.numbers[position]])
    means = np.array([table.mean[p] for p in order])
    deviation = float(_median(np.array([table.deviation[p] for p in order])))
    chance = _STANDARD_ERRORS * deviation / math.sqrt(table.voxels)
    middle = float(_median(means))
    if min(table.minimum[p] for p in order) >= 0 or middle > 2 * deviation:
        values, margin = np.log(means.clip(max(middle, means.max() / 100) / 100)), _MUCH
    else:
        values, margin = means, _DEVIATIONS * deviation
    beside = _nearest(values)
    far = np.abs(values - _median(beside)) > margin
    far &= np.abs(means - _median(_nearest(means))) > chance
    apart = [_apart(values, place, beside[place], margin) if far[place] else 0 for place in range(len(order))]
    darker = [position for position, sign in zip(order, apart, strict=True) if sign < 0]
    brighter = [position for position, sign in zip(order, apart, strict=True) if sign > 0]
    found = [
        names.signal("darker", darker, "much darker than neighbours: {}"),
        names.signal("brighter", brighter, "much brighter than neighbours: {}"),
    ]
    usual = [place for place, sign in enumerate(apart) if not sign]
    steps = np.abs(np.diff(values[usual]))
    beside = _nearest(steps)
    for place in np.flatnonzero((steps > margin) & (np.abs(np.diff(means[usual])) > chance)):
        others = _without_farthest(beside[place])
        if others.size and steps[place] > _TIMES * others.max() + margin:
            before, after = usual[place : place + 2]
            text = f"the mean jumps from {means[before]:.4g} to {means[after]:.4g} between "
            first, second = order[before], order[after]
            sections = names.numbers[first], names.numbers[second]
            found.append(Signal("jump", sections, f"{text}sections {names.name(first)} and {names.name(second)}"))
    return found


def _apart(values: NDArray[np.float64], place: int, beside: NDArray[np.float64], margin: float) -> int:
    """1 or -1 for a value far above or below those nearest to it, else 0."""
    if _NEIGHBOURS // 2 <= place < len(values) - _NEIGHBOURS // 2:
        points = zip(_PLACES, beside, strict=True)
        # Of the six slopes between four values, three are right even where one of these is striking itself.
        slopes = [(high - low) / (to - at) for (at, low), (to, high) in combinations(points, 2)]
        beside = beside - np.multiply(_PLACES, sorted(slopes, key=abs)[2])
    beside = _without_farthest(beside)
    off = float(values[place] - _median(beside))
    return int(math.copysign(1, off)) if abs(off) > _TIMES * np.ptp(beside) + margin else 0


def _median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Along the last axis; that of NumPy imports its masked arrays, which takes 10 ms."""
    middle = (values.shape[-1] - 1) // 2, values.shape[-1] // 2
    return np.asarray(np.sort(values)[..., middle].mean(axis=-1))


def _nearest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The _NEIGHBOURS values nearest to each, without its own, (n, 4); fewer where there are no more."""
    places, width = np.arange(len(values)), min(_NEIGHBOURS + 1, len(values))
    around = np.clip(places - _NEIGHBOURS // 2, 0, len(values) - width)[:, None] + np.arange(width)
    beside: NDArray[np.float64] = values[around[around != places[:, None]]].reshape(len(values), max(0, width - 1))
    return beside


def _without_farthest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without the one farthest from the median, where that leaves three: a neighbour may be striking itself."""
    if len(values) < _NEIGHBOURS:
        return values
    return np.delete(values, np.abs(values - _median(values)).argmax())


def _missing(listed: Sequence[float], there: Sequence[float]) -> list[float]:
    """The angles of a list that are not among those that are there."""
    return [angle for angle in listed if min(abs(angle - other) for other in there) > _SMALLEST_STEP]
