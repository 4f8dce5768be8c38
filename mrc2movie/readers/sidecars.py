"""Files beside a file with values for its sections: SerialEM's ``.mdoc``, and ``.rawtlt`` and ``.tlt``.

Formats: https://bio3d.colorado.edu/SerialEM/hlp/html/about_formats.htm and IMOD's tilt angle files, one a line.
"""

import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mrc2movie.errors import InputError
from mrc2movie.readers.metadata import MOST_SECTIONS, TILT, Column, Metadata
from mrc2movie.readers.source import InputFile
from mrc2movie.readers.suffixes import may_have_sidecars
from mrc2movie.readers.times import CLOCK, EXPOSURE, clock_column, detector_rate
from mrc2movie.readers.volume import Tilts
from mrc2movie.store.files import FileStamp

MDOC_BYTES = 16 * 2**20
"""No ``.mdoc`` file has more."""

_ANGLES_BYTES = 2**20
_NUMBER_LENGTH = 64
_DOSE = "dose_e_per_A2"

# Key of SerialEM, which of its values, our name.
_MDOC_FIELDS = (
    ("TiltAngle", 0, TILT),
    ("StagePosition", 0, "stage_x_um"),
    ("StagePosition", 1, "stage_y_um"),
    ("StageZ", 0, "stage_z_um"),
    ("Magnification", 0, "magnification"),
    ("PixelSpacing", 0, "pixel_size_A"),
    ("Defocus", 0, "defocus_um"),
    ("TargetDefocus", 0, "target_defocus_um"),
    ("ExposureDose", 0, _DOSE),
    ("ExposureTime", 0, "exposure_s"),
    ("RotationAngle", 0, "tilt_axis_degrees"),
    ("Voltage", 0, "voltage_kV"),
)
_FRAMES = "SubFramePath"
_MDOC_KEYS = frozenset((_FRAMES, *(key for key, _, _ in _MDOC_FIELDS), "DateTime", "NumSubFrames"))
_MDOC = ".mdoc"
_ANGLES = (".rawtlt", ".tlt")
_INFO = "_info.txt"


@dataclass(frozen=True)
class Sidecars:
    """What lies beside a file.

    Attributes:
        fitting: Those with values for as many sections as the file has, the most trusted first.
        other_tilts: The angles of those that list somewhat more or fewer.
        notes: About the others.
    """

    fitting: tuple[Metadata, ...] = ()
    other_tilts: tuple[Tilts, ...] = ()
    notes: tuple[str, ...] = ()


def find_sidecars(path: Path, sections: int) -> Sidecars:
    """Everything beside a file that has values for its sections.

    Args:
        path: The file; its sidecars are sought under its name, and under it without its suffixes.
        sections: How many it has.
    """
    found, other, notes = [], [], []
    for name in _names(path.name):
        is_mdoc = name.endswith(_MDOC)
        text = _text(path.with_name(name), MDOC_BYTES if is_mdoc else _ANGLES_BYTES)
        if text is None:
            continue
        if is_mdoc:
            metadata = read_mdoc(name, text)
        else:
            metadata = _info(name, text, sections) if name.endswith(_INFO) else _angles(name, text)
        if metadata is None:
            notes.append(f"{name} tells nothing of the sections: not used")
            continue
        count = len(metadata.columns[TILT])
        if count == sections:
            found.append(metadata)
        elif 2 * min(count, sections) > max(count, sections) and (angles := metadata.tilts(count)):
            other.append(Tilts(angles, name))
        else:  # perhaps of the tilt series that a tomogram comes from
            notes.append(f"{name} has {count} sections, the file has {sections}: not used")
    return Sidecars(tuple(found), tuple(other), tuple(notes))


def _names(name: str) -> Sequence[str]:
    """What the sidecars of a file of this name may be called, the most trusted first."""
    names = [name]
    while (stem := Path(names[-1]).stem) != names[-1] and len(names) < 3:  # a.mrc.gz, a.mrc, a
        names.append(stem)
    return (
        *(each + _MDOC for each in names),
        *(each + suffix for suffix in _ANGLES for each in names[1:]),
        *(each.removesuffix("_movie") + _INFO for each in names[1:] if each.endswith("_movie")),
    )


@lru_cache(2**16)  # a watch asks again and again
def sidecar_names(name: str) -> Sequence[str]:
    """What the files may be called that are about the sections of a file of this name; none for some kinds of files."""
    return _names(name) if may_have_sidecars(Path(name)) else ()


