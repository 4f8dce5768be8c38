"""What was found in a volume, from the files that say it to what is drawn over its sections."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mrc2movie.conversion.masks import masks
from mrc2movie.conversion.preparation import Preparation
from mrc2movie.errors import InputError, UsageError, about
from mrc2movie.options.settings import Settings
from mrc2movie.picture.outlines import Outlines, Shape
from mrc2movie.picture.overlays import PALETTE, Colour, Legend
from mrc2movie.picture.render import Overlay
from mrc2movie.picture.selection import Selection
from mrc2movie.picture.spheres import Spheres
from mrc2movie.readers import stem_of
from mrc2movie.readers.annotations.files import NAME, files_for
from mrc2movie.readers.annotations.imod import Contour, read_model
from mrc2movie.readers.annotations.placing import Points, placed, scale_of_model
from mrc2movie.readers.annotations.points import Picks, read_points
from mrc2movie.readers.volume import Description
from mrc2movie.store.files import FileStamp
from mrc2movie.workers import Share

_USUAL_DIAMETER_A, _USUAL_DIAMETER = 200.0, 16.0
"""Of a point where nobody says it: about a ribosome's; in voxels where no voxel size is known."""

_FILES_KEPT = 4
_NAMED = 3


@dataclass(frozen=True)
class Annotations:
    """What is drawn over the sections of one movie.

    Attributes:
        overlays: In the order in which they are drawn.
        legend: What their colours mean.
        notes: What the user may want to know of them.
        warnings: What the user should know of them.
    """

    overlays: tuple[Overlay, ...] = ()
    legend: Legend = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def _patterns(settings: Settings) -> Mapping[str, str]:
    """The files that are asked for, by their option."""
    patterns = {"--mask": settings.mask, "--model": settings.model, "--points": settings.points}
    return {flag: pattern for flag, pattern in patterns.items() if pattern}


def require_annotations(settings: Settings) -> None:
    """Refuse a file that is the same for all volumes, and is not there, before any work.

    Raises:
        UsageError: It is not there.
    """
    for flag, pattern in _patterns(settings).items():
        if NAME not in pattern and not files_for(pattern, ""):
            advice = f"name another; {NAME} in it stands for the name of each tomogram"
            raise UsageError(f"{flag} {pattern}: there is no such file", advice)


def annotation_stamps(source: Path, settings: Settings) -> tuple[FileStamp, ...]:
    """The files of annotations that belong to an input, as they are now; raises OSError."""
    name = stem_of(source.name)
    return tuple(FileStamp.of(path) for pattern in _patterns(settings).values() for path in files_for(pattern, name))


def annotations(
    source: Path,
    settings: Settings,
    file: Description,
    description: Description,
    selection: Selection,
    prepared: Preparation,
    workers: Share,
    opened: ExitStack,
    directory: Path,
) -> Annotations:
    """What is drawn over the sections of a file.

    Args:
        source: The file.
        settings: Which annotations, and how they look.
        file: What the reader made of it.
        description: Of the volume, in the direction in which it is shown.
        selection: Its sections that are shown.
        prepared: What is done to each.
        workers: What the file uses of the threads of the run.
        opened: Closes what is read while the movie is made.
        directory: Where temporary files go.

    Raises:
        InputError: A file of annotations cannot be read, or does not fit the volume.
    """
    if settings.pixel_size:
        file = replace(file, voxel_size_A=(settings.pixel_size,) * 3)
    notes: list[str] = []
    warnings: list[str] = []
    overlays: list[Overlay] = []
    legend: list[tuple[str, Colour]] = []
    name = stem_of(source.name)
    palette = partial(next, cycle(PALETTE))
    if settings.mask:
        paths = [(path, _feature(path, name)) for path in _found("--mask", settings.mask, name, warnings)]
        regions, meanings = masks(
            paths,
            settings,
            prepared.geometry,
            selection,
            description.shape,
            file.row0_at_bottom,
            palette,
            workers,
            opened,
            directory,
        )
        overlays += regions
        legend += meanings
    if settings.model:
        for path in _found("--model", settings.model, name, warnings):
            drawn = _model(path, file, selection, prepared, notes)
            overlays += drawn.overlays
            legend += drawn.legend
    if settings.points:
        found = list(_points(settings, name, file, notes, warnings))
        if found:
            spheres = _spheres(found, settings, file, selection, prepared, palette, notes)
            overlays.append(spheres)
            legend += spheres.legend
    return Annotations(tuple(overlays), tuple(legend), tuple(notes), tuple(warnings))


