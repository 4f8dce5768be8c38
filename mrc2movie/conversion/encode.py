"""The second pass: every section rendered once, and each product made of it, the movie first of all."""

import threading
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from mrc2movie.conversion.bitrate import Extent, Fitting
from mrc2movie.conversion.sections import PreparedSections
from mrc2movie.conversion.stopwatch import Stopwatch
from mrc2movie.picture.labels import Labels, Pen
from mrc2movie.picture.render import Frame, Renderer, RenderOptions
from mrc2movie.picture.selection import Timeline
from mrc2movie.readers.volume import Section
from mrc2movie.store.claim import Claim
from mrc2movie.store.files import flush_to_disk
from mrc2movie.store.spool import PacketSpool
from mrc2movie.workers import Share
from mrc2movie.writers.movie import MovieFacts, MovieWriter, Packet
from mrc2movie.writers.product import Part, Product, Work

_LARGE = 2**20
"""Values of a frame. To decode a larger one takes longer than to open a movie: both ends are verified in parallel."""


def make(products: Sequence[Product], sections: PreparedSections, options: RenderOptions) -> None:
    """Make the products in one pass: every section is rendered once, and each product works on it in turn.

    Raises:
        OutputError: A product cannot be written.
    """

    def make_worker() -> Callable[[int, Section], Sequence[Part]]:
        render = Renderer(options)
        workers = [product.worker() for product in products]

        def work(position: int, section: Section) -> Sequence[Part]:
            with sections.watch.stage("contrast"):
                frame = render(section, position)
            return [worker(position, section, frame) for worker in workers]

        return work

    with _abandoned_on_any_exit(products):
        before = [options.layout.follow()] if options.layout else []
        for parts in sections.each("converting", make_worker, *before):
            for product, part in zip(products, parts, strict=True):
                product.take(part)
        for product in products:
            product.finish()


def make_movie(
    movie_of: Callable[[int], "Movie"],
    fitting: Fitting,
    others: Sequence[Product],
    sections: PreparedSections,
    options: RenderOptions,
) -> "Movie":
    """Make the movie in the quality that fits, and other products in the same pass; again if it came out too large.

    Args:
        movie_of: Begins the movie in a quality.
        fitting: Finds the quality.
        others: These work on each frame before the movie, which draws its labels on it.
        sections: Those shown.
        options: How they are rendered.

    Raises:
        OutputError: A product cannot be written.
        Mrc2movieError: The movie is larger than it may be.
    """
    movie = movie_of(fitting.quality)
    make((*others, movie), sections, options)
    while fitting.corrected(movie.extent, movie.largest):
        movie.abandon()
        movie = movie_of(fitting.quality)
        make((movie,), sections, options)
    fitting.check(movie.extent)
    return movie


def rendered(
    sample: Mapping[int, Section], options: RenderOptions, workers: Share, positions: Sequence[int]
) -> Sequence[Frame]:
    """The frames of some sections of a sample, by their positions, without labels and in that order."""

    def make_worker() -> Callable[[int], Frame]:
        render = Renderer(options)
        return lambda position: render(sample[position], position).copy()

    return tuple(workers.map(make_worker, positions))


@contextmanager
def _abandoned_on_any_exit(products: Sequence[Product]) -> Iterator[None]:
    """Abandon the products when the block raises, also on Ctrl-C; errors on the way do not replace the cause."""
    try:
        yield
    except BaseException:
        for product in products:
            with suppress(Exception):
                product.abandon()
        raise


class Movie(Product):
    """The movie of one file.

    Args:
        writer: Writes it.
        labels: What is written on its frames.
        shown: The section that each frame shows.
        claim: Of the movie.
        workers: What the file uses of the threads of the run.
        watch: Measures the stages.

    Attributes:
        facts: What the container of the finished movie says.
        writer: Writes it.
        largest: The frame whose packet is the largest; None where packets are no encoded frames.
    """

    def __init__(
        self,
        writer: MovieWriter,
        labels: Labels,
        shown: Timeline,
        claim: Claim,
        workers: Share,
        watch: Stopwatch,
    ) -> None:
        self.facts = MovieFacts(len(shown), writer.width, writer.height, writer.fps)
        self.writer = writer
        self._labels = labels
        self._shown = shown
        self._last = shown[-1]
        self._taken = self._written = self._kept = 0
        self._places = array("Q")  # where among the packets kept those of each section begin
        self._hidden: Path = claim.hidden
        self._spool = PacketSpool(claim.directory)
        self._workers = workers
        self._watch = watch
        self._ends: dict[int, Frame] = {}
        self.largest: Frame | None = None
        self._largest = (0, 0)  # bytes, and the position with its sign turned: the first of equal ones
        self._lock = threading.Lock()

    @property
    def extent(self) -> Extent:
        """How large the finished movie is."""
        return Extent(self.writer.peak_bits, self._hidden.stat().st_size)

    def worker(self) -> Work:
        """Draw the labels and encode; frames at the ends are kept to verify the movie."""
        pen, encode = Pen(self._labels), self.writer.encoder()

        def work(position: int, section: Section, frame: Frame) -> Sequence[Packet]:
            pen.write(frame, position)
            if position in (0, self._last):
                self._ends[position] = frame.copy()
            with self._watch.stage("encoding"):
                packets = [encode(frame, turn) for turn in self._turns(position)]
            size = max(packet.nbytes for packet in packets)
            if self.writer.packets_are_frames and (size, -position) > self._largest:
                with self._lock:
                    if (size, -position) > self._largest:
                        self._largest, self.largest = (size, -position), frame.copy()
            return packets

        return work

    def _turns(self, position: int) -> Sequence[int]:
        """The numbers that the packets of a section carry: one, or two where the codec has frames alternate."""
        return self._shown.turns(position) if self.writer.alternates else (0,)

    def take(self, part: Sequence[Packet]) -> None:
        """Write the packet of a section as often as it is shown now, and keep it to be shown again."""
        position = self._taken
        self._taken += 1
        with self._watch.stage("writing"):
            while self._written < len(self._shown) and self._shown[self._written] == position:
                self._write(position, part)
            if self._shown.shows_again:
                self._places.append(self._kept)
                self._kept += len(part)
                for packet in part:
                    self._spool.append(packet)

    def _write(self, position: int, packets: Sequence[Packet]) -> None:
        turns = self._turns(position)
        self.writer.write(packets[turns.index(self._written % 2) if len(turns) > 1 else 0])
        self._written += 1

    def finish(self) -> None:
        """Write what is shown again, close the movie, flush and verify it."""
        with self._watch.stage("writing"):
            while self._written < len(self._shown):
                position = self._shown[self._written]
                place = self._places[position]
                self._write(position, [self._spool[place + turn] for turn in range(len(self._turns(position)))])
            self._spool.close()
            self.writer.close()
        with self._watch.stage("flushing and verifying"):
            self.verify()

    def verify(self) -> None:
        """Flush the closed movie, and open it again to verify both ends."""
        first, last = {0: self._ends[0]}, {self.facts.frames - 1: self._ends[self._last]}
        ends = [first, last] if self._ends[0].size > _LARGE else [first | last]
        # Not in this thread: a signal handled while OpenCV parses its arguments would crash the process.
        verified = [self._workers.start(partial(self.writer.verify, self.facts), some) for some in ends]
        try:
            flush_to_disk(self._hidden)
        finally:  # what is wrong with the movie says more than that it cannot be flushed
            for each in verified:
                each.result()

    def abandon(self) -> None:
        """Close the files; the unfinished movie vanishes with the claim."""
        self._spool.close()
        self.writer.abandon()
