"""A scan that the user or another file tells of."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from mrc2movie.readers.scans.described import scanned
from mrc2movie.readers.scans.direct_electron import described_by_info, info_beside
from mrc2movie.readers.scans.scan import Scan
from mrc2movie.readers.scans.velox import is_velox, scan_of
from mrc2movie.readers.source import Source
from mrc2movie.readers.told import Tell, Told
from mrc2movie.readers.volume import Volume


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
