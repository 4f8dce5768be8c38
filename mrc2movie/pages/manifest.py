"""The manifest: what became of the inputs of a run, and what was made of them, as JSON for pipelines.

Its form is that of ``manifest.schema.json`` beside this module. What batchruntomo leaves of one tilt series belongs to
one entry: ``TS_01.mrc``, ``TS_01_ali.mrc`` and ``TS_01_rec.mrc``, or ``TS_01.st``, ``.ali`` and ``.rec``, of one
directory.
"""

import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeAlias

from mrc2movie.errors import UsageError, saying
from mrc2movie.readers import stem_of
from mrc2movie.store.artifact import Artifact
from mrc2movie.store.files import FileStamp, move_into_place
from mrc2movie.store.names import fitting
from mrc2movie.store.owner import Owner
from mrc2movie.writers.record import Made, all_kept, load

Status: TypeAlias = Literal["success", "pending", "error"]
"""Of an input: its movie is there, is being made by another run, or could not be made."""

_FROM_GOOD_TO_BAD: Sequence[Status] = ("success", "pending", "error")
_STEPS = (re.compile(r"_(pre)?ali$|\.(pre)?ali$", re.IGNORECASE), re.compile(r"(_full)?(_rec|\.s?rec)$", re.IGNORECASE))
"""How the names of aligned tilt series and of reconstructions end, without .mrc, as IMOD's programs give them."""
_KEPT_SUFFIX = re.compile(r"\.(pre)?ali\b|\.s?rec\b", re.IGNORECASE)
_VOLUMES = ("volume", "volume stack")
_BEGINS = re.compile(rb'\s*\{\s*"files"\s*:')
_HEAD_BYTES = 256


@dataclass(frozen=True)
class Input:
    """An input of a run.

    Attributes:
        source: The file.
        movie: What it becomes.
        status: What became of it.
        message: Why, where that is not well.
    """

    source: Path
    movie: Path
    status: Status
    message: str = ""


@dataclass(frozen=True)
class _Part:
    """An input as a part of its series.

    Attributes:
        input: The input.
        series: The directory, and the name of the series in it.
        step: 0 for a file as it was recorded, 1 for an aligned tilt series, 2 for a reconstruction.
    """

    input: Input
    series: tuple[str, str]
    step: int

    @classmethod
    def of(cls, each: Input) -> "_Part":
        """What the name tells."""
        name = each.source.name
        stem = stem_of(name)
        suffix = _KEPT_SUFFIX.match(name.removeprefix(stem))
        bare = stem + (suffix[0] if suffix else "")
        found = [(step, ending.start()) for step, form in enumerate(_STEPS, 1) if (ending := form.search(bare))]
        step, end = found[0] if found else (0, len(bare))
        return cls(each, (os.path.realpath(each.source.parent), bare[:end] or bare), step)


def manifest(inputs: Sequence[Input]) -> dict[str, Any]:
    """An entry for each series, in the order of their first inputs."""
    series: dict[tuple[str, str], list[_Part]] = {}
    for part in map(_Part.of, inputs):
        series.setdefault(part.series, []).append(part)
    return {"files": [_entry(name, sorted(parts, key=_step)) for (_, name), parts in series.items()]}


def _step(part: _Part) -> int:
    return part.step


def in_json(inputs: Sequence[Input]) -> bytes:
    """The manifest as it goes into a file, or to a server; in ASCII, so that names that are not UTF-8 pass."""
    return (json.dumps(manifest(inputs), indent=1) + "\n").encode("ascii")


def _entry(title: str, parts: Sequence[_Part]) -> dict[str, Any]:
    """The entry of a series; its primary file is the one that the others were made of."""
    images = [_image(part) for part in parts]
    with_thumbnail = [
        place for place, image in enumerate(images) if any(asset["type"] == "thumbnail" for asset in image["assets"])
    ]
    primary = parts[0].input
    return {
        "primaryFilePath": _absolute(primary.source),
        "status": max((part.input.status for part in parts), key=_FROM_GOOD_TO_BAD.index),
        "message": "\n".join(part.input.message for part in parts if part.input.message),
        "thumbnailIndex": with_thumbnail[0] if with_thumbnail else 0,
        "title": title,
        "fileMetadata": _of_file(primary.source),
        "imageSet": images,
    }


