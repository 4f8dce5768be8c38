"""Files and directories beside a movie: made under hidden names in its claim, known to its record."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mrc2movie.store.files import FileStamp, move_into_place


@dataclass(frozen=True)
class Artifact:
    """A file or directory beside a movie, as the record keeps it.

    Attributes:
        option: The option that asks for it.
        value: Of this option; None where it shows what the movie no longer does.
        file: The file or directory.
    """

    option: str
    value: object
    file: FileStamp


@dataclass(frozen=True)
class HiddenArtifact:
    """An artifact that is complete and has not come to its name yet.

    Attributes:
        hidden: Where it is.
        target: Where it belongs.
        artifact: What the record keeps of it.
    """

    hidden: Path
    target: Path
    artifact: Artifact

    @classmethod
    def of(cls, hidden: Path, target: Path, option: str, value: object) -> "HiddenArtifact":
        """Stamp a complete file or directory; raises OSError."""
        return cls(hidden, target, Artifact(option, value, replace(FileStamp.of(hidden), name=target.name)))


def publish(artifacts: Sequence[HiddenArtifact]) -> None:
    """Give the artifacts their names, replacing what was there.

    Raises:
        OutputError: One cannot be renamed.
    """
    for each in artifacts:
        move_into_place(each.hidden, each.target, each.target.name)
