"""How far a file is, over all passes over its sections."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], object]
"""What a programmer has called after each section: with the stage ("turning" for another axis, "measuring",
"comparing" for the volume that is compared with, "converting"), the number of sections done, and that of all."""

_STAGES = ("turning", "measuring", "converting")


class Passes:
    """How many passes over a file are done, as a number with a fraction: they may be of different lengths.

    A pass that begins anew, since a compressed stream turned out to be shorter, counts anew.

    Attributes:
        stage: The current one; empty before the first section.
        sections: Of the current pass, in all.
        done: Passes that are done, the current one in part.
        total: Passes in all; 0 before the first section.
    """

    def __init__(self) -> None:
        self.stage = ""
        self.sections = self.total = 0
        self.done = 0.0
        self._done: dict[str, float] = {}

    def count(self, stage: str, done: int, total: int) -> None:
        """So many sections have passed a stage."""
        self.stage, self.sections = stage, total
        self._done[stage] = done / total
        for later in _STAGES[_STAGES.index(stage) + 1 :] if stage in _STAGES else ():
            self._done[later] = 0.0
        self.done, self.total = sum(self._done.values()), len(self._done)


@contextmanager
def calling(progress: Progress | bool | None, name: str) -> Iterator[Progress]:
    """What to call after each section: what the programmer gave, or what moves a bar.

    Args:
        progress: A function, True for a bar of ``tqdm.auto``, which fits terminals and notebooks, or nothing.
        name: Of the file, shown before the bar.
    """
    if progress is not True:
        yield progress or (lambda stage, done, total: None)
        return
    from tqdm.auto import tqdm  # takes long in a notebook, and is not for those who see nothing

    passes = Passes()
    # In percent: a notebook's bar takes whole numbers only, and no other total later.
    with tqdm(total=100, desc=name, bar_format="{l_bar}{bar}| {elapsed}<{remaining}{postfix}") as bar:

        def move(stage: str, done: int, total: int) -> None:
            passes.count(stage, done, total)
            bar.set_postfix_str(stage, refresh=False)
            bar.update(int(100 * passes.done / passes.total) - bar.n)

        yield move
