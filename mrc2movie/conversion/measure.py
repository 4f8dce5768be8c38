"""The measuring pass: which greys the sections shown have, and so what becomes black and white."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from mrc2movie.conversion.bitrate import sampled_positions
from mrc2movie.conversion.layouts import cuts_for
from mrc2movie.conversion.preparation import Preparation, preparation, selection_of, timeline
from mrc2movie.conversion.sections import PreparedSections, SectionProgress
from mrc2movie.errors import InputError
from mrc2movie.options.grey_rule import GreyRule
from mrc2movie.options.settings import Settings
from mrc2movie.picture.greys import (
    GreyRange,
    Sampling,
    Statistics,
    choose_range,
    collect,
    collect_with_matched_means,
    section_statistics,
)
from mrc2movie.picture.ortho import Cuts
from mrc2movie.picture.quality import MOST_SECTIONS, SectionFacts, SectionTable, section_facts
from mrc2movie.picture.selection import Selection
from mrc2movie.readers.volume import Description, Section, SizeLearned, Volume
from mrc2movie.workers import Item, Result, Share

_SIZES_AGREE = 0.01
_MOST_FRAMES = 2**31 - 1  # AVI, MP4 and OpenCV count frames in 32 bits


@dataclass(frozen=True)
class Measured:
    """What the measuring pass finds.

    Attributes:
        sections: The sections that it went over, for the next pass.
        grey_range: What becomes black and white.
        shifts: What is to be added to the voxels at each position, so that the means match; empty for nothing.
        table: What is kept of each section; empty where there are too many.
        sample: Prepared sections by their positions, from which the quality of the movie is found.
        cuts: The middle of the volume from the side, where it is wanted.
    """

    sections: PreparedSections
    grey_range: GreyRange
    shifts: Sequence[float] = ()
    table: SectionTable = field(default_factory=SectionTable)
    sample: Mapping[int, Section] = field(default_factory=dict)
    cuts: Cuts | None = None


def measure(volume: Volume, settings: Settings, workers: Share, progress: SectionProgress) -> Measured:
    """Go over the sections that are shown; again if a compressed stream turns out to be shorter than it claims.

    Raises:
        InputError: The volume cannot be read, or all its sections are discarded.
    """
    while True:
        description, selection, prepared = what_is_shown(volume.description, settings)
        with suppress(SizeLearned):
            _check_frames(volume, selection, settings)
            volume.expect(selection.read(), selection.rising)
            cuts = cuts_for(settings, description, selection, prepared)
            sections = PreparedSections(volume, description, selection, prepared, workers, progress, cuts)
            return _measured(sections, settings)


def what_is_shown(description: Description, settings: Settings) -> tuple[Description, Selection, Preparation]:
    """What the options make of a file: it with the voxel size that the user gave, its sections, what is done to each.

    Raises:
        InputError: All sections are discarded, a step needs a voxel size, and none is known, or a collection tells
            another one than the user.
    """
    if settings.pixel_size:
        _check_pixel_size(description, settings.pixel_size)
        description = replace(description, voxel_size_A=(settings.pixel_size,) * 3, voxel_size_is_bare=False)
    selection = selection_of(description, settings)
    if not selection.places:
        raise InputError(
            f"all {description.shape[0]} sections are discarded",
            "discard fewer (--discard-range, --discard-percentage, --only)",
        )
    return description, selection, preparation(description, settings)


def _check_pixel_size(description: Description, given: float) -> None:
    """Refuse a pixel size that contradicts the collection: the header of a file may be wrong, but who wrote that knew.

    Raises:
        InputError: It does.
    """
    told = description.voxel_size_A
    if description.pixel_size_told_by and told and abs(given / told[0] - 1) > _SIZES_AGREE:
        what = f"--pixel-size {given:g} contradicts the {told[0]:.4g} Å of {description.pixel_size_told_by}"
        raise InputError(what, "leave --pixel-size out")


def _check_frames(volume: Volume, selection: Selection, settings: Settings) -> None:
    """Refuse more frames than the containers can count.

    Raises:
        InputError: There are more.
        SizeLearned: A compressed stream is shorter than its header says.
    """
    frames = len(timeline(len(selection.places), settings))
    if frames <= _MOST_FRAMES:
        return
    if settings.axis == "z":
        volume.section(volume.description.shape[0] - 1)  # a compressed stream must have that many
    raise InputError(
        f"would be a movie of {frames} frames, more than the {_MOST_FRAMES} that one can have",
        "show fewer sections (--every, --only), or each less often (--playback forward, --hold, --cycles)",
    )


def _measured(sections: PreparedSections, settings: Settings) -> Measured:
    rule, match_mean = GreyRule.parse(settings.range), settings.match_mean
    count = len(sections.selection.places)
    sampling = Sampling.of(count, sections.preparation.shape)
    few = count <= MOST_SECTIONS
    kept = sampled_positions(count, 8 * math.prod(sections.preparation.shape), settings)
    sample: dict[int, Section] = {}

    def make_worker() -> Callable[[int, Section], tuple[Statistics, SectionFacts | None]]:
        def work(position: int, section: Section) -> tuple[Statistics, SectionFacts | None]:
            with sections.watch.stage("measuring"):
                sampled = sampling.slice(position) if rule.needs_sample else slice(0)
                if position in kept:
                    sample[position] = section.copy()
                statistics = section_statistics(section, sampled, match_mean)
                return statistics, section_facts(section, not statistics.nonfinite) if few else None

        return work

    def spread(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
        return sections.workers.map(lambda: function, items)

    table = SectionTable()
    parts = _kept(sections.each("measuring", make_worker), table)
    statistics, shifts = collect_with_matched_means(parts, spread) if match_mean else (collect(parts, spread), ())
    grey_range = choose_range(statistics, rule, _rounding(sections))
    return Measured(replace(sections, cuts=None), grey_range, shifts, table, sample, sections.cuts)


def _kept(parts: Iterable[tuple[Statistics, SectionFacts | None]], table: SectionTable) -> Iterator[Statistics]:
    """The statistics of the sections, of which the table keeps what it wants as they pass by."""
    for part, seen in parts:
        if seen:
            table.add(seen, part.minimum, part.maximum, part.nonfinite, part.mean)
        yield part


def _rounding(sections: PreparedSections) -> float:
    """How far apart equal voxels may come to be, relative to them: twice what was found for each step and for means."""
    if not sections.preparation.steps and sections.selection.average == 1:
        return 0.0
    precise = np.finfo(np.result_type(sections.description.dtype, np.float32))
    return float(precise.eps) * (8 + sections.selection.average / 4)
