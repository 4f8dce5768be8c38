"""Which sections are shown, and in which order: numbers only."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Literal, TypeAlias, overload

from mrc2movie.readers.volume import Tilts

Order: TypeAlias = Literal["auto", "file", "tilt"]
Playback: TypeAlias = Literal["forward-backward", "forward", "backward"]


@dataclass(frozen=True)
class Selection:
    """The sections that a movie shows.

    Attributes:
        kept: The sections that the discards leave, in order; counted from 0 in file order.
        places: Where in `kept` the sections shown stand, in the order of their first appearance.
        average: Each is shown as the mean of so many neighbours in `kept`.
        notes: What the user may want to know about the order.
        warnings: What the user should know about it.
    """

    kept: Sequence[int]
    places: range
    average: int = 1
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @cached_property
    def numbers(self) -> Sequence[int]:
        """The section in the middle of each mean, each once, in the order of their first appearance."""
        numbers = self.kept[:: abs(self.places.step)]
        return numbers[::-1] if self.places.step < 0 else numbers

    @property
    def rising(self) -> bool:
        """Whether the sections to be read follow each other as in the file."""
        return len(self.kept) < 2 or (self.places.step > 0 and _rises(self.kept))

    def neighbours(self, position: int) -> Sequence[int]:
        """The sections whose mean is shown at a position: fewer at the ends; of an even number one more follows."""
        wanted = self._places_of_mean(position)
        return self.kept[wanted.start : wanted.stop]

    def _places_of_mean(self, position: int) -> range:
        place = self.places[position]
        return range(max(0, place - (self.average - 1) // 2), min(len(self.kept), place + self.average // 2 + 1))

    def read(self) -> Iterable[int]:
        """The sections to be read, each once, in the order in which the means need them."""
        return self.numbers if self.average == 1 else self._read_for_means()

    def _read_for_means(self) -> Iterator[int]:
        before = range(0)
        for position in range(len(self.places)):
            wanted = self._places_of_mean(position)
            yield from (self.kept[place] for place in wanted if place not in before)
            before = wanted  # an earlier mean shares no section with a later one that this one lacks


def _rises(numbers: Sequence[int]) -> bool:
    if isinstance(numbers, range):
        return numbers.step > 0
    return numbers.rising if isinstance(numbers, _Without) else all(one <= other for one, other in pairwise(numbers))


def select_sections(
    count: int,
    tilts: Tilts | None,
    channels: int,
    *,
    order: Order,
    discard_range: tuple[int, int] | None,
    discard_percentage: tuple[float, float] | None,
    only: slice,
    every: int,
    average: int,
    playback: Playback,
) -> Selection:
    """Which sections a movie shows, and in which order.

    Args:
        count: Number of sections of the volume.
        tilts: The tilt angle of each section, where known.
        channels: So many sections that follow each other are one image.
        order: See ``--order``; so for all that follows.
        discard_range: First section that is left out, and the one after the last; negative ones count from the end.
        discard_percentage: Fractions left out at the start and at the end.
        only: The sections that are not left out.
        every: One section in so many is shown.
        average: Each is shown as the mean of so many.
        playback: Direction.

    Returns:
        The sections; none where the discards leave nothing.
    """
    ordered = _in_order(count, order, tilts, channels)
    sections = ordered.sections[only]
    if discard_range:
        first, end, _ = slice(*discard_range).indices(count)
        sections = _Without(sections, first, max(first, end)).simplified()
    if discard_percentage:
        start, end = (_part(count, fraction) for fraction in discard_percentage)
        sections = sections[start : count - end]
    places = range(0, len(sections), every)
    return Selection(
        kept=sections,
        places=places[::-1] if playback == "backward" else places,
        average=average,
        notes=ordered.notes,
        warnings=ordered.warnings,
    )


class _Without(Sequence[int]):
    """The items of a sequence without a range of them, looked up when they are wanted: a header claims any number.

    Args:
        items: The sequence.
        first: The first place that is left out.
        end: The place after the last that is left out.
        places: Which of the others, in which order; all where None.
    """

    def __init__(self, items: Sequence[int], first: int, end: int, places: range | None = None) -> None:
        self._items = items
        self._first = min(first, len(items))
        self._gap = min(end, len(items)) - self._first
        self._places = range(len(items) - self._gap) if places is None else places

    @property
    def rising(self) -> bool:
        """Whether no item is followed by a lower one."""
        return self._places.step > 0 and _rises(self._items)

    def simplified(self) -> Sequence[int]:
        """A plain slice where what is left out is at one end."""
        if not self._first:
            return self._items[self._gap :]
        return self._items[: self._first] if self._first + self._gap == len(self._items) else self

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        place = self._places[index]
        if isinstance(place, range):
            return _Without(self._items, self._first, self._first + self._gap, place)
        return self._items[place if place < self._first else place + self._gap]


class _ByChannel(Sequence[int]):
    """The sections of the first channel of all images, then those of the next one; looked up when they are wanted.

    Args:
        images: So many.
        channels: Sections of each.
        places: Which sections in that order; all where None.
    """

    def __init__(self, images: int, channels: int, places: range | None = None) -> None:
        self._images = images
        self._channels = channels
        self._places = range(images * channels) if places is None else places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        place = self._places[index]
        if isinstance(place, range):
            return _ByChannel(self._images, self._channels, place)
        channel, image = divmod(place, self._images)
        return image * self._channels + channel


@dataclass(frozen=True)
class _Ordered:
    """All sections in the order in which they are shown, and what is to be said of it."""

    sections: Sequence[int]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def _in_order(count: int, order: Order, tilts: Tilts | None, channels: int) -> _Ordered:
    if order == "file":
        return _Ordered(range(count))
    if order == "auto" and 1 < channels < count and count % channels == 0:
        what = f"{channels} channels an image: shown one channel after the other (--order file shows them as they are)"
        return _Ordered(_ByChannel(count // channels, channels), notes=(what,))
    if tilts is None:
        missing = "--order tilt: no tilt angle is known for each section, so they are shown in file order"
        return _Ordered(range(count), warnings=(missing,) if order == "tilt" else ())
    angles = tilts.degrees
    by_tilt = sorted(range(count), key=angles.__getitem__)
    if order == "tilt":
        return _Ordered(by_tilt)
    rising = all(one <= other for one, other in pairwise(angles))
    falling = all(one >= other for one, other in pairwise(angles))
    if rising or falling or not tilts.vary:
        return _Ordered(range(count))
    return _Ordered(
        by_tilt,
        notes=(
            f"shown by tilt angle, {min(angles):g} … {max(angles):g} degrees by {tilts.origin}, since the file jumps "
            "to and fro (--order file shows it as it is)",
        ),
    )


@dataclass(frozen=True)
class Timeline(Sequence[int]):
    """The position, among the sections shown, that each frame of a movie shows.

    Attributes:
        shown: Sections shown.
        back: Whether they are shown backward after that: n-2 … 1, so that a loop is seamless.
        hold: Each end is shown for so many frames more.
        cycles: All this is shown so many times.
    """

    shown: int
    back: bool = False
    hold: int = 0
    cycles: int = 1

    @cached_property
    def _cycle(self) -> int:
        """Frames of a cycle; a single section is both ends, and held once."""
        if self.shown == 1:
            return 1 + self.hold
        return self.shown + 2 * self.hold + (self.shown - 2 if self.back else 0)

    def __len__(self) -> int:
        return self.cycles * self._cycle

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        found = range(len(self))[index]
        return self._position(found) if isinstance(found, int) else [self._position(frame) for frame in found]

    def _position(self, frame: int) -> int:
        place = frame % self._cycle - self.hold
        if place < self.shown + self.hold:
            return min(max(0, place), self.shown - 1)
        return 2 * self.shown - 2 + self.hold - place

    @property
    def shows_again(self) -> bool:
        """Whether anything is shown after the last section was."""
        return self.shown > 1 and len(self) > self.shown + 2 * self.hold

    def turns(self, position: int) -> Sequence[int]:
        """Whether the frames that show a position have even numbers (0), odd ones (1), or both."""
        end = self.hold if position in (0, self.shown - 1) else 0
        first = position + (0 if position == 0 else self.hold)
        frames = [first, first + min(1, end)]
        if self.back and 0 < position < self.shown - 1:
            frames.append(2 * self.shown - 2 + 2 * self.hold - position)
        if self.cycles > 1:
            frames += [frame + self._cycle for frame in frames]
        return sorted({frame % 2 for frame in frames})


def _part(count: int, fraction: float) -> int:
    """Whole sections in a fraction of them: through the decimal text, since 0.29 * 100 is 28.999… in binary."""
    return int(Fraction(str(fraction)) * count)
