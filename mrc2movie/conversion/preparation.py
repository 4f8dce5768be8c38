"""What the options mean for one file: which sections are shown, and which steps prepare them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mrc2movie.errors import InputError
from mrc2movie.options.kinds import slice_of
from mrc2movie.options.presets import IMAGE_SECONDS
from mrc2movie.options.settings import Settings
from mrc2movie.picture.deconvolution import Deconvolution
from mrc2movie.picture.filters import HALF_AMPLITUDE, Bin, Crop, Lowpass, Scale, Shrink, Smaller, Step
from mrc2movie.picture.geometry import Geometry
from mrc2movie.picture.greys import GreyRange
from mrc2movie.picture.local_contrast import tiles
from mrc2movie.picture.render import RenderOptions, enlargement
from mrc2movie.picture.selection import Selection, Timeline, select_sections
from mrc2movie.readers.volume import Description, Optics

_USUAL_DEFOCUS_UM, _USUAL_VOLTAGE_KV, _USUAL_CS_MM = 4.0, 300.0, 2.7
_LONGEST_SIDE = 2**24
"""Voxels; of any instrument far less, and OpenCV counts in 32 bits."""


@dataclass(frozen=True)
class Preparation:
    """What is done to every section before its grey values are measured.

    Attributes:
        steps: In this order. They and the means of neighbours are sums, so that their order does not matter to these,
            and smaller sections come first: all that follows is cheaper.
        shape: Of the prepared sections: (rows, columns), or (rows, columns, 3) in colour.
        enlarge: Each pixel of a prepared section becomes so many in each direction of a frame.
        geometry: Where voxels lie in the frames.
        pixel_size_A: Of the frames, along (x, y), in Å; None where it is not known.
        notes: What the user may want to know of it.
        warnings: What the user should know of it.
    """

    steps: Sequence[Step]
    shape: tuple[int, ...]
    enlarge: int
    geometry: Geometry
    pixel_size_A: tuple[float, float] | None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Of the frames: (rows, columns), or (rows, columns, 3) in colour."""
        return (*self.geometry.shape, *self.shape[2:])


def selection_of(description: Description, settings: Settings) -> Selection:
    """Which sections of a file the movie shows, in which order."""
    return select_sections(
        description.shape[0],
        description.tilts,
        description.channels,
        order=settings.order,
        discard_range=settings.discard_range,
        discard_percentage=settings.discard_percentage,
        only=slice_of(settings.only) if settings.only else slice(None),
        every=settings.every,
        average=settings.average,
        playback=settings.playback,
    )


def timeline(count: int, settings: Settings) -> Timeline:
    """Which of so many sections each frame of the movie shows; under a preset a single image is held for a while."""
    hold = settings.hold
    if count == 1 and settings.preset:
        hold = max(hold, round(IMAGE_SECONDS * settings.fps) - 1)
    return Timeline(count, settings.playback == "forward-backward", hold, settings.cycles)


def preparation(description: Description, settings: Settings) -> Preparation:
    """What is done to every section, so that the grey range fits what is shown.

    Args:
        description: Of the volume, in the direction in which it is shown.
        settings: The steps.

    Raises:
        InputError: A step needs a voxel size, and none is known, or a side is longer than any picture's.
    """
    shape = prepared = description.section_shape
    if max(shape[:2]) > _LONGEST_SIDE:
        raise InputError(f"sections of {shape[1]} x {shape[0]} are too long for pictures", "is the header right?")
    row0_at_bottom = description.row0_at_bottom if settings.flip == "auto" else settings.flip == "yes"
    notes: list[str] = []
    warnings: list[str] = []
    crop = _crop(settings.crop, shape, row0_at_bottom, warnings) if settings.crop else None
    if crop:
        shape = prepared = crop.shape(shape)
    smaller: list[Smaller] = []
    if settings.bin > 1:
        smaller.append(Bin(settings.bin, settings.bin_method == "max"))
    if settings.max_size:
        smaller.append(Shrink(settings.max_size))
    down = across = 1.0
    for step in smaller:
        more = step.voxels(prepared)
        down, across = down * more[0], across * more[1]
        prepared = step.shape(prepared)
    enlarge = enlargement(prepared, settings.min_size, settings.max_size) if settings.min_size else 1
    geometry = Geometry(
        shape=(prepared[0] * enlarge, prepared[1] * enlarge),
        axis=settings.axis,
        voxels_per_pixel=(down / enlarge, across / enlarge),
        row0_at_bottom=row0_at_bottom,
        origin=crop.origin if crop else (0, 0),
    )
    if prepared != shape:
        flags = " ".join(flag for flag, on in (("--bin", settings.bin > 1), ("--max-size", settings.max_size)) if on)
        notes.append(f"made smaller from {shape[1]} x {shape[0]} to {prepared[1]} x {prepared[0]} ({flags})")
    if enlarge > 1:
        rows, columns = geometry.shape
        notes.append(
            f"enlarged {enlarge} times from {prepared[1]} x {prepared[0]} to {columns} x {rows} (--min-size "
            f"{settings.min_size})"
        )
    sizes = description.voxel_size_A and (description.voxel_size_A[0] * across, description.voxel_size_A[1] * down)
    steps: list[Step] = [*([crop] if crop else []), *smaller]
    if settings.scale in ("log", "sqrt"):
        steps.append(Scale(settings.scale))
    if settings.deconv:
        steps.append(_deconvolution(settings, description.optics, sizes, notes))
    deviations = (settings.smooth or 0.0, settings.smooth or 0.0)
    if settings.lowpass:
        lowpass = _lowpass(settings.lowpass, prepared, sizes, warnings)
        deviations = (math.hypot(deviations[0], lowpass[0]), math.hypot(deviations[1], lowpass[1]))
    if any(deviations):
        steps.append(Lowpass(deviations))
    return Preparation(
        tuple(steps),
        prepared,
        enlarge,
        geometry,
        description.voxel_size_A and geometry.pixel_size_A(description.voxel_size_A[:2]),
        tuple(notes),
        tuple(warnings),
    )


