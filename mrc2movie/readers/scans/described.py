"""What a stack is, once it is known to be a scan."""

from dataclasses import replace

from mrc2movie.errors import InputError
from mrc2movie.readers.scans.scan import Scan
from mrc2movie.readers.volume import Description


def scanned(description: Description, scan: Scan, origin: str) -> Description:
    """The description of a stack of patterns whose positions are known.

    Lengths of the header are no longer believed: those of a pattern are angles.

    Args:
        description: Of the stack.
        scan: Its positions.
        origin: Where these were found.

    Raises:
        InputError: It has another number of sections than whole scans have.
    """
    count = description.shape[0]
    shape = f"{scan.columns} x {scan.rows} positions by {origin}"
    warnings = description.warnings
    if count < scan.sections:
        warnings += (f"the scan ended early: {count} of the {scan.sections} patterns are there ({shape})",)
    elif count % scan.sections:
        what = f"has {count} sections, which are no whole scans of {shape}"
        raise InputError(what, "give --navigation-shape X Y")
    scans = count // scan.sections
    step = "" if scan.step_A is None else f", {scan.step_A[0]:.4g} x {scan.step_A[1]:.4g} Å apart"
    storage = {"scan": shape + step + (f", {scans} times" if scans > 1 else "")}
    return replace(
        description,
        kind="scan",
        kind_by_name=True,
        scan=scan,
        section_name=scan.name,
        voxel_size_A=None,
        voxel_size_is_bare=False,
        tilts=None,
        other_tilts=(),
        storage={**description.storage, **storage},
        warnings=warnings,
    )