def _points(
    settings: Settings, name: str, file: Description, notes: list[str], warnings: list[str]
) -> Iterator[tuple[str, Points]]:
    """The points of a volume, file by file, each with what their class is called where the file does not tell."""
    assert settings.points is not None
    paths = _found("--points", settings.points, name, warnings)
    for path in paths:
        of_all = _read(path, FileStamp.of(path))
        picks = of_all.of_volume(name)
        if not len(picks.places):
            others = "" if of_all.volumes is None else f" of {name}, but of {_some(of_all.volumes)}"
            warnings.append(f"--points: {path.name} has no points{others}")
            continue
        with about(path):
            points = placed(picks, file.shape, file.voxel_size_A, settings.point_unit)
        notes += (f"--points: {path.name}: {note}" for note in points.notes)
        yield (_feature(path, name) or path.stem) if len(paths) > 1 else "", points


def _found(flag: str, pattern: str, name: str, warnings: list[str]) -> Sequence[Path]:
    """The files of a volume; where there are none that is told."""
    paths = files_for(pattern, name)
    if not paths:
        warnings.append(f"{flag}: there is no {pattern.replace(NAME, name)}, so nothing of it is drawn")
    return paths


def _some(volumes: NDArray[np.str_]) -> str:
    names = np.unique(volumes).tolist()
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _feature(path: Path, name: str) -> str:
    """What a file is about: its name without that of the volume; empty where nothing is left."""
    stem = stem_of(path.name)
    return (path.stem if stem == path.name else stem).replace(name, "").strip("_-. ")


@lru_cache(_FILES_KEPT)
def _read(path: Path, stamp: FileStamp) -> Picks:
    """Once a run: one file may list the points of all volumes."""
    return read_points(path)


def _spheres(
    found: Sequence[tuple[str, Points]],
    settings: Settings,
    file: Description,
    selection: Selection,
    prepared: Preparation,
    palette: Callable[[], Colour],
    notes: list[str],
) -> Spheres:
    labels = [points.names[kind] or feature for feature, points in found for kind in points.classes.tolist()]
    names, classes = np.unique(np.array(labels, np.str_), return_inverse=True)
    diameters = np.concatenate([points.diameters for _, points in found])
    sizes = file.voxel_size_A
    if settings.point_diameter is not None:
        if sizes is None:
            raise InputError("has no voxel size, which --point-diameter needs", "give it with --pixel-size ANGSTROM")
        diameters = np.full_like(diameters, settings.point_diameter / sizes[0])
    usual = _USUAL_DIAMETER_A / sizes[0] if sizes else _USUAL_DIAMETER
    spheres = Spheres(
        np.concatenate([points.places for _, points in found]),
        np.where(np.isnan(diameters), usual, diameters) / 2,
        classes,
        names.tolist(),
        [palette() for _ in names],
        _spacing(file),
        prepared.geometry,
        selection,
    )
    drawn, outside = spheres.count_shown(), sum(points.outside for _, points in found)
    told = [f"{drawn} of {len(labels) + outside} are drawn"]
    if outside:
        told.append(f"{outside} lie outside of the volume")
    if hidden := len(labels) - drawn:
        told.append(f"{hidden} in what is not shown")
    notes.append(f"--points: {', '.join(told)}")
    return spheres


def _spacing(file: Description) -> tuple[float, float, float]:
    """Of the voxels along (x, y, z), relative to that along x."""
    if file.voxel_size_A is None:
        return (1.0, 1.0, 1.0)
    x, y, z = file.voxel_size_A
    return (1.0, y / x, (z or x) / x)


def _model(path: Path, file: Description, selection: Selection, prepared: Preparation, notes: list[str]) -> Annotations:
    """What is drawn of a model: lines and cuts of meshes, and over them its scattered points."""
    model = read_model(path)
    with about(path):
        scale, told = scale_of_model(model, file.shape, file.voxel_size_A)
    shown = [each for each in model.objects if each.is_shown]
    notes += (f"--model: {path.name}: {note}" for note in told)
    contours, triangles = sum(len(each.contours) for each in shown), sum(len(each.triangles) for each in shown)
    notes.append(f"--model: {path.name}: {len(shown)} objects with {contours} contours and {triangles} triangles")
    shapes = [
        Shape(
            [_closed(contour) * scale for contour in each.contours if len(contour.points) and not each.is_scattered],
            each.triangles * scale,
            each.colour,
        )
        for each in shown
    ]
    overlays: list[Overlay] = [Outlines(shapes, prepared.geometry, selection)]
    for each in shown:
        points = [contour for contour in each.contours if each.is_scattered and len(contour.points)]
        if points:
            radii = np.concatenate([contour.radii_of(each.radius) for contour in points]) * scale[0]
            places = np.concatenate([contour.points for contour in points]) * scale
            kinds = np.zeros(len(places), np.intp)
            overlays.append(
                Spheres(places, radii, kinds, [""], [each.colour], _spacing(file), prepared.geometry, selection)
            )
    legend = [(each.name, each.colour) for each in shown if each.name and (each.contours or len(each.triangles))]
    return Annotations(tuple(overlays), legend)


def _closed(contour: Contour) -> NDArray[np.float64]:
    """The points of a contour, the first once more behind the last where it is closed."""
    points = contour.points
    return points if contour.is_open or len(points) < 3 else np.concatenate([points, points[:1]])
