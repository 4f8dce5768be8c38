"""Collections as programs write them: stars, ``.cs`` files, and the images that they name."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from movies import write_mrc
from numpy.typing import NDArray


def images(count: int, first: int = 0, rows: int = 6, columns: int = 8, dtype: str = "int16") -> NDArray[Any]:
    """(count, rows, columns): every image has greys of its own, and no flip or swap leaves it as it is."""
    plane = np.arange(rows * columns).reshape(rows, columns)
    return (plane + 100 * np.arange(first, first + count)[:, None, None]).astype(dtype)


def write_stack(path: Path, voxels: NDArray[Any], **header: Any) -> Path:
    """Write an MRC file, and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_mrc(path, voxels, **header)


def loop(block: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as RELION writes it."""
    lines = ["", "# version 30001", "", f"data_{block}", "", "loop_ "]
    lines += [f"_{column} #{number} " for number, column in enumerate(columns, start=1)]
    lines += [" ".join(f"{value!s:>12}" for value in row) + " " for row in rows]
    return "\n".join([*lines, " ", ""])


def write_star(path: Path, *tables: str) -> Path:
    """Write a star, and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(tables))
    return path


OPTICS = ("rlnOpticsGroupName", "rlnOpticsGroup", "rlnVoltage", "rlnSphericalAberration", "rlnImagePixelSize")


def particles(path: Path, names: Sequence[str], pixel_size_A: float = 1.5, **columns: Sequence[object]) -> Path:
    """Write a star of particles as RELION 3.1 does, with one optics group."""
    optics = loop("optics", OPTICS, [("opticsGroup1", 1, 300.0, 2.7, pixel_size_A)])
    rows = list(zip(names, [1] * len(names), *columns.values(), strict=True))
    return write_star(path, optics, loop("particles", ["rlnImageName", "rlnOpticsGroup", *columns], rows))


def write_cs(path: Path, **fields: Any) -> Path:
    """Write a ``.cs`` file; ``blob__path`` becomes ``blob/path``."""
    arrays = {name.replace("__", "/"): np.asarray(values) for name, values in fields.items()}
    count = len(next(iter(arrays.values())))
    records = np.empty(count, [(name, values.dtype, values.shape[1:]) for name, values in arrays.items()])
    for name, values in arrays.items():
        records[name] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.save(file, records, allow_pickle=False)
    return path


def write_tilts(path: Path, paths: Mapping[float, str], pixel_size_A: float = 2.0) -> Path:
    """Write an ``.mdoc`` file as SerialEM does: the path of the frames of each tilt, by its angle."""
    lines = [f"PixelSpacing = {pixel_size_A}", f"ImageFile = {path.stem}", "", "[T = SerialEM: a tilt series]", ""]
    for number, (angle, frames) in enumerate(paths.items()):
        lines += [f"[ZValue = {number}]", f"TiltAngle = {angle}", "Voltage = 300", f"SubFramePath = {frames}", ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return path