def _of_file(source: Path) -> dict[str, Any]:
    try:
        stamp = FileStamp.of(source)
    except OSError:
        return {}
    changed = datetime.fromtimestamp(stamp.mtime_ns // 10**9, UTC)
    return {"bytes": stamp.size, "modified": changed.isoformat()}


def _image(part: _Part) -> dict[str, Any]:
    made = load(part.input.movie) if part.input.status == "success" else None
    record = all_kept(part.input.movie) if isinstance(made, Made) else {}
    return {
        "imageName": part.input.source.name,
        "imageMetadata": _metadata(record),
        "assets": list(_assets(part, made, record)) if isinstance(made, Made) else [],
    }


def _metadata(record: dict[str, Any]) -> dict[str, Any]:
    """What a record tells of an input, as far as it is what it must be: records may be damaged."""
    found = {
        "kind": _of_type(record.get("kind"), str),
        "shape": _items(record.get("shape"), int, 3),
        "voxelSizeAngstrom": _items(record.get("voxel_size_A"), float | int | None, 3),
        "greyRange": _items(record.get("grey_range"), float | int, 2),
        "warnings": _items(record.get("warnings"), str),
        "signals": _items([_fields(signal).get("text") for signal in _items(record.get("signals"), dict) or ()], str),
        "mrc2movieVersion": _of_type(record.get("version"), str),
    }
    tilts = _fields(_fields(record.get("header")).get("sections")).get("tilt_degrees")
    known = [tilt for tilt in _items(tilts, float | int | None) or () if tilt is not None]
    if known:
        found["tiltRangeDegrees"] = [min(known), max(known)]
    return {name: value for name, value in found.items() if value is not None}


def _of_type(value: object, kind: type | UnionType) -> Any:
    """The value, where it is of a type and no number that JSON has not; else None."""
    good = isinstance(value, kind) and not (isinstance(value, float) and not math.isfinite(value))
    return value if good else None


def _items(value: object, kind: type | UnionType, count: int | None = None) -> list[Any] | None:
    """A list, where all its items are of a type, and as many as they must be; else None."""
    if not isinstance(value, list) or (count is not None and len(value) != count):
        return None
    return value if all(isinstance(item, kind) and _of_type(item, kind) == item for item in value) else None


def _fields(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _assets(part: _Part, made: Made, record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The movie, and what lies beside it and shows the same."""
    movie = part.input.movie
    is_volume = part.step == 2 or (part.step == 0 and record.get("kind") in _VOLUMES)
    facts = _fields(record.get("frames"))
    told = {
        **{name: _of_type(made.settings.get(name), str) for name in ("format", "codec")},
        **{name: _of_type(facts.get(name), float | int) for name in ("frames", "width", "height", "fps")},
    }
    yield _asset("recMovie" if is_volume else "tiltMovie", movie, told)
    for each in made.pictures:
        path = movie.with_name(each.file.name)
        if each.value is not None and path.exists() and (kind := _kind_of(each)):
            yield _asset(kind, path, {"option": each.option, "value": each.value})


def _kind_of(each: Artifact) -> str | None:
    """The type of what lies beside a movie."""
    if each.option == "volume":
        value = str(each.value)
        return "neuroglancerZarr" if "zarr" in value else "averagedVolume" if "averaged" in value else "volume"
    return {"thumbnail": "thumbnail", "contact_sheet": "keyImage"}.get(each.option)


def _asset(kind: str, path: Path, metadata: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "path": _absolute(path), "metadata": {"bytes": FileStamp.of(path).size, **metadata}}


def _absolute(path: Path) -> str:
    return os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118


def check_manifest(path: Path, output_directory: Path) -> None:
    """Refuse, before any work, what cannot become the manifest: something that is there, data maybe.

    Args:
        path: The manifest.
        output_directory: Where the movies go: it will be there.

    Raises:
        UsageError: It is no manifest, or its directory is not there.
    """
    shown = f"--manifest {path}"
    if not path.parent.is_dir() and os.path.realpath(path.parent) != os.path.realpath(output_directory):
        raise UsageError(f"{shown}: its directory does not exist", "make it, or name another file")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UsageError(f"{shown}: is there and no plain file", "name another")
    if path.exists():
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if head and not _BEGINS.match(head):
            raise UsageError(f"{shown}: is there and no manifest", "name another file, or remove it")


def write_manifest(path: Path, content: bytes) -> None:
    """Write the manifest, replacing an earlier one when it is whole.

    Raises:
        OutputError: It cannot be written.
    """
    hidden = path.with_name(fitting(f".{path.name}", f".{Owner.me()}"))
    try:
        with saying("the manifest cannot be written"):
            hidden.write_bytes(content)
        move_into_place(hidden, path, "the manifest")
    except BaseException:
        with suppress(OSError):
            hidden.unlink()
        raise
