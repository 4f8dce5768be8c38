"""The ordered pass over the sections that a movie shows: read, prepared, averaged, in worker threads."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import numpy as np

from mrc2movie.conversion.preparation import Preparation
from mrc2movie.conversion.stopwatch import Stopwatch
from mrc2movie.errors import about
from mrc2movie.picture.filters import mean_of
from mrc2movie.picture.ortho import Cuts
from mrc2movie.picture.selection import Selection
from mrc2movie.readers.volume import Description, Load, Section, Volume
from mrc2movie.workers import Share, Spare

Result = TypeVar("Result")

SectionProgress: TypeAlias = Callable[[str, int, int, int], object]
"""Called after each section with the stage ("turning" for another axis, "measuring", "comparing", "converting"), the
number of sections done, that of all, and the bytes of a section as it is stored, unpacked."""

_PIECE_BYTES = 2 * 2**20
_MOST_TOGETHER = 16
_PIECES = 4
"""A piece of work is one section, or as many as have _PIECE_BYTES, at most _MOST_TOGETHER, where each processor gets at
least _PIECES pieces: handing over takes 0.1 ms, and to convert a megabyte 4 ms."""


@dataclass(frozen=True)
class PreparedSections:
    """The sections of a volume that a movie shows, prepared; each pass over them is a call of `each`.

    Attributes:
        volume: The volume.
        description: Of the volume, with the voxel size that the user gave.
        selection: Its sections that are shown.
        preparation: What is done to each before it is measured.
        workers: What the file uses of the threads of the run.
        progress: Called after each section.
        cuts: Takes each section as it is prepared; None where nobody wants the volume from the side.
        watch: Measures the stages.
    """

    volume: Volume
    description: Description
    selection: Selection
    preparation: Preparation
    workers: Share
    progress: SectionProgress
    cuts: Cuts | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)

    def each(
        self,
        stage: str,
        make_worker: Callable[[], Callable[[int, Section], Result]],
        before: Callable[[int], object] = lambda position: None,
    ) -> Iterator[Result]:
        """Read and prepare every section shown once, in the worker threads, and yield what becomes of it, in order.

        Args:
            stage: Its name, for the progress.
            make_worker: Called in each thread; gives a function of (position among the sections shown, section).
            before: Called in this thread with each position in order, before it is begun.
        """
        if self.selection.average == 1:
            results = self._prepared(make_worker, before)
        else:
            results = self.workers.map(lambda: self._of_mean(make_worker()), self._neighbours(before), self._together)
        for done, result in enumerate(results, start=1):
            yield result
            self.progress(stage, done, len(self.selection.places), self.volume.scratch_bytes)

    def _prepared(
        self,
        make_worker: Callable[[], Callable[[int, Section], Result]],
        before: Callable[[int], object] = lambda position: None,
    ) -> Iterator[Result]:
        """Every section that is read, in the order in which it is needed; the worker's is its position in that."""
        # A thread that waits for a disk has a scratch buffer, and nothing that only work needs.
        buffers, workers = Spare(lambda: np.empty(self.volume.scratch_bytes, np.uint8)), Spare(make_worker)

        def work(item: tuple[int, int, Load]) -> Result:
            position, number, load = item
            scratch = buffers.take()
            with about(self.volume.path):
                with self.watch.stage("reading"):
                    section = load(scratch)
                if self.preparation.steps:
                    with self.watch.stage("preparing"):
                        for step in self.preparation.steps:
                            section = step(section)
                if self.cuts:
                    self.cuts.take(number, section)
                worker = workers.take()
                result = worker(position, section)
            workers.put_back(worker)
            if not (isinstance(result, np.ndarray) and np.may_share_memory(result, scratch)):
                buffers.put_back(scratch)  # unless the section is kept
            return result

        def loads() -> Iterator[tuple[int, int, Load]]:
            for position, number in enumerate(self.selection.read()):
                before(position)
                yield position, number, self.volume.section(number)

        return self.workers.map(lambda: work, loads(), self._together)

    @property
    def _together(self) -> int:
        """How many sections become one piece of work; not so many that a short file leaves processors idle."""
        share = len(self.selection.places) // (_PIECES * self.workers.count)
        return max(1, min(share, _MOST_TOGETHER, _PIECE_BYTES // self.volume.scratch_bytes))

    def _neighbours(self, before: Callable[[int], object]) -> Iterator[tuple[int, Sequence[Section]]]:
        """The prepared sections whose mean each position shows.

        Each is read once and held as long as a mean needs it. The means themselves are made by the workers.
        """

        def keep(position: int, section: Section) -> Section:
            return section.astype(self._mean_dtype, copy=False)  # to be added up without another conversion

        arriving = zip(self.selection.read(), self._prepared(lambda: keep), strict=True)
        held: dict[int, Section] = {}
        for position in range(len(self.selection.places)):
            wanted = self.selection.neighbours(position)
            held = {number: held[number] for number in wanted if number in held}
            while len(held) < len(wanted):
                number, section = next(arriving)
                held[number] = section
            before(position)
            yield position, [held[number] for number in wanted]

    def _of_mean(self, worker: Callable[[int, Section], Result]) -> Callable[[tuple[int, Sequence[Section]]], Result]:
        mean = np.empty(self.preparation.shape, self._mean_dtype)

        def work(item: tuple[int, Sequence[Section]]) -> Result:
            position, sections = item
            with self.watch.stage("averaging"):
                mean_of(sections, mean)
            with about(self.volume.path):
                return worker(position, mean)

        return work

    @property
    def _mean_dtype(self) -> np.dtype[np.generic]:
        """Float32, or float64 where the voxels need it."""
        return np.result_type(self.description.dtype, np.float32)
