"""The stacks beside one movie: which images they hold, and what is known of them."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from mrc2movie.conversion.sections import PreparedSections
from mrc2movie.errors import InputError
from mrc2movie.options.settings import Settings
from mrc2movie.picture.filters import Bin, Crop
from mrc2movie.readers.volume import Description, ImageTable
from mrc2movie.store.artifact import HiddenArtifact
from mrc2movie.store.claim import Claim
from mrc2movie.version import __version__
from mrc2movie.writers.beside import stacks_path, stacks_value
from mrc2movie.writers.stacks import Plan, Stacks, stack_starts
from mrc2movie.writers.volume import Grid, stored_type

_A_PER_UM = 1e4
_CHANGING = ("smooth", "lowpass", "deconv", "max_size")


def require_stacks(description: Description, settings: Settings) -> None:
    """Refuse what no stacks are made of: images are binned for further use, but not smoothed for the eye.

    Raises:
        InputError: The sections are in colour, or would not be those of the file.
    """
    if settings.stacks and description.colour:
        raise InputError("is in colour, which no stack holds", "leave --stacks out for it")
    changing = [f"--{name.replace('_', '-')}" for name in _CHANGING if getattr(settings, name)]
    changing += ["--scale"] if settings.scale in ("log", "sqrt") else []
    changing += ["--average"] if settings.average > 1 else []
    if settings.stacks and changing:
        what = f"the stacks would hold images that {' and '.join(changing)} changed, and not those of the file"
        linear = ", with --scale linear" if "--scale" in changing else ""
        raise InputError(what, f"make them with --stacks in a run of their own{linear}")


class StacksBeside:
    """The stacks beside one movie; where none are wanted, nothing.

    Args:
        sections: Those that the movie shows.
        settings: All options.
        claim: Of the movie.
        opened: Closes the files of the stacks, after the threads have ended.

    Attributes:
        products: What is made of the sections as they pass by.

    Raises:
        OutputError: They cannot be begun.
    """

    def __init__(self, sections: PreparedSections, settings: Settings, claim: Claim, opened: ExitStack) -> None:
        self.products: tuple[Stacks, ...] = ()
        self._settings = settings
        self._target = stacks_path(claim.target, settings)
        if self._target is None:
            return
        self._hidden = claim.beside(".stacks")
        stacks = Stacks(_plan(sections, settings, self._hidden), partial(sections.watch.stage, "stacks"))
        opened.callback(stacks.release)
        self.products = (stacks,)

    def made(self) -> Sequence[HiddenArtifact]:
        """The finished stacks."""
        if self._target is None:
            return ()
        return (HiddenArtifact.of(self._hidden, self._target, "stacks", stacks_value(self._settings)),)


def _plan(sections: PreparedSections, settings: Settings, hidden: Path) -> Plan:
    description, selection, prepared = sections.description, sections.selection, sections.preparation
    backward = settings.playback == "backward"
    numbers = selection.numbers[::-1] if backward else selection.numbers
    rows, columns = prepared.shape[:2]
    down, across = (voxels * prepared.enlarge for voxels in prepared.geometry.voxels_per_pixel)
    table = _table(description, sections.volume.path)
    file_of = table.file_of[np.asarray(numbers, np.int64)]
    column, row, _ = description.voxel_size_A or (None, None, None)
    history = [f"mrc2movie {__version__}: images of {sections.volume.path.name}"]
    if (down, across) != (1, 1):
        kept = "largest" if settings.bin_method == "max" and settings.bin > 1 else "mean"
        history.append(f"a pixel is the {kept} of {across:.4g} x {down:.4g} voxels (columns x rows)")
    if settings.normalize_each:
        history.append("each image has mean 0 and deviation 1 outside a disc")
    return Plan(
        directory=hidden,
        starts=stack_starts(file_of, settings.batch_size, combine=not settings.no_combine, at_most=settings.max_stacks),
        numbers=numbers,
        grid=Grid(
            shape=(1, rows, columns),
            dtype=_dtype(sections, settings),
            axes=description.axes,
            voxel_size_A=(column and column * across, row and row * down, None),
            origin_A=(0.0, 0.0, 0.0),
            is_volume=False,
            name=sections.volume.path.stem,
            history=tuple(history),
            window=(0.0, 1.0),
        ),
        table=table,
        voxels=(down, across),
        normalise=settings.normalize_each,
        fourier=settings.fourier,
        backward=backward,
        row0_at_bottom=prepared.geometry.row0_at_bottom,
    )


def _dtype(sections: PreparedSections, settings: Settings) -> np.dtype[np.generic]:
    """That of the file where the images are as they are in it."""
    as_they_are = sections.selection.average == 1 and not settings.normalize_each
    for step in sections.preparation.steps:
        as_they_are &= isinstance(step, Crop) or (isinstance(step, Bin) and step.largest)
    return stored_type(sections.description.dtype if as_they_are else np.dtype(np.float32), "mrc")


def _table(description: Description, path: Path) -> ImageTable:
    """What is known of each image; of a file that is no collection, what is known of all."""
    count = description.shape[0]
    optics, tilts, size = description.optics, description.tilts, description.voxel_size_A
    shared = {
        "pixel_size_A": size[0] if size else None,
        "defocus_u_A": optics.defocus_um and optics.defocus_um * _A_PER_UM,
        "defocus_v_A": optics.defocus_um and optics.defocus_um * _A_PER_UM,
        "voltage_kV": optics.voltage_kV,
        "cs_mm": optics.cs_mm,
    }
    of_all = {name: np.full(count, value) for name, value in shared.items() if value is not None}
    if description.images is None:
        own = {} if tilts is None else {"tilt_degrees": np.array(tilts.degrees)}
        return ImageTable((path,), np.zeros(count, np.int32), np.arange(count), {**of_all, **own})
    known = description.images
    numbers = dict(known.numbers)
    if size and not description.pixel_size_told_by:  # headers are believed before the collection, or it tells none
        numbers["pixel_size_A"] = of_all["pixel_size_A"]
    return replace(known, numbers=numbers)