def _crop(asked: tuple[int, int, int, int], shape: tuple[int, ...], row0_at_bottom: bool, warnings: list[str]) -> Crop:
    """The rectangle of (x, y, width, height) as it was asked for, which counts from the lower left of the picture.

    Raises:
        InputError: None of it lies in the sections.
    """
    x, y, width, height = asked
    rows, columns = shape[:2]
    flag = f"--crop {' '.join(map(str, asked))}"
    if x >= columns or y >= rows:
        raise InputError(f"{flag} lies outside of its sections of {columns} x {rows}", "crop where there are voxels")
    if x + width > columns or y + height > rows:
        width, height = min(width, columns - x), min(height, rows - y)
        warnings.append(f"{flag} ends outside of the sections of {columns} x {rows}: {width} x {height} are shown")
    return Crop((y if row0_at_bottom else rows - y - height, x), (height, width))


def _lowpass(
    resolution_A: float, shape: tuple[int, ...], sizes: tuple[float, float] | None, warnings: list[str]
) -> tuple[float, float]:
    """The standard deviations of the Gaussian along (y, x) in pixels."""
    if sizes is None:
        raise InputError("has no voxel size, which --lowpass needs", "give it with --pixel-size ANGSTROM")
    length_A = max(shape[1] * sizes[0], shape[0] * sizes[1])
    if resolution_A > length_A:
        warnings.append(
            f"--lowpass {resolution_A:g} is coarser than the whole picture of {length_A:.4g} Å, which serves "
            "instead: there is hardly anything to see"
        )
    elif resolution_A < 2 * max(sizes):
        warnings.append(
            f"--lowpass {resolution_A:g} is finer than two pixels of {max(sizes):.4g} Å: hardly anything is smoothed"
        )
    deviation_A = HALF_AMPLITUDE * min(resolution_A, length_A)
    return deviation_A / sizes[1], deviation_A / sizes[0]


def _deconvolution(
    settings: Settings, optics: Optics, sizes: tuple[float, float] | None, notes: list[str]
) -> Deconvolution:
    if sizes is None:
        raise InputError("has no voxel size, which --deconv needs", "give it with --pixel-size ANGSTROM")
    defocus = settings.defocus or optics.defocus_um or _USUAL_DEFOCUS_UM
    origin = "--defocus" if settings.defocus else optics.origin if optics.defocus_um else "assumed"
    voltage, cs = optics.voltage_kV or _USUAL_VOLTAGE_KV, optics.cs_mm or _USUAL_CS_MM
    notes.append(f"deconvolved at {defocus:.3g} µm defocus ({origin}), {voltage:g} kV and Cs {cs:g} mm")
    return Deconvolution(
        pixel_size_A=(sizes[1], sizes[0]),
        defocus_um=defocus,
        voltage_kV=voltage,
        cs_mm=cs,
        strength=settings.deconv_strength,
        falloff=settings.deconv_falloff,
        highpass_A=settings.deconv_highpass,
    )


def render_options(
    settings: Settings, measured: GreyRange, shifts: Sequence[float], prepared: Preparation
) -> RenderOptions:
    """How the frames of a file are rendered, once its greys are known."""
    fitting = tiles(prepared.shape, settings.tile_grid_size)
    clip_limit = settings.clip_limit
    if "clip_limit" not in settings.given and "tile_grid_size" not in settings.given:
        dark_field = settings.preset is not None and measured.ground_is_dark
        clip_limit = clip_limit if fitting and not dark_field else 0.0
    if "tile_grid_size" in settings.given:
        fitting = (settings.tile_grid_size, settings.tile_grid_size)
    return RenderOptions(
        grey_range=measured,
        row0_at_bottom=prepared.geometry.row0_at_bottom,
        clip_limit=clip_limit,
        tiles=fitting or (1, 1),
        invert=settings.invert,
        shifts=shifts,
        enlarge=prepared.enlarge,
    )
