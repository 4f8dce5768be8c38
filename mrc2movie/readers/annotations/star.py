"""STAR files: tables of text by their names.

Format: Hall, J. Chem. Inf. Comput. Sci. 31 (1991) 326, as RELION writes it: ``data_NAME``, then ``loop_`` with labels
and rows, or labels with one value each. A blank line ends a table there; other programs leave some within.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mrc2movie.errors import InputError, about
from mrc2movie.readers.annotations.files import content_of, text_of

_VALUE = re.compile(r""""[^"]*"|'[^']*'|\S+""")


@dataclass
class StarTable:
    """A table.

    Attributes:
        labels: Of its columns, without the underscore, in order.
        rows: Its rows as they stand in the file, and where: number of the line, text.
    """

    labels: list[str] = field(default_factory=list)
    rows: list[tuple[int, str]] = field(default_factory=list)

    def __contains__(self, label: object) -> bool:
        return label in self.labels

    def columns(self, *labels: str) -> Sequence[Sequence[str]]:
        """The values of some columns, each as text.

        Raises:
            InputError: A row has more or fewer values than there are labels.
        """
        places = [self.labels.index(label) for label in labels]
        found: list[list[str]] = [[] for _ in labels]
        for number, row in self.rows:
            values = _values(row)
            if len(values) != len(self.labels):
                raise InputError(
                    f"line {number} has {len(values)} values for {len(self.labels)} labels", "is the file whole?"
                )
            for column, place in zip(found, places, strict=True):
                column.append(values[place])
        return found


def _values(row: str) -> list[str]:
    if '"' in row or "'" in row:
        return [value[1:-1] if value[0] in "\"'" else value for value in _VALUE.findall(row)]
    return row.split()


def read_star(path: Path) -> Mapping[str, StarTable]:
    """The tables of a STAR file, by the names of their data blocks; of several with one name, the last.

    Raises:
        InputError: It cannot be read, or has none.
    """
    tables: dict[str, StarTable] = {}
    singles: defaultdict[int, list[tuple[int, str]]] = defaultdict(list)
    table: StarTable | None = None
    in_loop = False
    for number, line in enumerate(text_of(content_of(path)).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("data_"):
            table = tables[text[5:].split("#")[0].strip()] = StarTable()
            in_loop = False
        elif table is None:
            continue  # what stands before the first table
        elif text == "loop_" or text.startswith("loop_ "):
            in_loop = True
        elif text.startswith("_"):
            label, *value = (text[1:] or "?").split(maxsplit=1)
            table.labels.append(label)
            if not in_loop:
                singles[id(table)].append((number, value[0].split(" #")[0].strip() if value else "?"))
        elif in_loop:
            table.rows.append((number, text))
    for each in tables.values():
        if values := singles[id(each)]:
            each.rows = [(values[0][0], " ".join(value for _, value in values))]
    if not tables:
        with about(path):
            raise InputError("has no data block, and so is no STAR file", "name another")
    return tables
