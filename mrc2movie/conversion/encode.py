"""The second pass: every section rendered once, and each product made of it, the movie first of all."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from mrc2movie.conversion.bitrate import Extent, Fitting
from mrc2movie.conversion.sections import PreparedSections
from mrc2movie.conversion.stopwatch import Stopwatch
from mrc2movie.picture.labels import Labels, Pen
from mrc2movie.picture.render import Frame, Renderer, RenderOptions
from mrc2movie.readers.volume import Section
from mrc2movie.store.claim import Claim
from mrc2movie.store.files import flush_to_disk
from mrc2movie.store.spool import PacketSpool
from mrc2movie.workers import Share
from mrc2movie.writers.movie import MovieFacts, MovieWriter, Packet
from mrc2movie.writers.product import Part, Product, Work


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
        for parts in sections.each("converting", make_worker):
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
    """Make the movie in the quality that fits, and other products in the same pass; once more if it came out too large.

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
    if fitting.corrected(movie.extent, movie.largest):
        movie.abandon()
        movie = movie_of(fitting.quality)
        make((movie,), sections, options)
    fitting.check(movie.extent)
    return movie


def rendered(sample: Mapping[int, Section], options: RenderOptions, workers: Share) -> Sequence[Frame]:
    """The frames of sections at these positions, without labels, in the order of the positions."""

    def make_worker() -> Callable[[int], Frame]:
        render = Renderer(options)
        return lambda position: render(sample[position], position).copy()

    return tuple(workers.map(make_worker, sorted(sample)))


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
        count: Sections shown.
        following: The positions that are shown again after the last section, see `reverse_pass`.
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
        count: int,
        following: Sequence[int],
        claim: Claim,
        workers: Share,
        watch: Stopwatch,
    ) -> None:
        self.facts = MovieFacts(count + len(following), writer.width, writer.height, writer.fps)
        self.writer = writer
        self._labels = labels
        self._following = following
        self._last = following[-1] if following else count - 1
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

        def work(position: int, section: Section, frame: Frame) -> Packet:
            pen.write(frame, position)
            if position in (0, self._last):
                self._ends[position] = frame.copy()
            with self._watch.stage("encoding"):
                packet = encode(frame, position)
            if self.writer.packets_are_frames and (packet.nbytes, -position) > self._largest:
                with self._lock:
                    if (packet.nbytes, -position) > self._largest:
                        self._largest, self.largest = (packet.nbytes, -position), frame.copy()
            return packet

        return work

    def take(self, part: Packet) -> None:
        """Write a packet, and keep it to be shown again."""
        with self._watch.stage("writing"):
            self.writer.write(part)
            if self._following:
                self._spool.append(part)

    def finish(self) -> None:
        """Write what is shown again, close the movie, flush and verify it."""
        with self._watch.stage("writing"):
            for position in self._following:
                self.writer.write(self._spool[position])
            self._spool.close()
            self.writer.close()
        with self._watch.stage("flushing and verifying"):
            self.verify()

    def verify(self) -> None:
        """Flush the closed movie, and open it again to verify both ends."""
        flushed = self._workers.start(flush_to_disk, self._hidden)
        # Not in this thread: a signal handled while OpenCV parses its arguments would crash the process.
        ends = ({0: self._ends[0]}, {self.facts.frames - 1: self._ends[self._last]})
        verified = [self._workers.start(partial(self.writer.verify, self.facts), end) for end in ends]
        for each in (*verified, flushed):
            each.result()

    def abandon(self) -> None:
        """Close the files; the unfinished movie vanishes with the claim."""
        self._spool.close()
        self.writer.abandon()
