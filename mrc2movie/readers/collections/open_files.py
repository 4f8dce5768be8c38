"""The files of a collection: few of them are open at a time, whatever their number."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mrc2movie.readers.volume import Volume

_MOST_OPEN = 8
"""Several collections may be under way, and some systems let a program have 256 files open."""


@dataclass
class _Open:
    volume: Volume
    users: int = 0


class OpenFiles:
    """Opens files when they are wanted, and closes those that were not wanted for the longest time.

    Args:
        paths: The files, by the places that stand for them.
        open_file: Opens one.
    """

    def __init__(self, paths: Mapping[int, Path], open_file: Callable[[Path], Volume]) -> None:
        self._paths = paths
        self._open_file = open_file
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, place: int) -> Volume:
        """A file, which stays open until it is given back as often as it was taken; from one thread.

        Raises:
            InputError: It cannot be opened.
        """
        with self._lock:
            held = self._open.get(place)
            if held:
                held.users += 1
                self._open.move_to_end(place)
                return held.volume
        volume = self._open_file(self._paths[place])
        if not volume.has_random_access:
            volume.expect(range(volume.description.shape[0]), rising=False)
        with self._lock:
            self._open[place] = _Open(volume, users=1)
            idle = [other for other, each in self._open.items() if not each.users]
            closed = [self._open.pop(other) for other in idle[: max(0, len(self._open) - _MOST_OPEN)]]
        for each in closed:
            each.volume.close()
        return volume

    def give_back(self, place: int) -> None:
        """A file is no longer used by who took it; from any thread."""
        with self._lock:
            self._open[place].users -= 1

    def close(self) -> None:
        """Close all; none may be in use."""
        with self._lock:
            closed, self._open = self._open, OrderedDict()
        for each in closed.values():
            each.volume.close()
