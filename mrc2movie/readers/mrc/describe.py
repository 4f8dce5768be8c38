"""From a parsed MRC header to the description that the rest of the program works with."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mrc2movie.readers.describe import complete
from mrc2movie.readers.metadata import MOST_SECTIONS, Metadata
from mrc2movie.readers.mrc.header import Header
from mrc2movie.readers.mrc.modes import MODES
from mrc2movie.readers.volume import Description, VolumeKind
from mrc2movie.readers.voxels import Coding


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
    by_header = Description(
        shape=(count, header.layout.rows, header.layout.columns),
        dtype=header.layout.section_dtype,
        row0_at_bottom=not header.row0_is_top,
        voxel_size_A=header.spacing_A,
        axes=header.directions,
        origin_A=header.stored_origin_A,
        storage={
            "dialect": _dialect(container, header),
            "byte order": f"{header.byte_order_name}-endian",
            "mode": _mode(header),
            **({"channels": f"{header.channels} sections an image"} if header.channels > 1 else {}),
        },
        header=_summary(container, header),
        kind=_kind(header),
        channels=header.channels,
        colour=header.layout.coding is Coding.COLOUR,
        notes=tuple(notes),
        warnings=tuple(warnings),
        missing=header.nz - count,
    )
    return complete(path, by_header, extended, header.nz)


def _why_not_extended(header: Header) -> Iterator[str]:
    """Why nothing is told of an extended header that is of a kind that is known."""
    if header.exttyp == "json":
        yield (
            f"the JSON text of {header.extended_bytes} bytes in the extended header is not kept in the record: it is "
            "too long, nested too deep, or damaged"
        )
    elif header.nz > MOST_SECTIONS:
        yield f"the extended header is not read: no tilt series has {header.nz} sections"


def _kind(header: Header) -> VolumeKind:
    if header.layout.coding is Coding.COMPLEX:
        return "transform"
    if header.nz == 1:
        return "image"
    if 1 <= header.ispg <= 230:  # the space groups of crystallography; 1 is a volume without symmetry
        return "volume"
    return "volume stack" if 401 <= header.ispg <= 630 else "image stack"


def _dialect(container: str, header: Header) -> str:
    return f"{header.dialect}, in {container}" if container else header.dialect


def _mode(header: Header) -> str:
    return f"{header.mode} ({MODES[header.mode].name}{', ' if header.sign_reason else ''}{header.sign_reason})"


def _summary(container: str, header: Header) -> dict[str, object]:
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
    return summary


def with_damage(description: Description, damage: str) -> Description:
    """The description of a compressed file whose stream ended badly."""
    if not damage:
        return description
    return replace(
        description,
        warnings=(*description.warnings, f"{damage}; the whole sections before are shown, the last may be damaged"),
    )
