"""SerialEM's ``.mdoc`` files whose tilts lie in a file each, as Warp, RELION 5 and AreTomo keep them."""

from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.readers.collections.collection import Collection
from mrc2movie.readers.metadata import TILT, Metadata
from mrc2movie.readers.sidecars import MDOC_BYTES, read_mdoc
from mrc2movie.readers.source import Source

_AVERAGES = (".mrc", ".mrcs", ".st")
_A_PER_UM = 1e4


def is_mdoc(path: Path, head: bytes) -> bool:
    """Whether a file of this name that begins so is one."""
    return path.suffix.lower() == ".mdoc" and b"=" in head and b"\0" not in head


def read_tilts(source: Source) -> Collection:
    """Read which images are the tilts.

    The frames of a tilt are averaged after they were recorded, under the same name, but mostly as MRC: such an image
    is wanted before the frames themselves.

    Raises:
        InputError: It names none.
    """
    text = source.read(0, MDOC_BYTES).decode("latin-1")
    found = read_mdoc(source.path.name, text)
    stack = source.path.with_suffix("")
    advice = f"convert {stack.name} itself" if stack.is_file() else "name the file of a tilt series"
    if found is None or not any(found.frames):
        raise InputError("names no images of tilts (ZValue, SubFramePath)", advice)
    named = [place for place, path in enumerate(found.frames) if path]
    # The path is that of the microscope's computer: only the name is of use here.
    names = [PureWindowsPath(found.frames[place]).name for place in named]
    unnamed = len(found.frames) - len(named)
    numbers = {
        "tilt_degrees": _column(found, TILT),
        "pixel_size_A": _column(found, "pixel_size_A"),
        "voltage_kV": _column(found, "voltage_kV"),
        "defocus_u_A": _A_PER_UM
        * np.abs(_column(found, "target_defocus_um" if "target_defocus_um" in found.columns else "defocus_um")),
    }
    return Collection(
        path=source.path,
        storage="mdoc of single images",
        kind="tilt series",
        names=names,
        file_of=np.arange(len(names), dtype=np.int32),
        index=np.zeros(len(names), np.int64),
        rows=np.array(named) + 1,
        numbers={name: values[named] for name, values in numbers.items()},
        are_whole=True,
        may_miss_some=True,
        knows_pixel_size=False,
        other_names={name: [Path(name).stem + suffix for suffix in _AVERAGES] for name in names},
        warnings=(f"{unnamed} of {len(found.frames)} tilts are named without an image, and left out",)
        if unnamed
        else (),
    )


def _column(found: Metadata, name: str) -> NDArray[np.float64]:
    """(sections,) float64, NaN where not known."""
    values = found.columns.get(name, ())
    return np.array([np.nan if value is None else value for value in values] or [np.nan] * len(found.frames))
