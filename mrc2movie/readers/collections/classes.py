"""The classes of images, and how large they are: from a collection, or from what lies beside class averages."""

import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.readers.collections.collection import Collection, Finder
from mrc2movie.readers.collections.cryosparc import read_column
from mrc2movie.readers.collections.relion import read_star
from mrc2movie.readers.source import Source
from mrc2movie.readers.volume import Classes

OpenSource = Callable[[Path], Source]

_RELION = re.compile(r"(.+?)(_unmasked)?_classes\.mrcs?")
_MOST_CLASSES = 1_000_000
_CRYOSPARC = re.compile(r"(.*)class_averages\.(?:mrcs?|cs)")


def classes_of(collection: Collection) -> Classes | None:
    """The classes of the images of a collection; None unless it knows that of each.

    Of single images the share of a class is that of the images which are in it.
    """
    known = collection.known("class_number")
    if not len(collection) or len(known) < len(collection) or np.abs(known).max() > _MOST_CLASSES:
        return None
    numbers = known.astype(np.int64)
    shares = collection.numbers.get("class_share")
    if shares is None:
        shares = np.full(len(numbers), np.nan) if collection.are_averages else _counted(numbers)
    return Classes(numbers, shares, collection.are_averages)


def _counted(numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each image the part of all that has its class."""
    _, which, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    shares: NDArray[np.float64] = counts[which] / len(numbers)
    return shares


def file_of_classes(path: Path) -> Path | None:
    """The file that a classification writes beside class averages and that tells of the classes; None without one."""
    beside = None
    if found := _RELION.fullmatch(path.name):
        beside = path.with_name(f"{found[1]}_model.star")
    elif found := _CRYOSPARC.fullmatch(path.name):
        beside = path.with_name(f"{found[1]}particles.cs")
    return beside if beside and beside.is_file() else None


def classes_beside(path: Path, known: Classes | None, count: int, open_source: OpenSource) -> Classes | None:
    """The classes of class averages, by the file that a classification writes beside them; else what is known of them.

    That is ``run_it025_model.star`` for RELION's ``run_it025_classes.mrcs``, and ``J5_020_particles.cs`` for
    ``J5_020_class_averages.mrc`` and ``.cs`` of cryoSPARC.

    Args:
        path: The averages.
        known: What is known of them.
        count: How many they are.
        open_source: Opens another file.
    """
    if known is not None and np.isfinite(known.shares).any():
        return known
    beside = file_of_classes(path)
    if beside is None:
        return known
    first, read = (0, _particles) if beside.suffix == ".cs" else (1, partial(_model, open_source))
    numbers = np.arange(first, first + count) if known is None else known.numbers
    with suppress(InputError):
        with open_source(beside) as source:
            shares = read(source, max(int(numbers.max()) + 1 - first, count))
        if shares is not None:
            return Classes(numbers, shares[numbers - first], are_averages=True)
    return known


def _model(open_source: OpenSource, source: Source, count: int) -> NDArray[np.float64] | None:
    """The part of all images in each class; None where they are not so many."""
    model = read_star(source, "", Finder(source.path, None), open_source)
    shares = model.numbers.get("class_share")
    if shares is None or len(model) != count or set(model.index.tolist()) != set(range(count)):
        return None
    by_class = np.empty(count)
    by_class[model.index] = shares
    return by_class


def _particles(source: Source, count: int) -> NDArray[np.float64] | None:
    numbers = read_column(source, "class_number")
    if not len(numbers) or not 0 <= numbers.min() <= numbers.max() < count:
        return None
    shares: NDArray[np.float64] = np.bincount(numbers.astype(np.int64), minlength=count) / len(numbers)
    return shares
