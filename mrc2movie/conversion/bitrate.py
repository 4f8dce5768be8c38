"""How coarse a movie must be for the players and the mail that it is for: found from a few of its sections.

The sections are at fixed positions, so that the quality found depends on the file and the options alone.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from mrc2movie.errors import Mrc2movieError
from mrc2movie.options.codecs import MJPG, played_bits, qualities
from mrc2movie.options.settings import Settings
from mrc2movie.picture.render import Frame
from mrc2movie.workers import Share
from mrc2movie.writers.movie import Encode, MovieWriter, Packet

_SAMPLES = 5
_RUN = 8
"""Sections that follow each other: from these it is seen what their prediction from each other saves."""
_SAMPLE_BYTES = 2**28
_MARGIN = 0.95
"""Of a bound: sections that are not in the sample may be a little larger."""
_FAR_BELOW = 0.8
"""Where one section of the sample stays below this part of what players take, the others are not looked at."""
_COARSEST = 10
"""In quality: noise is smeared here, but all features that can be seen at 90 still are. For the sake of players no
picture is made coarser."""
_GUESSES = 4
_FRAME_BYTES, _HEADER_BYTES = 40, 12_000
"""What containers need beside the packets, at most."""
_PAYS, _SMALL_ANYWAY = 0.85, 1e6
"""``--small`` saves less than it costs where its movie is larger than this part of the plain one, and that is large."""


def sampled_positions(count: int, section_bytes: int, settings: Settings) -> Sequence[int]:
    """The positions among the sections shown from which the quality is found; none where nothing depends on it.

    Args:
        count: Sections shown.
        section_bytes: Of a prepared section: those of the sample are kept in memory.
        settings: All options.
    """
    room = max(1, _SAMPLE_BYTES // section_bytes)
    if settings.small:
        length = min(_RUN, room, count)
        begin = (count - length) // 2
        return range(begin, begin + length)
    if settings.format == "avi" and settings.codec != MJPG.name:  # encoded by OpenCV as they are written
        return ()
    if not settings.max_mb and (
        "quality" in settings.given or math.isinf(played_bits(settings.codec, settings.format))
    ):
        return ()
    samples = min(_SAMPLES, room, count)
    return [(2 * sample + 1) * count // (2 * samples) for sample in range(samples)]


@dataclass(frozen=True)
class Extent:
    """How large a movie is.

    Attributes:
        peak: The most bits in any second.
        total: Bytes.
    """

    peak: float
    total: float


class Fitting:
    """Finds the quality of one movie.

    Args:
        settings: All options.
        frames: Of the movie.
        long_side: Of a frame, in pixels.
        positions: Of the sections from which the quality is found; none where nothing depends on it.
        render: Renders sections at some of these positions.
        open_with: Begins a movie with these settings beside the real one; it is given up again.
        workers: What the file uses of the threads of the run.

    Attributes:
        quality: Of the movie: the one asked for, or the best that fits.
        notes: What the user may want to know.
        warnings: What the user should know.

    Raises:
        Mrc2movieError: Not even the coarsest quality fits ``--max-mb``.
    """

    def __init__(
        self,
        settings: Settings,
        frames: int,
        long_side: int,
        positions: Sequence[int],
        render: Callable[[Sequence[int]], Sequence[Frame]],
        open_with: Callable[[Settings], MovieWriter],
        workers: Share,
    ) -> None:
        self.quality = settings.quality
        self.notes: tuple[str, ...] = ()
        self.warnings: tuple[str, ...] = ()
        self._settings = settings
        self._frames = frames
        self._long_side = long_side
        self._sample: Sequence[Frame] = ()
        self._open_with = open_with
        self._workers = workers
        self._known: dict[int, Sequence[float]] = {}
        self._off = Extent(1, 1)
        # A single picture is no stream.
        self._played = played_bits(settings.codec, settings.format) if frames > 1 else math.inf
        most_bits = math.inf if "quality" in settings.given else self._played
        self._bound = Extent(most_bits, 1e6 * settings.max_mb if settings.max_mb else math.inf)
        self._why = ""
        self._positions, self._render = positions, render
        self._has_looked_at_one = False
        if positions and not settings.small and not settings.max_mb and not math.isinf(most_bits):
            self._sample = render(positions[len(positions) // 2 :][:1])
            self._has_looked_at_one = self._estimate(self.quality).peak <= _FAR_BELOW * most_bits
        if not self._has_looked_at_one:
            self._look_at_all()

    def _look_at_all(self) -> None:
        """Render the whole sample, and lower the quality to what it asks for."""
        self._has_looked_at_one = False
        self._known.clear()
        self._sample = self._render(self._positions)
        if self._sample and self._bound != Extent(math.inf, math.inf):
            self._lower()

    def corrected(self, made: Extent, largest: Frame | None) -> bool:
        """Whether the movie must be made once more, with the quality that is found now.

        Args:
            made: What the movie has become.
            largest: The frame whose packet is the largest, where each frame has a packet of its own.
        """
        if not self._sample or (made.peak <= self._bound.peak and made.total <= self._bound.total):
            return False
        before = self.quality
        if self._has_looked_at_one:
            self._look_at_all()
            if self.quality < before:
                return True
        if largest is not None:  # no sample shows what is in it
            self._sample = (largest,)
            self._known.clear()
        self._off = Extent(1, 1)
        expected = self._estimate(self.quality)
        self._off = Extent(made.peak / expected.peak, made.total / expected.total)
        self._known.clear()
        self._lower()
        return self.quality < before

    def check(self, made: Extent) -> None:
        """Hold the finished movie against its bounds, and gather what is to be said of it.

        Raises:
            Mrc2movieError: It is larger than ``--max-mb``.
        """
        settings = self._settings
        if made.total > self._bound.total:
            raise self._too_large(made.total)
        if self.quality < settings.quality:
            said = f"quality {self.quality} instead of {settings.quality}: {self._why}"
            if self.quality < _COARSEST:
                self.warnings += (f"{said}; --max-size or --every leaves more of each picture",)
            else:
                self.notes += (said,)
        if made.peak > self._played:
            coarser = "take no --quality, " if "quality" in settings.given else ""
            self.warnings += (
                f"{in_words(made.peak)} in a second are more than the {in_words(self._played)} that common players "
                f"take: {coarser}make it slower with --fps, or smaller with --max-size",
            )
        if settings.small and self._sample:
            self._compare_with_plain(made)

    def _lower(self) -> None:
        """Lower the quality until the estimate lies within the bounds, but not too far for the sake of players.

        Raises:
            Mrc2movieError: Not even the coarsest has so few bytes.
        """
        asked = self.quality
        bound = Extent(self._bound.peak * _MARGIN, self._bound.total * _MARGIN)
        choices = qualities(self._settings.codec, self._settings.small, self.quality)
        if self._estimate(self.quality).peak > bound.peak:
            played = [quality for quality in choices if quality >= min(_COARSEST, self.quality)]
            self.quality = self._finest_played(played, bound.peak)
            self._why = (
                f"at {asked} it would have {in_words(self._estimate(asked).peak)} in a second, and common players take "
                f"{in_words(self._bound.peak)}; --quality {self._settings.quality} keeps it"
            )
        if self._estimate(self.quality).total > bound.total:
            choices = [quality for quality in choices if quality <= self.quality]
            self.quality = _finest(choices, lambda quality: self._estimate(quality).total, bound.total)
            if self._estimate(self.quality).total > self._bound.total:
                raise self._too_large(self._estimate(self.quality).total)
            self._why = (
                f"at {asked} it would have {self._estimate(asked).total / 1e6:.3g} MB, more than --max-mb "
                f"{self._settings.max_mb:g}"
            )

    def _finest_played(self, choices: Sequence[int], most: float) -> int:
        """The best quality, of ascending ones, that players take; the coarsest where none is.

        It is looked for with the largest packet of the sample alone, where each frame has one, and held against all.
        """
        if self._settings.small:
            return _finest(choices, lambda quality: self._estimate(quality).peak, most)
        sizes = self._sizes(self.quality)
        largest = [self._sample[sizes.index(max(sizes))]]

        def peak(quality: int) -> float:
            return self._peak(sizes if quality == self.quality else self._encoded(quality, largest))

        found = _finest(choices, peak, most)
        while found > choices[0] and self._estimate(found).peak > most:
            found = choices[choices.index(found) - 1]
        return found

    def _estimate(self, quality: int) -> Extent:
        sizes = self._sizes(quality)
        mean = sum(sizes) / len(sizes)
        return Extent(
            peak=self._peak(sizes),
            total=self._off.total * (self._frames * (mean + _FRAME_BYTES) + _HEADER_BYTES),
        )

    def _peak(self, sizes: Sequence[float]) -> float:
        return self._off.peak * 8 * max(sizes) * min(self._frames, math.ceil(self._settings.fps))

    def _sizes(self, quality: int) -> Sequence[float]:
        """Those of the whole sample, which is encoded once in each quality."""
        if quality not in self._known:
            self._known[quality] = self._encoded(quality, self._sample)
        return self._known[quality]

    def _encoded(self, quality: int, sample: Sequence[Frame], small: bool | None = None) -> Sequence[float]:
        """Bytes of the packets of a sample; their mean where frames are predicted from each other."""
        small = self._settings.small if small is None else small
        writer = self._open_with(replace(self._settings, quality=quality, small=small))
        try:
            packets = self._workers.map(lambda: _taking_pairs(writer.encoder()), enumerate(sample))
            if not small:
                return [packet.nbytes for packet in packets]
            for packet in packets:
                writer.write(packet)
            writer.close()
            return [writer.packet_bytes / len(sample)]
        finally:
            with suppress(Mrc2movieError):
                writer.abandon()

    def _compare_with_plain(self, made: Extent) -> None:
        sizes = self._encoded(self.quality, self._sample, small=False)
        plain = self._frames * sum(sizes) / len(sizes)
        if plain > _SMALL_ANYWAY and made.total > _PAYS * plain:
            self.notes += (
                f"--small does not pay here: {made.total / 1e6:.3g} MB, about {made.total / plain:.0%} of the plain "
                "movie, which is made faster, since noise cannot be predicted; --average or --bin takes it away",
            )

    def _too_large(self, total: float) -> Mrc2movieError:
        ratio = max(0, _MARGIN * self._bound.total - _HEADER_BYTES) / (total - _HEADER_BYTES)
        ways = [f"--max-size {max(16, int(self._long_side * (0.85 * ratio) ** 0.5) // 16 * 16)}"]
        if self._frames * ratio >= 4:
            ways.append(f"--every {math.ceil(1 / ratio)}")
        coarsest = "even at the coarsest quality " if len(self._known) > 1 else ""
        return Mrc2movieError(
            f"the movie would have {total / 1e6:.3g} MB {coarsest}and not at most --max-mb {self._settings.max_mb:g}",
            f"{' or '.join(ways)} would fit",
        )


def _finest(choices: Sequence[int], size_of: Callable[[int], float], most: float) -> int:
    """The best quality whose size is at most this; the coarsest where none has such a size.

    Sizes grow about exponentially with the quality, so that _GUESSES made from two known sizes nearly always find it:
    with JPEG four trials on average, and not seven as by halving alone.

    Args:
        choices: Ascending; the last one is too large.
        size_of: The size in a quality.
        most: The bound.
    """
    fits, fails = 0, len(choices) - 1
    off = {fails: math.log(size_of(choices[fails]) / most)}
    while fails - fits > 1:
        guess = (fits + fails) // 2
        if 2 <= len(off) < 2 + _GUESSES:
            a, b = sorted(off, key=lambda known: abs(off[known]))[:2]
            if off[a] != off[b]:
                guess = math.floor(a - off[a] * (b - a) / (off[b] - off[a]))
        guess = min(max(guess, fits + 1), fails - 1)
        off[guess] = math.log(size_of(choices[guess]) / most)
        if off[guess] <= 0:
            fits = guess
        else:
            fails = guess
    return choices[fits]


def _taking_pairs(encode: Encode) -> Callable[[tuple[int, Frame]], Packet]:
    return lambda pair: encode(pair[1], pair[0])


def in_words(bits: float) -> str:
    """A rate, such as ``48 Mbit``."""
    return f"{bits / 1e6:.3g} Mbit"
