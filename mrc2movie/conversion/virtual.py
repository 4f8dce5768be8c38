"""Images of a scan beside its movie: what virtual detectors would have seen at each position."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mrc2movie.conversion.sections import SectionProgress
from mrc2movie.conversion.stopwatch import Stopwatch
from mrc2movie.errors import InputError, about
from mrc2movie.options.settings import Settings
from mrc2movie.picture.detectors import detectors_for, readings
from mrc2movie.picture.sheet import evenly_spaced
from mrc2movie.readers.volume import Description, Load, Volume
from mrc2movie.store.artifact import HiddenArtifact
from mrc2movie.store.claim import Claim
from mrc2movie.workers import Share
from mrc2movie.writers.beside import virtual_path
from mrc2movie.writers.virtual import write_virtual

_PATTERNS = 256
"""So many, evenly spaced, are enough for the mean pattern that the masks are made from."""


def require_scan(description: Description, settings: Settings) -> None:
    """Refuse what is no scan.

    Raises:
        InputError: Nobody tells where the patterns were recorded.
    """
    if settings.virtual and (description.scan is None or description.colour):
        what = "is no scan that is known, of which --virtual makes images"
        raise InputError(what, "give --navigation-shape X Y, or choose the scans of a directory with --pattern")


def virtual_images(
    volume: Volume, settings: Settings, claim: Claim, workers: Share, progress: SectionProgress, watch: Stopwatch
) -> Sequence[HiddenArtifact]:
    """Make the virtual images of a scan, if they are wanted: all in one pass over all of its patterns.

    What is kept of a pattern are a few numbers. So memory grows with the positions, but not with the patterns.

    Args:
        volume: The patterns, as they are stored.
        settings: All options.
        claim: Of the movie.
        workers: What the file uses of the threads of the run.
        progress: Called after each pattern.
        watch: Measures the time.

    Raises:
        InputError: A pattern cannot be read.
        OutputError: The images cannot be written.
    """
    target = virtual_path(claim.target, settings)
    if target is None:
        return ()
    count = volume.description.shape[0]
    mean = _mean_pattern(volume)
    detectors = detectors_for(mean, volume.description.row0_at_bottom)
    found = np.empty((count, len(detectors.names)))

    def make_worker() -> Callable[[tuple[int, Load]], None]:
        scratch = np.empty(volume.scratch_bytes, np.uint8)

        def work(item: tuple[int, Load]) -> None:
            number, load = item
            with about(volume.path), watch.stage("virtual images"):
                found[number] = readings(load(scratch), detectors)

        return work

    volume.expect(range(count), rising=True)
    loads = ((number, volume.section(number)) for number in range(count))
    for done, _ in enumerate(workers.map(make_worker, loads), start=1):
        progress("virtual images", done, count, volume.scratch_bytes)
    hidden = claim.beside(".virtual")
    write_virtual(hidden, mean, detectors, found, volume.description)
    return (HiddenArtifact.of(hidden, target, "virtual", settings.virtual),)


def _mean_pattern(volume: Volume) -> NDArray[np.float64]:
    """(y, x) float64, the mean of up to `_PATTERNS` patterns; what is not finite counts as 0."""
    numbers = evenly_spaced(volume.description.shape[0], _PATTERNS)
    volume.expect(numbers, rising=True)
    scratch = np.empty(volume.scratch_bytes, np.uint8)
    mean = np.zeros(volume.description.section_shape)
    with about(volume.path):
        for number in numbers:
            mean += np.nan_to_num(volume.section(number)(scratch).astype(np.float64), posinf=0.0, neginf=0.0)
    return mean / len(numbers)