def sidecar_stamps(path: Path) -> tuple[FileStamp, ...]:
    """The files beside a file that may tell of its sections, as they are now."""
    stamps = []
    directory, own = os.path.split(path)
    for name in sidecar_names(own):  # os.path, since this is asked of every file of every run
        with suppress(OSError):
            status = os.stat(os.path.join(directory, name))  # noqa: PTH116, PTH118
            stamps.append(FileStamp(name, status.st_size, status.st_mtime_ns))
    return tuple(stamps)


def sections_in_mdoc(path: Path) -> int:
    """How many sections the mdoc of a file lists, the longest where it has several; 0 without one."""
    most = 0
    for name in sidecar_names(path.name):
        text = _text(path.with_name(name), MDOC_BYTES) if name.endswith(_MDOC) else None
        if text and (metadata := read_mdoc(name, text)):
            most = max(most, len(metadata.frames))  # none for the frames of a movie, which are told by their number
    return most


def _text(path: Path, at_most: int) -> str | None:
    """The text of a sidecar; None where there is none that can be read. Never waits on a pipe of that name.

    Longer ones are no sidecars: nothing of them is read.
    """
    with suppress(InputError), InputFile(path) as source:
        data = source.read(0, at_most) if source.size <= at_most else b""
        return data.decode("latin-1").removeprefix("ï»¿")  # the byte order mark of UTF-8
    return None


def _angles(name: str, text: str) -> Metadata | None:
    angles = [_number(line.strip()) for line in text.split("\n") if line.strip()]
    return Metadata(name, {TILT: angles}) if angles and None not in angles else None


def _info(name: str, text: str, sections: int) -> Metadata | None:
    """What Direct Electron's cameras write of a movie: its frames a second."""
    rate = detector_rate(text)
    return Metadata(name, {TILT: [None] * sections, EXPOSURE: [1 / rate] * sections}) if rate else None


def read_mdoc(name: str, text: str) -> Metadata | None:
    """The ``[ZValue = n]`` sections of an ``.mdoc`` file, or the frames of the one ``[FrameSet = n]`` of a movie."""
    common: dict[str, str] = {}
    sections: dict[int, dict[str, str]] = {}
    frame_set: dict[str, str] = {}
    current: dict[str, str] | None = common
    for line in io.StringIO(text, newline=None):
        line = line.strip()
        is_heading = line.startswith("[") and line.endswith("]")
        key, _, value = (word.strip() for word in line.strip("[]").partition("="))
        if not is_heading:
            if current is not None and key in _MDOC_KEYS:
                current.setdefault(key, value)
        elif key == "ZValue" and value.isdecimal() and len(value) < 10:
            current = sections.setdefault(int(value), {})
        elif key == "FrameSet":
            current = frame_set
        elif key != "T":
            current = None
        if len(sections) > MOST_SECTIONS:
            return None
    if not sections:
        return _frames(name, frame_set, common)
    ordered = [sections[number] for number in sorted(sections)]
    columns: dict[str, Column] = {}
    for key, position, column_name in _MDOC_FIELDS:
        values = list(_values(ordered, common, key, position, 360 if column_name == TILT else math.inf))
        if column_name == TILT or any(value is not None for value in values):
            columns[column_name] = values
    clock = clock_column([section.get("DateTime", "") for section in ordered])
    if any(clock):
        columns[CLOCK] = clock
    return Metadata(name, columns, frames=tuple(section.get(_FRAMES, "") for section in ordered))


def _frames(name: str, frame_set: dict[str, str], common: dict[str, str]) -> Metadata | None:
    """What is told of a movie's frames: they share its exposure and its dose."""
    text = frame_set.get("NumSubFrames", "")
    count = int(text) if text.isdecimal() and len(text) < 6 else 0
    if not count or not _number(frame_set.get("ExposureTime", "")):
        return None
    columns: dict[str, Column] = {TILT: [None] * count}
    for key, position, column_name in _MDOC_FIELDS:
        (value,) = _values([frame_set], common, key, position, 360 if column_name == TILT else math.inf)
        if value is not None:
            columns[column_name] = [value / count if column_name in (EXPOSURE, _DOSE) else value] * count
    return Metadata(name, columns)


def _values(
    sections: list[dict[str, str]], common: dict[str, str], key: str, position: int, limit: float
) -> Iterator[float | None]:
    for section in sections:
        words = section.get(key, common.get(key, "")).split(maxsplit=position + 1)
        value = _number(words[position]) if len(words) > position else None
        yield value if value is not None and abs(value) <= limit else None


def _number(text: str) -> float | None:
    try:
        number = float(text) if len(text) <= _NUMBER_LENGTH else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None
