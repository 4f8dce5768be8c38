"""What Direct Electron's DE-Server writes beside a ``_movie.mrc``: the settings, the scan, virtual and external images.

Names: ``20241021_00405_movie.mrc`` or, with a suffix that the user gave, ``20241021_00405_suffix_movie.mrc``, beside it
``…_info.txt`` with a line ``key = value`` for each setting, ``…_scan_coordinates.csv`` with x and y of each frame of a
custom or random scan, ``…_1_Name.mrc`` for the virtual and ``…_ext1_Name.mrc`` for the external detectors.
"""

import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mrc2movie.errors import InputError
from mrc2movie.readers.scans.described import scanned
from mrc2movie.readers.scans.scan import Scan
from mrc2movie.readers.source import InputFile
from mrc2movie.readers.volume import Description

_MOVIE = re.compile(r"(.+?)(?:_0)?_movie\.mrc", re.IGNORECASE)
_DETECTOR = re.compile(r"_(ext)?[0-4]_(?=.)", re.IGNORECASE)
"""In the name of an image: of which virtual or, with ``ext``, external detector it is."""
_INFO_BYTES, _POSITIONS_BYTES = 2**20, 2**28
_ON = ("enable", "on", "true", "1")
_BY_LINES = ("raster", "serpentine")
_KEPT = {
    "server": "Server Software Version",
    "camera": "Camera Model",
    "frames_per_second": "Frames Per Second",
    "voltage_V": "Instrument Accelerating Voltage (V)",
    "camera_length_cm": "Instrument Project Camera Length (centimeters)",
    "magnification": "Instrument Project Magnification",
    "specimen_pixel_nm": "Specimen Pixel Size X (nanometers)",
    "diffraction_pixel": "Diffraction Pixel Size X",
    "scan_type": "Scan - Type",
    "scan_repeats": "Scan - Repeats",
}
"""What the record keeps, by our names; DE-Server writes -1 for what it does not know."""


def info_beside(path: Path) -> Path | None:
    """The text with the settings of a movie, also for an image beside it; None where there is none."""
    stems = [found[1] for found in (_MOVIE.fullmatch(path.name),) if found] or _stems_of_image(path.name)
    texts = (path.with_name(f"{stem}_info.txt") for stem in stems)
    return next(filter(Path.is_file, texts), None)


def _stems_of_image(name: str) -> Sequence[str]:
    """What the name of an image beside a movie may begin with; a suffix may look like the number of a detector."""
    if not name.lower().endswith(".mrc"):
        return []
    return [name[: found.start()] for found in _DETECTOR.finditer(name) if found.start()]


def files_beside(movie: Path) -> Sequence[Path]:
    """The files that tell of a movie, or of an image beside it."""
    info = info_beside(movie)
    return [info, *(_coordinates(movie) if _MOVIE.fullmatch(movie.name) else [])] if info else []


def read_info(path: Path) -> Mapping[str, str]:
    """The settings, by their names.

    Raises:
        InputError: The file cannot be read.
    """
    lines = (line.partition("=") for line in _read(path, _INFO_BYTES).decode("latin-1").splitlines())
    return {key.strip(): value.strip() for key, equals, value in lines if equals}


def described_by_info(description: Description, path: Path, is_scan_known: bool) -> Description:
    """The description of a movie, or of an image of a detector, with what lies beside it.

    Args:
        description: By its header.
        path: The file.
        is_scan_known: Whether the user says what scan it is.

    Raises:
        InputError: That cannot be read, or is of another movie.
    """
    info = info_beside(path)
    if info is None:
        return description
    settings = read_info(info)
    voltage_V = _number(settings, _KEPT["voltage_V"])
    optics = replace(description.optics, voltage_kV=voltage_V / 1000) if voltage_V else description.optics
    is_movie = _MOVIE.fullmatch(path.name) is not None
    virtual, external = _images_beside(path) if is_movie else ([], [])
    header = {**description.header, "direct_electron": {**_header(settings), **_named(virtual, external)}}
    described = {"recording": words} if (words := _in_words(settings)) else {}
    description = replace(
        description,
        header=header,
        optics=optics,
        thumbnail_file=next(iter(virtual), None),
        storage={**description.storage, **described},
    )
    has_scan = settings.get("Scan - Enable", "").lower() in _ON
    if not is_movie:
        is_of_scan = has_scan and (description.shape[2], description.shape[1]) == _size_of_scan(settings)
        return _with_pixel_size(description, settings) if is_of_scan else description
    if has_scan and not is_scan_known:
        return scanned(description, _scan(settings, path), info.name)
    is_image = _number(settings, _KEPT["camera_length_cm"]) is None
    return _with_pixel_size(description, settings) if is_image else description


def _with_pixel_size(description: Description, settings: Mapping[str, str]) -> Description:
    pixel_nm = _number(settings, _KEPT["specimen_pixel_nm"])
    if not pixel_nm:
        return description
    size = (10 * pixel_nm, 10 * (_number(settings, "Specimen Pixel Size Y (nanometers)") or pixel_nm), None)
    return replace(description, voxel_size_A=size, voxel_size_is_bare=False)


