"""Everything that a person sees: log, progress bars, closing table. The only place that prints."""

import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from mrc2movie.batch.report import NOT_WELL, Job, Outcome, Report, RunProgress, Several, Status, place_of
from mrc2movie.conversion.passes import Passes
from mrc2movie.errors import saying
from mrc2movie.logfile import appending_alone, open_log
from mrc2movie.options.settings import Settings
from mrc2movie.store.names import printable
from mrc2movie.version import __version__

if TYPE_CHECKING:
    from mrc2movie.batch.status import DirectoryStatus
    from mrc2movie.info import FileInfo
    from mrc2movie.store.under_way import UnderWay

logger = logging.getLogger("mrc2movie.console")

_ROWS_AT_MOST = 40
_CLOCK_SECONDS = 1.0
"""So often bars are drawn anew, where no section does it."""
_LOCK_SECONDS = 1.0
"""The longest wait of a run for others that write into its log."""
_SIGN_OF_LIFE_SECONDS = 60.0
"""So often a line says, where there are no bars, how far each file is."""


class _Formatter(logging.Formatter):
    """Escapes the message, which may hold a file name; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return _printable_lines(super().formatException(ei))


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable, text.splitlines()))


class _LogFile(logging.StreamHandler[TextIO]):
    """The log of a run, of which nothing but one line is kept if nothing was to do.

    It reports once that it cannot be written, on a full disk for example, and lets the run go on.
    """

    def __init__(self, path: Path, stream: TextIO, header: logging.LogRecord) -> None:
        super().__init__(stream)
        self._path = path
        self._reported = False
        self._header = header
        self._held = [header]
        self._patience = _LOCK_SECONDS

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "nothing_done", False):
            return
        if hasattr(record, "begins_run"):
            self._held.append(record)
        elif self._header in self._held and hasattr(record, "ends_run"):
            self._header.msg = f"{self._header.msg}: {record.getMessage()}"
            self._held = [self._header]
            self._write_held()
        else:
            self._write_held()
            self._append(record)

    def _write_held(self) -> None:
        held, self._held = self._held, []
        for record in held:
            self._append(record)

    def _append(self, record: logging.LogRecord) -> None:
        with appending_alone(self.stream, self._patience) as alone:
            if not alone:
                self._patience = 0.0
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        if not self._reported:
            self._reported = True
            show_error(f"{self._path}: the log cannot be written ({sys.exc_info()[1]})")

    def close(self) -> None:
        self._write_held()
        with suppress(OSError):  # what could not be written fails again
            self.stream.close()
        super().close()


def _shown_otherwise(record: logging.LogRecord) -> bool:
    """Whether a line of the log is shown in another way: the end of a run, and the begin where there are bars."""
    return hasattr(record, "ends_run") or (hasattr(record, "begins_run") and _on_terminal())


def _on_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def logging_to(log_file: Path | None, settings: Settings, command: list[str]) -> Iterator[None]:
    """Log to standard error, and to a file unless there is none (a dry run).

    Args:
        log_file: Appended to, with one header a run.
        settings: How much is logged to standard error.
        command: The words of the command line, for the header.

    Raises:
        UsageError: The log file is something other than a log.
        OutputError: The log file cannot be written.
    """
    handlers: list[logging.Handler] = [_terminal_handler() if _on_terminal() else _plain_handler()]
    handlers[0].addFilter(lambda record: not _shown_otherwise(record))
    handlers[0].setLevel(logging.WARNING if settings.quiet else logging.DEBUG if settings.verbose else logging.INFO)
    package = logging.getLogger("mrc2movie")
    level_before = package.level
    package.setLevel(logging.DEBUG)
    if log_file is not None:
        try:
            header = _record(logging.INFO, f"mrc2movie {__version__}: {' '.join(command)}")
            file_handler = _LogFile(log_file, open_log(log_file, is_named=bool(settings.log)), header)
        except PermissionError as error:
            why = f"the log cannot be written ({error.strerror}), so this run has none; name another with --log"
            handlers[0].handle(_record(logging.WARNING, f"{log_file}: {why}"))
        else:
            file_handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s"))
            handlers.append(file_handler)
    for handler in handlers:
        package.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            package.removeHandler(handler)
            handler.close()
        package.setLevel(level_before)


def _record(level: int, message: str) -> logging.LogRecord:
    return logging.getLogger("mrc2movie").makeRecord("mrc2movie", level, "", 0, message, (), None)


def _plain_handler() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(place)s%(message)s", defaults={"place": ""}))
    return handler


def _terminal_handler() -> logging.Handler:
    """Coloured levels, and no line that tears a progress bar."""
    # Imported here: where there is no terminal, a shell loop over thousands of files need not wait for rich and tqdm.
    from rich.highlighter import NullHighlighter
    from rich.logging import RichHandler
    from tqdm import tqdm

    class BarKeepingHandler(RichHandler):
        def emit(self, record: logging.LogRecord) -> None:
            with tqdm.external_write_mode(file=sys.stderr):
                super().emit(record)

    handler = BarKeepingHandler(
        console=_rich_console(), show_path=False, show_time=False, highlighter=NullHighlighter()
    )
    handler.setFormatter(_Formatter("%(message)s"))
    return handler


def _rich_console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


class FirstLine(RunProgress):
    """The first line of a run of several files; a shell loop has a run for each."""

    def run_begins(self, jobs: int, threads: int) -> None:
        """Log how many files there are, and how many threads."""
        if jobs > 1:
            counts = [_counted(jobs, "file"), *([_counted(threads, "thread")] if threads else [])]
            logger.info("%s", ", ".join(counts), extra={"begins_run": True})


def show_share(shard: str, files: int, of_all: int) -> None:
    """Log which share of the files this run has."""
    logger.info("share %s: %d of %s", shard, files, _counted(of_all, "file"), extra={"begins_run": True})


class Lines(RunProgress):
    """Where there are no bars: one line a minute for each file that is under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[Path, tuple[Job, str, float, Passes]] = {}

    def job_begins(self, job: Job, position: int, jobs: int) -> None:
        """Start the clock of the file."""
        with self._lock:
            self._files[job.target] = job, place_of(position, jobs), time.monotonic(), Passes()

    def section_done(self, job: Job, stage: str, done: int, total: int, section_bytes: int) -> None:
        """Count the section."""
        self._files[job.target][-1].count(stage, done, total)

    def job_ends(self, outcome: Outcome) -> None:
        """Forget the file."""
        with self._lock:
            self._files.pop(outcome.job.target, None)

    def tick(self) -> None:
        """Log how far each file is."""
        with self._lock:
            files = tuple(self._files.values())
        for job, place, begin, passes in files:
            spent = time.monotonic() - begin
            how_far = f"under way for {_duration(spent)}"
            if passes.done:
                left = spent * (passes.total / passes.done - 1)
                how_far += f", {passes.stage}, {passes.done / passes.total:.0%} done, {_duration(left)} left"
            logger.info("%s: %s", job.source, how_far, extra={"place": place})


