"""Which sections are shown, and in which order: numbers only."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from mrc2movie.readers.volume import Tilts
from mrc2movie.settings import Settings


@dataclass(frozen=True)
class Shown:
    """The sections that a movie shows.

    Attributes:
        numbers: Each once, in the order of their first appearance; counted from 0 in file order.
        notes: What the user may want to know about the order.
        warnings: What the user should know about it.
    """

    numbers: Sequence[int]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def sections_shown(count: int, settings: Settings, tilts: Tilts | None = None) -> Shown:
    """Which sections a movie shows, and in which order.

    Args:
        count: Number of sections of the volume.
        settings: Order, discards and playback.
        tilts: The tilt angle of each section, where known.

    Returns:
        The sections; none where the discards leave nothing.
    """
    shown = _in_order(count, settings, tilts)
    sections = shown.numbers
    if settings.discard_range:
        first, end = settings.discard_range
        sections = [*sections[:first], *sections[end:]]
    if settings.discard_percentage:
        start, end = (_part(count, fraction) for fraction in settings.discard_percentage)
        sections = sections[start : count - end]
    return replace(shown, numbers=sections[::-1] if settings.playback == "backward" else sections)


def _in_order(count: int, settings: Settings, tilts: Tilts | None) -> Shown:
    if settings.order == "file":
        return Shown(range(count))
    if tilts is None:
        missing = "--order tilt: no tilt angle is known for each section, so they are shown in file order"
        return Shown(range(count), warnings=(missing,) if settings.order == "tilt" else ())
    angles = tilts.degrees
    by_tilt = sorted(range(count), key=angles.__getitem__)
    if settings.order == "tilt":
        return Shown(by_tilt)
    rising = all(one <= other for one, other in pairwise(angles))
    falling = all(one >= other for one, other in pairwise(angles))
    if rising or falling or not tilts.vary:
        return Shown(range(count))
    return Shown(
        by_tilt,
        notes=(
            f"shown by tilt angle, {min(angles):g} … {max(angles):g} degrees by {tilts.origin}, since the file jumps "
            "to and fro (--order file shows it as it is)",
        ),
    )


def way_back(shown: int, settings: Settings) -> Sequence[int]:
    """The positions among the sections shown that follow the last one: n-2 … 1, so that a loop is seamless."""
    return range(shown - 2, 0, -1) if settings.playback == "forward-backward" else range(0)


def _part(count: int, fraction: float) -> int:
    """Whole sections in a fraction of them: through the decimal text, since 0.29 * 100 is 28.999… in binary."""
    return int(Fraction(str(fraction)) * count)