def _in_words(settings: Mapping[str, str]) -> str:
    """The camera, and how it recorded."""
    kV = (_number(settings, _KEPT["voltage_V"]) or 0) / 1000
    numbers = {
        "{:g} frames a second": _number(settings, _KEPT["frames_per_second"]),
        "{:g} kV": kV,
        "camera length {:g} cm": _number(settings, _KEPT["camera_length_cm"]),
    }
    camera = settings.get(_KEPT["camera"], "")
    return ", ".join(filter(None, [camera, *(words.format(number) for words, number in numbers.items() if number)]))


def _header(settings: Mapping[str, str]) -> dict[str, object]:
    kept: dict[str, object] = {}
    for name, key in _KEPT.items():
        number = _number(settings, key)
        if number is not None or (settings.get(key) and not _is_number(settings[key])):
            kept[name] = settings[key] if number is None else number
    return kept


def _prefix(settings: Mapping[str, str]) -> str:
    """Of the settings that tell of the positions: of a region of the scan, if one was chosen."""
    return "Scan - ROI" if settings.get("Scan - ROI Enable", "").lower() in _ON else "Scan -"


def _size_of_scan(settings: Mapping[str, str]) -> tuple[int, int]:
    """Columns and rows."""
    columns, rows = (int(_number(settings, f"{_prefix(settings)} Size {axis}") or 0) for axis in "XY")
    return columns, rows


def _scan(settings: Mapping[str, str], movie: Path) -> Scan:
    prefix = _prefix(settings)
    kind = settings.get(f"{prefix} Type", "Raster").lower()
    size = _size_of_scan(settings)
    steps = [_number(settings, f"Specimen Pixel Size {axis} (nanometers)") or 0.0 for axis in "XY"]
    step_A = (10 * steps[0], 10 * steps[1]) if min(steps) > 0 else None
    frames = max(1, int(_number(settings, "Scan - Camera Frames Per Point") or 1))
    if kind in _BY_LINES:
        return Scan(size[0], size[1], kind == "serpentine", frames, step_A)
    positions = _positions(movie)
    if positions is None:
        what = f"is a scan of the type {settings[f'{prefix} Type']}, and no _scan_coordinates.csv lies beside it"
        raise InputError(what, "give --navigation-shape X Y, or bring the file with the positions")
    columns, rows = (int(largest) + 1 for largest in positions.max(axis=0))
    if prefix == "Scan -":
        columns, rows = max(columns, size[0]), max(rows, size[1])
    return Scan(columns, rows, step_A=step_A, positions=positions)


def _positions(movie: Path) -> NDArray[np.int64] | None:
    files = _coordinates(movie)
    if not files:
        return None
    try:
        text = _read(files[0], _POSITIONS_BYTES)
        if not text.strip():
            raise ValueError
        positions = np.loadtxt(io.BytesIO(text), np.float64, delimiter=",", ndmin=2)[:, :2]
        whole = positions.astype(np.int64)
        if not len(whole) or whole.shape[1] != 2 or (whole != positions).any() or whole.min() < 0:
            raise ValueError
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{files[0].name} beside it has no whole numbers x,y in each line", "is it damaged?"
        ) from error
    return whole


def _coordinates(movie: Path) -> Sequence[Path]:
    found = _MOVIE.fullmatch(movie.name)
    assert found is not None
    return sorted(path for path in movie.parent.glob("*coordinates.csv") if path.name.startswith(found[1]))


def _named(virtual: Sequence[Path], external: Sequence[Path]) -> dict[str, object]:
    names = {"virtual_images": virtual, "external_images": external}
    return {what: [image.name for image in images] for what, images in names.items() if images}


def _images_beside(movie: Path) -> tuple[Sequence[Path], Sequence[Path]]:
    """The images of virtual and of external detectors beside a movie, by their names."""
    found = _MOVIE.fullmatch(movie.name)
    assert found is not None
    virtual: list[Path] = []
    external: list[Path] = []
    for path in sorted(movie.parent.glob("*.mrc")):
        detector = _DETECTOR.match(path.name, len(found[1])) if path.name.startswith(found[1]) else None
        if detector and not _MOVIE.fullmatch(path.name):
            (external if detector[1] else virtual).append(path)
    return virtual, external


def _number(settings: Mapping[str, str], key: str) -> float | None:
    """A number; None where there is none, or -1, which stands for what is not known."""
    text = settings.get(key, "")
    if not _is_number(text):
        return None
    number = float(text)
    return number if math.isfinite(number) and number != -1 else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return len(text) < 64


def _read(path: Path, at_most: int) -> bytes:
    with InputFile(path) as source:
        if source.size > at_most:
            raise InputError(
                f"{path.name} beside it has {source.size} bytes, which is too much", "is it the right one?"
            )
        return source.read(0, at_most)
