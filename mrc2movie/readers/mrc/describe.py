"""From a parsed header and what lies beside the file to the description that the rest of the program works with."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from mrc2movie.readers.mrc.extended import MOST_SECTIONS, Metadata
from mrc2movie.readers.mrc.header import Header
from mrc2movie.readers.mrc.voxels import MODES, Coding
from mrc2movie.readers.sidecars import Sidecars, find_sidecars
from mrc2movie.readers.suffixes import kind_by_name, may_have_sidecars
from mrc2movie.readers.times import times_of
from mrc2movie.readers.volume import Description, Optics, Tilts, VolumeKind, VoxelSize

_SIZES_AGREE = 0.01
"""Relative to each other; what programs round is less, and what they bin is more."""


def describe(path: Path, container: str, header: Header, there: int, extended: Metadata | None) -> Description:
    """What the reader made of a file.

    Args:
        path: The file; sidecars are sought beside it.
        container: How the file is compressed, in a word; empty for a plain one.
        header: Its header.
        there: How many whole sections it holds.
        extended: What the extended header tells.
    """
    count = min(there, header.nz)
    notes, warnings = list(header.notes), []
    if there < header.nz:
        warnings.append(f"truncated: {there} of {header.nz} sections are there and shown")
    elif there > header.nz and not container and not header.codec:
        notes.append(f"there is room for {there} sections in the file: the header says {header.nz}, which are shown")
    if header.layout.coding is Coding.COMPLEX:
        notes.append("a transform: shown as log(1 + amplitude), centred")
    if header.extended_bytes and not extended:
        notes.extend(_why_not_extended(header))
    suffix_kind = kind_by_name(path)
    sources = [extended] if extended else []
    tilts, sidecars = None, Sidecars()
    # A tomogram also has, now and then, the extended header of the tilt series that it comes from.
    if may_have_sidecars(path):
        if 1 < header.nz <= MOST_SECTIONS:
            sidecars = find_sidecars(path, header.nz)
        notes.extend(sidecars.notes)
        sources.extend(sidecars.fitting)
        tilts = _tilts(sources, count)
    kind = _kind(header, suffix_kind, tilts)
    size = _voxel_size(header.spacing_A, sources, suffix_kind)
    notes.extend(size.notes)
    warnings.extend(size.warnings)
    return Description(
        shape=(count, header.layout.rows, header.layout.columns),
        dtype=header.layout.section_dtype,
        row0_at_bottom=not header.row0_is_top,
        voxel_size_A=size.voxel_size_A,
        voxel_size_is_bare=size.is_bare,
        axes=header.directions,
        origin_A=header.stored_origin_A,
        storage={
            "dialect": _dialect(container, header),
            "byte order": f"{header.byte_order_name}-endian",
            "mode": _mode(header),
            **({"channels": f"{header.channels} sections an image"} if header.channels > 1 else {}),
        },
        header=_summary(container, header, sources, count),
        kind=kind,
        kind_by_name=suffix_kind is not None,
        channels=header.channels,
        tilts=tilts,
        times=times_of(sources, count, kind),
        optics=_optics(sources),
        other_tilts=sidecars.other_tilts,
        colour=header.layout.coding is Coding.COLOUR,
        notes=tuple(notes),
        warnings=tuple(warnings),
        missing=header.nz - count,
    )


def _why_not_extended(header: Header) -> Iterator[str]:
    """Why nothing is told of an extended header that is of a kind that is known."""
    if header.exttyp == "json":
        yield (
            f"the JSON text of {header.extended_bytes} bytes in the extended header is not kept in the record: it is "
            "too long, nested too deep, or damaged"
        )
    elif header.nz > MOST_SECTIONS:
        yield f"the extended header is not read: no tilt series has {header.nz} sections"


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


def _kind(header: Header, suffix_kind: VolumeKind | None, tilts: Tilts | None) -> VolumeKind:
    if header.layout.coding is Coding.COMPLEX:
        return "transform"
    if suffix_kind:
        return suffix_kind
    if tilts and tilts.vary:
        return "tilt series"
    if header.nz == 1:
        return "image"
    if 1 <= header.ispg <= 230:  # the space groups of crystallography; 1 is a volume without symmetry
        return "volume"
    return "volume stack" if 401 <= header.ispg <= 630 else "image stack"


def _dialect(container: str, header: Header) -> str:
    return f"{header.dialect}, in {container}" if container else header.dialect


def _mode(header: Header) -> str:
    return f"{header.mode} ({MODES[header.mode].name}{', ' if header.sign_reason else ''}{header.sign_reason})"


def _summary(container: str, header: Header, sources: Sequence[Metadata], count: int) -> dict[str, object]:
    summary: dict[str, object] = {
        "dialect": _dialect(container, header),
        "nx": header.layout.columns,
        "ny": header.layout.rows,
        "nz": header.nz,
        "mode": _mode(header),
        "byte_order": header.byte_order_name,
        "machst": header.machst,
        "voxel_size_A": header.voxel_size_A if any(header.voxel_size_A) else None,
        "axes": list(header.axes),
        "ispg": header.ispg,
        "exttyp": header.exttyp,
        "extended_bytes": header.extended_bytes,
        "nversion": header.nversion,
        "labels": list(header.labels),
    }
    if header.imod_flags is not None:
        summary["imod_flags"] = header.imod_flags
    for metadata in sources:
        if metadata.columns:
            columns = {name: list(values[:count]) for name, values in metadata.columns.items()}
            summary.setdefault("sections", {"from": metadata.origin, **columns})
        if metadata.document is not None:
            summary["document"] = metadata.document
    return summary


def with_damage(description: Description, damage: str) -> Description:
    """The description of a compressed file whose stream ended badly."""
    if not damage:
        return description
    return replace(
        description,
        warnings=(*description.warnings, f"{damage}; the whole sections before are shown, the last may be damaged"),
    )
