"""From what a format says of a file to the whole description: with what its name says and what lies beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from mrc2movie.readers.metadata import MOST_SECTIONS, Metadata
from mrc2movie.readers.sidecars import Sidecars, find_sidecars
from mrc2movie.readers.suffixes import kind_by_name, may_have_sidecars
from mrc2movie.readers.times import times_of
from mrc2movie.readers.volume import Description, Optics, Tilts, VolumeKind, VoxelSize

_SIZES_AGREE = 0.01
"""Relative to each other; what programs round is less, and what they bin is more."""


def complete(path: Path, described: Description, own: Metadata | None = None, claimed: int = 0) -> Description:
    """Add what the name of a file and its sidecars say, and what follows from that.

    Args:
        path: The file; sidecars are sought beside it.
        described: What its format says of it. The kind is that by the header alone.
        own: What the file itself tells of its sections.
        claimed: How many sections its header says, if not as many as there are.
    """
    count, claimed = described.shape[0], claimed or described.shape[0]
    suffix_kind = kind_by_name(path)
    sources = [own] if own else []
    tilts, sidecars = None, Sidecars()
    # A tomogram also has, now and then, the extended header of the tilt series that it comes from.
    if may_have_sidecars(path):
        if 1 < claimed <= MOST_SECTIONS:
            sidecars = find_sidecars(path, claimed)
        sources.extend(sidecars.fitting)
        tilts = _tilts(sources, count)
    kind = _kind(described.kind, suffix_kind, tilts)
    size = _voxel_size(described.voxel_size_A, sources, suffix_kind)
    header = dict(described.header)
    for metadata in sources:
        if metadata.columns:
            columns = {name: list(values[:count]) for name, values in metadata.columns.items()}
            header.setdefault("sections", {"from": metadata.origin, **columns})
        if metadata.document is not None:
            header["document"] = metadata.document
    return replace(
        described,
        voxel_size_A=size.voxel_size_A,
        voxel_size_is_bare=size.is_bare,
        header=header,
        kind=kind,
        kind_by_name=suffix_kind is not None,
        tilts=tilts,
        times=times_of(sources, count, kind),
        optics=_optics(sources),
        other_tilts=sidecars.other_tilts,
        notes=(*described.notes, *sidecars.notes, *size.notes),
        warnings=(*described.warnings, *size.warnings),
    )


def _tilts(sources: Sequence[Metadata], count: int) -> Tilts | None:
    """The angles of the first source that has one for every section; angles that are all alike give way to others."""
    found = [Tilts(angles, metadata.origin) for metadata in sources if (angles := metadata.tilts(count))]
    return next((tilts for tilts in found if tilts.vary), found[0] if found else None)


@dataclass(frozen=True)
class _Size:
    """The voxel size, and what is to be said of it; see `Description`."""

    voxel_size_A: VoxelSize | None
    is_bare: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def _voxel_size(in_header: VoxelSize | None, sources: Sequence[Metadata], suffix_kind: VolumeKind | None) -> _Size:
    """The header's size, unless it has none or a bare 1 Å: then that of an extended header or a sidecar.

    Sizes that differ are told, but not of a tomogram: its extended header may be that of its tilt series, which was
    not binned.
    """
    told = [(size, metadata.origin) for metadata in sources if (size := _pixel_size(metadata))]
    if in_header is None:
        if not told:
            return _Size(None)
        notes = ("the header has no voxel size: taken from the extended header or the sidecar",)
        return _Size((told[0][0],) * 3, notes=notes, warnings=_disagreement(told))
    bare = all(math.isclose(length, 1, rel_tol=1e-5) for length in in_header[:2])
    if bare and told and not _agree(told[0][0], 1):
        note = f"the header's voxel size of 1 Å means none: {told[0][0]:.4g} Å is taken from {told[0][1]}"
        return _Size((told[0][0],) * 3, notes=(note,), warnings=_disagreement(told))
    compared = [] if suffix_kind == "volume" else told
    return _Size(in_header, bare and not told, warnings=_disagreement([(in_header[0], "the header"), *compared]))


def _pixel_size(metadata: Metadata) -> float | None:
    """The pixel size of the first section."""
    size = next(iter(metadata.columns.get("pixel_size_A", ())), None)
    return size if size and size > 0 else None


def _agree(one: float, other: float) -> bool:
    return abs(one / other - 1) <= _SIZES_AGREE


def _disagreement(told: Sequence[tuple[float, str]]) -> tuple[str, ...]:
    """The warning that sizes disagree, the first of which is taken; none where they do not."""
    (taken, origin), *others = told
    if all(_agree(size, taken) for size, _ in others):
        return ()
    sizes = ", ".join(f"{size:.4g} Å by {source}" for size, source in told)
    return (f"voxel sizes disagree: {sizes}; that of {origin} is taken (--pixel-size overrides)",)


_DEFOCUS_UM = (0.1, 30.0)
_VOLTAGE_KV = (20.0, 1250.0)
"""What microscopes are used at: anything else is a field that nobody filled in, or another unit."""


def _optics(sources: Sequence[Metadata]) -> Optics:
    """The middle value of all sections; signs differ between programs, and nobody takes cryo-EM images over focus."""
    defocus, origin = _usual(sources, ("target_defocus_um", "defocus_um"), _DEFOCUS_UM)
    voltage, _ = _usual(sources, ("voltage_kV",), _VOLTAGE_KV)
    return Optics(defocus_um=defocus, voltage_kV=voltage, origin=origin)


def _usual(sources: Sequence[Metadata], names: Sequence[str], limits: tuple[float, float]) -> tuple[float | None, str]:
    for name in names:
        for metadata in sources:
            values = [abs(value) for value in metadata.columns.get(name, ()) if value is not None]
            if values and limits[0] <= (middle := median(values)) <= limits[1]:
                return middle, metadata.origin
    return None, ""


def _kind(by_header: VolumeKind, by_name: VolumeKind | None, tilts: Tilts | None) -> VolumeKind:
    if by_header == "transform":
        return by_header
    return by_name or ("tilt series" if tilts and tilts.vary else by_header)
