"""The volume beside one movie: which voxels it has, of what type, and where they lie."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from mrc2movie.conversion.sections import PreparedSections
from mrc2movie.errors import InputError
from mrc2movie.options.settings import Settings
from mrc2movie.picture.filters import Crop
from mrc2movie.picture.greys import GreyRange
from mrc2movie.picture.selection import Selection
from mrc2movie.readers.volume import IMAGES, Description
from mrc2movie.store.artifact import HiddenArtifact
from mrc2movie.store.claim import Claim
from mrc2movie.version import __version__
from mrc2movie.writers import open_volume_writer
from mrc2movie.writers.beside import volume_path, volume_value
from mrc2movie.writers.volume import Grid, VolumeProduct, stored_type


def require_volume(description: Description, settings: Settings) -> None:
    """Refuse what no volume can be made of.

    Raises:
        InputError: The sections are in colour.
    """
    if settings.volume and description.colour:
        raise InputError("is in colour, which no volume holds", "leave --volume out for it")


class VolumeBeside:
    """The volume beside one movie; where none is wanted, nothing.

    Args:
        sections: Those that the movie shows.
        settings: All options.
        grey_range: What the movie shows as black and white.
        claim: Of the movie.
        opened: Closes the files of the volume, after the threads have ended.

    Attributes:
        products: What is made of the sections as they pass by.
        warnings: What the user should know.

    Raises:
        OutputError: It cannot be begun.
        Mrc2movieError: The format cannot hold such sections.
    """

    def __init__(
        self,
        sections: PreparedSections,
        settings: Settings,
        grey_range: GreyRange,
        claim: Claim,
        opened: ExitStack,
    ) -> None:
        self.products: tuple[VolumeProduct, ...] = ()
        self.warnings: tuple[str, ...] = ()
        self._settings = settings
        self._target = volume_path(claim.target, settings)
        if self._target is None:
            return
        along = _along(sections.selection, settings)
        grid = _grid(sections, settings, grey_range, claim.target.stem, along)
        self.warnings = _warnings(sections.description, settings, along)
        self._hidden = claim.beside(f".volume{self._target.suffix}")
        backward = settings.playback == "backward"
        writer = open_volume_writer(self._hidden, grid, settings, sections.workers, backward=backward)
        opened.callback(writer.release)
        product = VolumeProduct(
            grid,
            writer,
            self._hidden,
            shown=len(sections.selection.places),
            deep=along.deep,
            backward=backward,
            row0_at_bottom=sections.preparation.geometry.row0_at_bottom,
            workers=sections.workers,
            watch=partial(sections.watch.stage, "volume"),
        )
        self.products = (product,)

    def made(self) -> Sequence[HiddenArtifact]:
        """The finished volume, when it is on the disk."""
        if self._target is None:
            return ()
        for product in self.products:
            product.wait()
        return (HiddenArtifact.of(self._hidden, self._target, "volume", volume_value(self._settings)),)


@dataclass(frozen=True)
class _Along:
    """How the planes of a volume follow each other.

    Attributes:
        deep: Each is the mean of so many of the sections shown.
        planes: How many there are.
        step: From one to the next, in sections.
        first: The centre of the first, in sections.
        gap: Whether sections in the middle are left out.
    """

    deep: int
    planes: int
    step: float
    first: float
    gap: bool


def _along(selection: Selection, settings: Settings) -> _Along:
    numbers = selection.numbers[::-1] if settings.playback == "backward" else selection.numbers
    deep = min(settings.bin, len(numbers)) if settings.volume == "binned" else 1
    planes = len(numbers) // deep
    steps = {after - before for before, after in pairwise(numbers)}
    if steps and min(steps) < 0:  # by their tilts, which have no place in space
        return _Along(deep, planes, 1.0, 0.0, False)
    step = min(steps, default=1)
    # Of an even number one more follows, so the mean lies half a section farther on.
    between = step / settings.every * (0.5 if selection.average % 2 == 0 else 0.0)
    return _Along(deep, planes, step * deep, numbers[0] + between + (deep - 1) / 2 * step, len(steps) > 1)


def _grid(sections: PreparedSections, settings: Settings, grey_range: GreyRange, name: str, along: _Along) -> Grid:
    description, selection, prepared = sections.description, sections.selection, sections.preparation
    rows, columns = prepared.shape[:2]
    down, across = (voxels * prepared.enlarge for voxels in prepared.geometry.voxels_per_pixel)
    covered = (across, down, along.step)
    top, left_of = prepared.geometry.origin  # of what --crop leaves
    below = top if prepared.geometry.row0_at_bottom else description.section_shape[0] - top - rows * down
    centres = (left_of + (across - 1) / 2, below + (down - 1) / 2, along.first)
    sizes = description.voxel_size_A or (None, None, None)
    column, row, section = (size and size * voxels for size, voxels in zip(sizes, covered, strict=True))
    left, bottom, front = (
        origin + (size or 0.0) * centre
        for origin, size, centre in zip(description.origin_A, sizes, centres, strict=True)
    )
    cut_only = all(isinstance(step, Crop) for step in prepared.steps)
    as_they_are = cut_only and selection.average == 1 and along.deep == 1
    dtype = description.dtype if as_they_are else np.dtype(np.float32)
    return Grid(
        shape=(along.planes, rows, columns),
        dtype=stored_type(dtype, settings.volume_format),
        axes=description.axes,
        voxel_size_A=(column, row, section),
        origin_A=(left, bottom, front),
        is_volume=description.kind not in IMAGES,
        name=name,
        history=_history(sections, settings, along),
        window=(grey_range.low, grey_range.high),
        inverted=settings.invert,
    )


def _history(sections: PreparedSections, settings: Settings, along: _Along) -> tuple[str, ...]:
    """What was done to the voxels, in lines."""
    selection, prepared = sections.selection, sections.preparation
    numbers = sorted((selection.numbers[0], selection.numbers[-1]))
    means = f"running means of {selection.average} sections" if selection.average > 1 else "sections"
    down, across = (voxels * prepared.enlarge for voxels in prepared.geometry.voxels_per_pixel)
    lines = [
        f"mrc2movie {__version__}: {means} of {sections.volume.path.name}",
        f"{len(selection.numbers)} of {sections.description.shape[0]} sections, {numbers[0]} to {numbers[1]}",
    ]
    if (along.deep, down, across) != (1, 1, 1):
        lines.append(f"a voxel is the mean of {across:.4g} x {down:.4g} x {along.deep} (columns x rows x sections)")
    if not prepared.geometry.row0_at_bottom:
        lines.append("rows in reverse order: the first one is the bottom of the picture")
    smoothed = [f"--{name}={value:g}" for name in ("smooth", "lowpass") if (value := getattr(settings, name))]
    return (*lines, *(note for note in prepared.notes if note.startswith("deconvolved")), *smoothed)


def _warnings(description: Description, settings: Settings, along: _Along) -> tuple[str, ...]:
    found = []
    if along.gap:
        found.append("the volume closes up where sections in its middle are left out: its depths are wrong beyond")
    if along.deep > 1 and description.kind in IMAGES:
        found.append(f"the volume mixes sections of a {description.kind}: --volume averaged leaves them apart")
    return tuple(found)