class JsonLines(RunProgress):
    """An object on standard output for each file, as soon as it is done."""

    def __init__(self) -> None:
        self._has_reader = True

    def job_ends(self, outcome: Outcome) -> None:
        """Print what became of the file."""
        if not self._has_reader:
            return
        try:
            with _without_bars():
                print(json.dumps(outcome.as_json()), flush=True)
        except OSError:
            self._has_reader = False
            _give_up_standard_output()


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _duration(seconds: float) -> str:
    """In words that a person reads at a glance: ``12.3 s``, ``4 min 5 s``, ``2 h 3 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def _without_bars() -> Iterator[None]:
    """Take bars off the terminal for a line on standard output, should that be the same terminal."""
    if not (_on_terminal() and sys.stdout.isatty()):
        yield
        return
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stdout):
        yield


def _give_up_standard_output() -> None:
    """Nobody reads it: flushing the rest at the exit must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _every(seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """Call a function every so many seconds, in a thread, until the block ends."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            act()

    clock = threading.Thread(target=run, name="mrc2movie clock")
    with suppress(RuntimeError):  # no memory for it: the run needs no clock
        clock.start()
    try:
        yield
    finally:
        ended.set()
        if clock.ident is not None:
            clock.join()


@contextmanager
def showing_progress(settings: Settings, as_json: bool = False) -> Iterator[RunProgress]:
    """Bars on a terminal, lines elsewhere, nothing with ``--quiet``.

    Args:
        settings: Whether anything is shown.
        as_json: Whether each outcome is printed as JSON as well.
    """
    always: list[RunProgress] = [] if settings.dry_run else [FirstLine()]
    if as_json:
        always.append(JsonLines())
    if settings.quiet or settings.dry_run:
        yield Several(always)
    elif _on_terminal():
        from mrc2movie.batch.bars import TerminalBars

        bars = TerminalBars()
        try:
            with _every(_CLOCK_SECONDS, bars.tick):
                yield Several((bars, *always))
        finally:
            bars.close()
    else:
        lines = Lines()
        with _every(_SIGN_OF_LIFE_SECONDS, lines.tick):
            yield Several((lines, *always))


def show_report(report: Report, settings: Settings, log_file: Path | None) -> None:
    """Log and print the summary of a run: on a terminal a table with the failures and their reasons; totals.

    Elsewhere each failure has its line already.

    Args:
        report: Of the run.
        settings: Whether anything is printed.
        log_file: Where the log is; None for a dry run.
    """
    totals = _totals(report)
    logger.info("%s; %s", report.counts, totals, extra={"ends_run": True})
    if settings.quiet:
        return
    with suppress(OSError):  # the reader has gone
        if _on_terminal():
            _show_tables(report)
        if log_file is not None and (_on_terminal() or len(report.outcomes) > 1):
            print(printable(f"{totals}; log: {log_file}"), file=sys.stderr)
        print(report.counts, file=sys.stderr)


def _totals(report: Report) -> str:
    bytes_in = sum(outcome.source_size for outcome in report.outcomes)
    bytes_out = sum(outcome.size for outcome in report.outcomes)
    sizes = f", {bytes_in / 1e6:.1f} MB in, {bytes_out / 1e6:.1f} MB out" if report.count(Status.CONVERTED) else ""
    return f"{_duration(report.seconds)}{sizes}"


def _problems(report: Report) -> Iterator[str]:
    """What needs attention, by the name of the input."""
    outcomes = [outcome for outcome in report.outcomes if outcome.status in NOT_WELL]
    for outcome in outcomes[:_ROWS_AT_MOST]:
        why = f": {outcome.reason}" if outcome.reason else ""
        yield printable(f"{outcome.status.value}: {outcome.job.source.name}{why}")
    if len(outcomes) > _ROWS_AT_MOST:
        yield f"and {len(outcomes) - _ROWS_AT_MOST} more, which are in the log"


def _show_tables(report: Report) -> None:
    from rich.table import Table
    from rich.text import Text

    console = _rich_console()
    rows = [outcome for outcome in report.outcomes if outcome.status not in NOT_WELL]
    if rows and len(report.outcomes) <= _ROWS_AT_MOST:
        table = Table(box=None, header_style="bold")
        for title in ("movie", "frames", "MB", "s"):
            table.add_column(title, justify="left" if title == "movie" else "right")
        for outcome in rows:
            name = Text(printable(outcome.job.target.name), overflow="fold")
            if outcome.status is Status.CONVERTED:
                table.add_row(name, str(outcome.frames), f"{outcome.size / 1e6:.1f}", f"{outcome.seconds:.1f}")
            else:
                table.add_row(name, Text(outcome.status.value, style="dim"), "", "")
        console.print(table)
    for line in _problems(report):
        console.print(Text(line, style="red"))


def show_info(files: "Sequence[FileInfo]", as_json: bool) -> None:
    """Print the answer to ``--info``: for each file a table on a terminal, aligned text elsewhere; or JSON for all."""
    with _answering():
        _print_info(files, as_json)


def show_status(status: "DirectoryStatus", as_json: bool) -> None:
    """Print the answer to ``--status``: how many files are how far, what failed, what is under way, the time left."""
    with _answering():
        if as_json:
            print(json.dumps(status.as_json(), indent=1))
        else:
            print(*map(printable, _status_lines(status)), sep="\n")


def _status_lines(status: "DirectoryStatus") -> Iterator[str]:
    for problem in status.problems[:_ROWS_AT_MOST]:
        yield f"{problem.state.value}: {problem.why}"
    if len(status.problems) > _ROWS_AT_MOST:
        yield f"and {len(status.problems) - _ROWS_AT_MOST} more, which --json lists"
    for file in status.under_way:
        yield f"under way: {file.source}{_how_far(file.told) if file.told else ''}"
    yield from status.notes
    if status.files_an_hour and status.seconds_left is not None:
        yield f"{status.files_an_hour:.3g} files an hour, {_duration(status.seconds_left)} left"
    yield status.counts


def _how_far(told: "UnderWay") -> str:
    began, now = time.localtime(told.began), time.localtime()
    since = time.strftime("%H:%M:%S" if began[:3] == now[:3] else "%Y-%m-%d %H:%M:%S", began)
    stage = f", {told.stage}, {told.done:.0%} done" if told.stage else ""
    return f" on {told.host} (process {told.process}) since {since}, for {_duration(told.seconds)}{stage}"


def show_answer(text: str) -> None:
    """Print the answer to ``--help``, ``--version`` or ``--print-completion``."""
    with _answering():
        print(text.rstrip("\n"))


@contextmanager
def _answering() -> Iterator[None]:
    """Print to standard output, whether or not it is read to the end."""
    with saying("the answer cannot be written"):
        try:
            yield
            sys.stdout.flush()
        except BrokenPipeError:
            _give_up_standard_output()


def _print_info(files: "Sequence[FileInfo]", as_json: bool) -> None:
    if as_json:
        print(json.dumps([file.as_json() for file in files], indent=1))
    elif sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        _show_info_tables(files)
    else:
        for file in files:
            print(printable(str(file.path)))
            for name, value in file.facts().items():
                print(f"  {name:<12} {printable(value)}")


def _show_info_tables(files: "Sequence[FileInfo]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for file in files:
        console.print(Text(printable(str(file.path)), style="bold"))
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 2))
        for name, value in file.facts().items():
            style = "red" if name == "error" else "yellow" if name.startswith("warning") else ""
            table.add_row(Text(name, style="dim"), Text(printable(value), style=style))
        console.print(table)


def show_error(message: str, unexpected: BaseException | None = None) -> None:
    """Print one line about what ended the run, in place of the bars; before it the traceback of a bug."""
    before = "\r\x1b[J" if _on_terminal() else ""
    lines = [f"{before}mrc2movie: {printable(message)}"]
    if unexpected:
        lines.insert(0, _printable_lines("".join(traceback.format_exception(unexpected))))
    with suppress(OSError):  # the reader has gone
        print(*lines, sep="\n", file=sys.stderr)
