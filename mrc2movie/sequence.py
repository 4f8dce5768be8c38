"""Which sections are shown, and in which order: numbers only."""

from collections.abc import Sequence
from fractions import Fraction

from mrc2movie.settings import Settings


def sections_shown(count: int, settings: Settings) -> Sequence[int]:
    """The sections that a movie shows, each once, in the order of their first appearance.

    Args:
        count: Number of sections of the volume.
        settings: Discards and playback.

    Returns:
        Section numbers, counted from 0 in file order; empty where the discards leave nothing.
    """
    sections: Sequence[int] = range(count)
    if settings.discard_range:
        first, end = settings.discard_range
        sections = [number for number in sections if not first <= number < end]
    if settings.discard_percentage:
        start, end = (_part(count, fraction) for fraction in settings.discard_percentage)
        sections = sections[start : count - end]
    return sections[::-1] if settings.playback == "backward" else sections


def way_back(shown: int, settings: Settings) -> Sequence[int]:
    """The positions among the sections shown that follow the last one: n-2 … 1, so that a loop is seamless."""
    return range(shown - 2, 0, -1) if settings.playback == "forward-backward" else range(0)


def _part(count: int, fraction: float) -> int:
    """Whole sections in a fraction of them: through the decimal text, since 0.29 * 100 is 28.999… in binary."""
    return int(Fraction(str(fraction)) * count)
