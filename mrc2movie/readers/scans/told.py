"""What is known of a file beyond its own header: a scan that the user or another file tells of."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from mrc2movie.readers.scans.described import scanned
from mrc2movie.readers.scans.direct_electron import described_by_info, info_beside
from mrc2movie.readers.scans.scan import Scan
from mrc2movie.readers.scans.velox import is_velox, scan_of
from mrc2movie.readers.source import Source
from mrc2movie.readers.volume import Description, Load, Volume

Tell = Callable[[Description], Description]


class Told(Volume):
    """A volume of which more is known than its reader made of it.

    Args:
        volume: The volume; closed with this one.
        tell: Gives its description with what else is known.

    Raises:
        InputError: That contradicts the file.
    """

    def __init__(self, volume: Volume, tell: Tell) -> None:
        self.path = volume.path
        self.has_random_access = volume.has_random_access
        self._volume = volume
        self._tell = tell
        self._follow()

    def _follow(self) -> None:
        """The end of a compressed stream changes the description."""
        self._seen = self._volume.description
        self.description = self._tell(self._seen)
        self.scratch_bytes = self._volume.scratch_bytes

    def expect(self, numbers: Iterable[int], rising: bool) -> None:
        """As the volume."""
        self._volume.expect(numbers, rising)

    def section(self, number: int) -> Load:
        """As the volume."""
        try:
            return self._volume.section(number)
        finally:
            if self._volume.description is not self._seen:
                self._follow()

    def close(self) -> None:
        """Close the volume."""
        self._volume.close()


def with_scan(
    volume: Volume,
    navigation_shape: tuple[int, int] | None,
    serpentine: bool,
    open_source: Callable[[Path], Source],
) -> Volume:
    """A volume that knows where its sections were recorded, where the user or another file tells.

    Args:
        volume: The volume; closed with what is given back, and not when this raises.
        navigation_shape: (columns, rows) of the scan by the user.
        serpentine: Whether every second line of that runs backward.
        open_source: Opens the file once more.

    Raises:
        InputError: What is told contradicts the file.
    """
    tell: list[Tell] = []
    if info_beside(volume.path):
        tell.append(partial(described_by_info, path=volume.path, is_scan_known=navigation_shape is not None))
    header = volume.description.header
    if navigation_shape:
        tell.append(partial(scanned, scan=Scan(*navigation_shape, serpentine), origin="--navigation-shape"))
    elif not tell and is_velox(header) and volume.has_random_access:
        with open_source(volume.path) as source:
            scan = scan_of(source, header, volume.description.shape[0])
        tell += [partial(scanned, scan=scan, origin="the extended header")] if scan else []
    for each in tell:
        volume = Told(volume, each)
    return volume
