"""Everything that a person sees: log, progress bars, closing table. The only place that prints."""

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import mrc2movie
from mrc2movie.batch.report import NOT_WELL, Job, Outcome, Report, RunProgress, Status
from mrc2movie.errors import saying
from mrc2movie.logfile import open_log
from mrc2movie.options.settings import Settings
from mrc2movie.store.names import printable

if TYPE_CHECKING:
    from mrc2movie.info import FileInfo

_ROWS_AT_MOST = 40


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
    """Reports once that it cannot be written, on a full disk for example, and lets the run go on."""

    def __init__(self, path: Path, stream: TextIO) -> None:
        super().__init__(stream)
        self._path = path
        self._reported = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self._reported:
            self._reported = True
            show_error(f"{self._path}: the log cannot be written ({sys.exc_info()[1]})")

    def close(self) -> None:
        with suppress(OSError):  # what could not be written fails again
            self.stream.close()
        super().close()


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
    handlers[0].setLevel(logging.WARNING if settings.quiet else logging.DEBUG if settings.verbose else logging.INFO)
    package = logging.getLogger("mrc2movie")
    level_before = package.level
    package.setLevel(logging.DEBUG)
    if log_file is not None:
        try:
            file_handler = _LogFile(log_file, open_log(log_file, is_named=bool(settings.log)))
        except PermissionError as error:
            why = f"the log cannot be written ({error.strerror}), so this run has none; name another with --log"
            _handle(handlers[0], logging.WARNING, f"{log_file}: {why}")
        else:
            file_handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(message)s"))
            handlers.append(file_handler)
            _handle(file_handler, logging.INFO, f"mrc2movie {mrc2movie.__version__}: {' '.join(command)}")
    for handler in handlers:
        package.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            package.removeHandler(handler)
            handler.close()
        package.setLevel(level_before)


def _handle(handler: logging.Handler, level: int, message: str) -> None:
    handler.handle(logging.getLogger("mrc2movie").makeRecord("mrc2movie", level, "", 0, message, (), None))


def _plain_handler() -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(message)s"))
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


class Bars(RunProgress):
    """One bar for the files and one for the sections of the current file."""

    def __init__(self) -> None:
        from tqdm import tqdm

        tqdm.monitor_interval = 0  # no thread that watches the bars
        self._tqdm = tqdm
        self._files: Any = None
        self._sections: Any = None

    def job_begins(self, job: Job, position: int, jobs: int) -> None:
        """Show the name of the file."""
        if self._files is None:
            self._files = self._tqdm(total=jobs, desc="files", unit="file", dynamic_ncols=True, leave=False)
            self._sections = self._tqdm(unit="section", dynamic_ncols=True, leave=False)
        self._sections.reset(total=0)
        self._sections.set_description_str(printable(job.source.name)[-40:])

    def section_done(self, stage: str, done: int, total: int) -> None:
        """Move the bar of the sections."""
        if done == 1:
            self._sections.reset(total=total)
            self._sections.set_postfix_str(stage, refresh=False)
        self._sections.update()

    def job_ends(self, outcome: Outcome) -> None:
        """Move the bar of the files."""
        self._files.update()

    def close(self) -> None:
        """Take the bars off the terminal."""
        for bar in (self._sections, self._files):
            if bar is not None:
                bar.close()


@contextmanager
def showing_progress(settings: Settings) -> Iterator[RunProgress]:
    """Bars on a terminal, nothing elsewhere or with ``--quiet``."""
    if settings.quiet or settings.dry_run or not _on_terminal():
        yield RunProgress()
        return
    bars = Bars()
    try:
        yield bars
    finally:
        bars.close()


def show_report(report: Report, settings: Settings) -> None:
    """Print the summary of a run: a table on a terminal, one line elsewhere."""
    counts = ", ".join(f"{report.count(status)} {status.value}" for status in Status if report.count(status))
    if settings.quiet:
        return
    with suppress(OSError):  # the reader has gone
        if _on_terminal() and _shown(report):
            _rich_console().print(_table(report))
        print(counts, file=sys.stderr)


def _table(report: Report) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold")
    for title in ("movie", "frames", "MB", "s"):
        table.add_column(title, justify="left" if title == "movie" else "right")
    for outcome in _shown(report):
        name = Text(printable(outcome.job.target.name), overflow="fold")
        if outcome.status is Status.CONVERTED:
            table.add_row(name, str(outcome.frames), f"{outcome.size / 1e6:.1f}", f"{outcome.seconds:.1f}")
        else:
            table.add_row(
                name, Text(outcome.status.value, style="red" if outcome.status in NOT_WELL else "dim"), "", ""
            )
    return table


def _shown(report: Report) -> Sequence[Outcome]:
    """All outcomes; of many, only those that need attention."""
    if len(report.outcomes) <= _ROWS_AT_MOST:
        return report.outcomes
    return [outcome for outcome in report.outcomes if outcome.status in NOT_WELL][:_ROWS_AT_MOST]


def show_info(files: "Sequence[FileInfo]", as_json: bool) -> None:
    """Print the answer to ``--info``: for each file a table on a terminal, aligned text elsewhere; or JSON for all."""
    with _answering():
        _print_info(files, as_json)


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
        except BrokenPipeError:  # the reader has gone; flushing the rest at the exit must not fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
