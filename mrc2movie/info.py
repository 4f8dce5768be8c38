"""What the readers make of files: the answer to ``--info``."""

import html
from dataclasses import asdict, dataclass
from pathlib import Path

from mrc2movie.conversion.opening import open_input
from mrc2movie.conversion.preparation import selection_of
from mrc2movie.errors import InputError
from mrc2movie.options.settings import Settings
from mrc2movie.picture.quality import Signal, in_one_line, tilt_signals
from mrc2movie.readers.volume import Description, Tilts
from mrc2movie.store.names import printable


@dataclass(frozen=True)
class FileInfo:
    """What is known of a file; in a notebook it shows itself as a table.

    Attributes:
        path: The file.
        description: What the reader made of it; None where it cannot be read.
        error: Why it cannot be read; empty where it can.
        notes: What the user may want to know.
        warnings: What the user should know.
        signals: What is striking about its tilts; what is about its voxels, only a conversion shows.
    """

    path: Path
    description: Description | None = None
    error: str = ""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    signals: tuple[Signal, ...] = ()

    def facts(self) -> dict[str, str]:
        """What a person wants to know first: names and values in words."""
        description = self.description
        if description is None:
            return {"error": self.error}
        count, rows, columns = description.shape
        voxel_size = description.voxel_size_A
        facts = {
            "kind": description.kind,
            **description.storage,
            "size": f"{columns} x {rows} x {count} (columns x rows x sections)",
            "voxel size": " x ".join(f"{length:.4g}" if length else "?" for length in voxel_size) + " Å"
            if voxel_size
            else "not known",
            "tilts": _tilts_in_words(description.tilts),
            "orientation": f"row 0 is the {'bottom' if description.row0_at_bottom else 'top'} of the picture",
        }
        facts.update({f"warning {number}": text for number, text in enumerate(self.warnings, start=1)})
        facts.update({f"note {number}": text for number, text in enumerate(self.notes, start=1)})
        return facts

    def __repr__(self) -> str:
        return f"<FileInfo {self.path}: {', '.join(f'{name} {value}' for name, value in self.facts().items())}>"

    def _repr_html_(self) -> str:
        facts = {"file": str(self.path), **self.facts()}
        rows = (f"<tr><th>{name}</th><td>{html.escape(printable(value))}</td></tr>" for name, value in facts.items())
        return f"<table>{''.join(rows)}</table>"

    def as_json(self) -> dict[str, object]:
        """All that is known, as JSON has it."""
        description = self.description
        if description is None:
            return {"file": str(self.path), "error": self.error}
        count, rows, columns = description.shape
        tilts = description.tilts
        return {
            "file": str(self.path),
            "kind": description.kind,
            "sections": count,
            "rows": rows,
            "columns": columns,
            "dtype": str(description.dtype),
            "colour": description.colour,
            "voxel_size_A": list(description.voxel_size_A) if description.voxel_size_A else None,
            "row0": "bottom" if description.row0_at_bottom else "top",
            "tilts": {"from": tilts.origin, "degrees": list(tilts.degrees)} if tilts else None,
            "header": description.header,
            "notes": list(self.notes),
            "warnings": list(self.warnings),
            "signals": [asdict(signal) for signal in self.signals],
        }


def inspect(path: str | Path, settings: Settings | None = None) -> FileInfo:
    """Open a file, look, and close it; never raises for what is wrong with the file.

    A compressed stream is unpacked only as far as its header: whether it is whole, only a conversion shows.

    Args:
        path: The file.
        settings: Which sections would be shown, in which order, and how 8-bit integers are read; the defaults where
            None.
    """
    path, settings = Path(path), settings or Settings()
    try:
        with open_input(path, settings) as volume:
            description = volume.description
    except InputError as error:
        return FileInfo(path, error=error.in_words)
    selection = selection_of(description, settings)
    striking = tilt_signals(description)
    return FileInfo(
        path,
        description,
        notes=description.notes + selection.notes,
        warnings=description.warnings + selection.warnings + in_one_line(striking),
        signals=striking,
    )


def _tilts_in_words(tilts: Tilts | None) -> str:
    if tilts is None:
        return "none known"
    low, high = min(tilts.degrees), max(tilts.degrees)
    return f"{low:g} … {high:g} degrees by {tilts.origin}{'' if tilts.vary else ', so not tilted'}"
