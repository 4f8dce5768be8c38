"""What stands beside the sections in the frames of one movie: the volume from two other directions."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mrc2movie.conversion.preparation import Preparation, render_options
from mrc2movie.errors import InputError
from mrc2movie.options.settings import Settings
from mrc2movie.picture.ortho import Cuts, Ortho, resized
from mrc2movie.picture.render import Renderer, RenderOptions
from mrc2movie.picture.selection import Selection
from mrc2movie.readers.volume import IMAGES, Description


def cuts_for(settings: Settings, description: Description, selection: Selection, prepared: Preparation) -> Cuts | None:
    """What collects the volume as it is seen from the side; None where nobody wants that.

    Raises:
        InputError: The sections do not follow each other in space.
    """
    if settings.view != "ortho":
        return None
    if description.kind in IMAGES:
        raise InputError(f"has no sides to show ({description.kind})", "convert it without --view ortho")
    down, across = (voxels * prepared.enlarge for voxels in prepared.geometry.voxels_per_pixel)
    sizes = _sizes(description)
    deep = selection.average * sizes[2]
    thickness = max(1, round(deep / (sizes[1] * down))), max(1, round(deep / (sizes[0] * across)))
    return Cuts(selection.numbers, prepared.shape, thickness)


def ortho(
    cuts: Cuts,
    settings: Settings,
    description: Description,
    selection: Selection,
    prepared: Preparation,
    options: RenderOptions,
) -> Ortho:
    """The volume from the side, in pixels of the same size and in the same greys as its sections.

    Args:
        cuts: What the measuring pass collected; changed where means are matched.
        settings: All options.
        description: Of the volume, in the direction in which it is shown.
        selection: Its sections that are shown.
        prepared: What is done to each.
        options: How their frames are rendered.
    """
    sizes = _sizes(description)
    rows, columns = prepared.geometry.shape
    planes = len(cuts.across_rows)
    depth = max(1, round(planes * cuts.step * sizes[2] / (sizes[0] * prepared.geometry.voxels_per_pixel[1])))
    if options.shifts:
        for number, shift in zip(selection.numbers, options.shifts, strict=True):
            cuts.across_rows[cuts.place(number)] += shift
            cuts.across_columns[cuts.place(number)] += shift
    between = bool(np.isnan(cuts.across_rows).any() or np.isnan(cuts.across_columns).any())
    greys = replace(options.grey_range, nonfinite=options.grey_range.nonfinite or between)
    below, right = (
        Renderer(
            render_options(
                settings,
                greys,
                (),
                replace(
                    prepared,
                    shape=image.shape,
                    enlarge=1,
                    geometry=replace(prepared.geometry, row0_at_bottom=row0_at_bottom),
                ),
            )
        )(image)
        for image, row0_at_bottom in (
            (resized(cuts.across_rows, (depth, columns)), True),
            (resized(cuts.across_columns.swapaxes(0, 1), (rows, depth)), prepared.geometry.row0_at_bottom),
        )
    )
    return Ortho(below, right, cuts, prepared.geometry, prepared.enlarge, selection.numbers)


def labels_wanted(settings: Settings) -> Sequence[str]:
    """What is written on the frames."""
    named = settings.label.split(",") if settings.label else []
    return [*named, "slab"] if settings.view == "ortho" else named


def scale_bar_wanted(settings: Settings, prepared: Preparation) -> bool:
    """Whether a scale bar is wanted; three directions have one where it can be, unless somebody said no."""
    usual = settings.view == "ortho" and "scale_bar" not in settings.given and prepared.pixel_size_A is not None
    return settings.scale_bar or usual


def _sizes(description: Description) -> tuple[float, float, float]:
    """Of the voxels along (columns, rows, sections), or as if they were cubes."""
    x, y, z = description.voxel_size_A or (1.0, 1.0, 1.0)
    return x, y, z or x
