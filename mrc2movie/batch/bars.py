"""Progress bars of a run; imported only where they are drawn."""

import threading
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.utils import disp_len

from mrc2movie.batch.report import Job, Outcome, RunProgress
from mrc2movie.conversion.passes import Passes
from mrc2movie.store.names import printable

_WIDE, _MIDDLE = 100, 72
"""Columns of a terminal from which on more is shown."""


class _FilesBar(tqdm):  # type: ignore[type-arg]
    """The bar of the files, laid out for the width of the terminal."""

    @property
    def format_dict(self) -> MutableMapping[str, Any]:
        known = dict(super().format_dict)
        if (known["ncols"] or _MIDDLE) >= _MIDDLE:
            form = "files |{bar}| {n_fmt}/{total_fmt}, {elapsed} gone, {remaining} left"
        else:
            form = "files {n_fmt}/{total_fmt}, {elapsed}, {remaining} left"
        return {**known, "bar_format": form}


class _FileBar(tqdm):  # type: ignore[type-arg]
    """The bar of one file over all passes, laid out for the width of the terminal."""

    def __init__(self, name: str, stage: str) -> None:
        self._name = printable(name)
        self._passes = Passes()
        self._passes.stage = stage
        self._section_bytes = 0
        super().__init__(dynamic_ncols=True, leave=False)

    def count(self, stage: str, done: int, total: int, section_bytes: int) -> None:
        """So many sections have passed a stage."""
        self._passes.count(stage, done, total)
        self._section_bytes = section_bytes
        self.total = self._passes.total
        self.update(self._passes.done - self.n)

    @property
    def format_dict(self) -> MutableMapping[str, Any]:
        known = dict(super().format_dict)
        columns = known["ncols"] or _MIDDLE
        rate = (known["rate"] or known["n"] / (known["elapsed"] or 1)) * self._passes.sections
        speed, bytes_read = f"{rate:.3g}" if rate < 1000 else f"{rate:.0f}", f"{rate * self._section_bytes / 1e6:.0f}"
        if columns >= _WIDE:
            name = _end_of(self._name, columns // 4)
            right = f"| {self._passes.stage}, {{remaining}} left, {speed} sections/s, {bytes_read} MB/s"
        elif columns >= _MIDDLE:
            name = _end_of(self._name, columns // 4)
            right = f"| {{remaining}} left, {speed} sections/s, {bytes_read} MB/s"
        else:
            name = _end_of(self._name, max(4, columns - 30))
            right = f" {{remaining}} {speed}/s {bytes_read} MB/s"
        left = name.replace("{", "{{").replace("}", "}}") + " {percentage:3.0f}%"
        return {**known, "bar_format": left + ("|{bar}" if columns >= _MIDDLE else "") + right}


def _end_of(name: str, columns: int) -> str:
    """A name, or as much of its end as so many columns of a terminal can show."""
    shown = name
    while disp_len(shown) > columns:
        name = name[1:]
        shown = f"…{name}"
    return shown


class TerminalBars(RunProgress):
    """One bar for the files, and one for each file that is under way."""

    def __init__(self) -> None:
        tqdm.monitor_interval = 0  # no thread of tqdm's watches the bars
        tqdm.set_lock(threading.RLock())  # its own lock is for processes, too: Python 3.14 starts one for that
        self._lock = threading.Lock()
        self._files: _FilesBar | None = None
        self._of_file: dict[Path, _FileBar] = {}

    def run_begins(self, jobs: int, threads: int) -> None:
        """Show the bar of the files."""
        self._files = _FilesBar(total=jobs, unit="file", dynamic_ncols=True, leave=False)

    def section_done(self, job: Job, stage: str, done: int, total: int, section_bytes: int) -> None:
        """Move the bar of the file; show it at the first section."""
        with self._lock:
            if job.target not in self._of_file:
                self._of_file[job.target] = _FileBar(job.source.name, stage)
            self._of_file[job.target].count(stage, done, total, section_bytes)

    def job_ends(self, outcome: Outcome) -> None:
        """Move the bar of the files."""
        with self._lock:
            if bar := self._of_file.pop(outcome.job.target, None):
                bar.close()
            if self._files is not None:
                self._files.update()

    def run_ends(self) -> None:
        """Take the bars off the terminal until others are needed."""
        self.close()

    def tick(self) -> None:
        """Move the clocks, also where nothing else moves."""
        with self._lock:
            for bar in (self._files, *self._of_file.values()):
                if bar is not None:
                    bar.refresh()

    def close(self) -> None:
        """Take the bars off the terminal."""
        with self._lock:
            for bar in (*self._of_file.values(), self._files):
                if bar is not None:
                    bar.close()
            self._of_file, self._files = {}, None


class AutoBar(RunProgress):
    """A bar of ``tqdm.auto`` for the files, in a terminal or a notebook."""

    def run_begins(self, jobs: int, threads: int) -> None:
        """Show the bar."""
        from tqdm.auto import tqdm as tqdm_auto  # loads much, and is not for a terminal

        self._bar = tqdm_auto(total=jobs, unit="file")

    def job_ends(self, outcome: Outcome) -> None:
        """Move the bar; it stays where all are done."""
        self._bar.set_postfix_str(outcome.job.source.name, refresh=False)
        self._bar.update()
        if self._bar.n == self._bar.total:
            self._bar.close()
