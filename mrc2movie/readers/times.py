"""When each section was taken, in seconds since the first: from clocks, from exposures, from the rate of a detector.

Formats: SerialEM's ``.mdoc`` (https://bio3d.colorado.edu/SerialEM/hlp/html/about_formats.htm), and the ``_info.txt``
that Direct Electron's cameras write beside a ``_movie.mrc``.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate

from mrc2movie.readers.metadata import Column, Metadata
from mrc2movie.readers.volume import Times, VolumeKind

CLOCK, EXPOSURE = "clock_s", "exposure_s"

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE_TIME = re.compile(r"(\d{1,4})-([A-Za-z]{3})-(\d{1,4})\s+(\d{1,2}):(\d{2}):(\d{2}(?:\.\d{1,6})?)")
_RATE = re.compile(r"^\s*Frames Per Second\s*=\s*(\d{1,6}(?:\.\d{1,6})?)\s*$", re.IGNORECASE | re.MULTILINE)


def clock_column(texts: Sequence[str]) -> Column:
    """Seconds since the earliest, from what SerialEM writes for ``DateTime``; None where one tells no time."""
    clocks = [_clock(text) for text in texts]
    first = min((clock for clock in clocks if clock is not None), default=0.0)
    return [None if clock is None else clock - first for clock in clocks]


def _clock(text: str) -> float | None:
    """Seconds, of ``30-Nov-15  15:21:38`` or ``2015-Nov-30  15:21:38``, whatever the locale."""
    found = _DATE_TIME.fullmatch(text.strip())
    if not found or found[2].lower() not in _MONTHS:
        return None
    day, year = (found[3], found[1]) if len(found[1]) == 4 else (found[1], found[3])
    month = _MONTHS.index(found[2].lower()) + 1
    try:
        date = datetime(int(year) + (2000 if len(year) == 2 else 0), month, int(day), int(found[4]), int(found[5]))
    except ValueError:
        return None
    return (date - datetime(2000, 1, 1)).total_seconds() + float(found[6])


def detector_rate(text: str) -> float | None:
    """Frames a second, of the text of an ``_info.txt``."""
    found = _RATE.search(text)
    return float(found[1]) or None if found else None


def times_of(sources: Sequence[Metadata], count: int, kind: VolumeKind) -> Times | None:
    """When each of the first so many sections was taken, by the first source that tells it of all.

    Exposures are added up only where one follows the other: a tilt series may be sorted by angle.

    Args:
        sources: What is told of the sections.
        count: How many of them there are.
        kind: What they are.
    """
    for name in (CLOCK, EXPOSURE):
        for source in sources:
            known = [value for value in source.columns.get(name, ())[:count] if value is not None]
            if len(known) < count or count < 2 or max(known) <= 0:
                continue
            if name == CLOCK and max(known) > min(known):
                return Times(tuple(known), source.origin)
            if name == EXPOSURE and kind != "tilt series" and min(known) >= 0:
                return Times(tuple(accumulate([0.0, *known[:-1]])), source.origin)
    return None
