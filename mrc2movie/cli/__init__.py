"""The command line: argv to Settings and a run, and the exit status."""

import argparse
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from mrc2movie import console
from mrc2movie.cli.answers import completion, versions
from mrc2movie.cli.config import Config, read_config
from mrc2movie.cli.help import help_text
from mrc2movie.cli.words import PATHS, actions, in_order, parser
from mrc2movie.errors import TOO_LITTLE_MEMORY, Mrc2movieError, UsageError, about, lacks_memory, saying
from mrc2movie.interruption import Signals, Stopped, do_last_acts, stopping_on_signals
from mrc2movie.opencv import require_opencv
from mrc2movie.options.codecs import FORMATS
from mrc2movie.options.settings import LOG_NAME, Settings
from mrc2movie.version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with stopping_on_signals(_last_words) as signals:
            return _run(words, signals)
    except Stopped as stopped:
        return stopped.exit_status
    except Mrc2movieError as error:
        console.show_error(str(error))
        return error.exit_status
    except Exception as error:
        if lacks_memory(error):
            console.show_error(TOO_LITTLE_MEMORY)
            return 1
        console.show_error(
            f"unexpected {type(error).__name__} ({error}); this is a bug of mrc2movie {__version__}: please "
            "report it with what --verbose shows",
            error if {"-v", "--verbose"} & set(words) else None,
        )
        return 1
    finally:
        if argv is None:  # the process ends now: a search for garbage would only take time
            gc.freeze()


def _last_words(stopped: Stopped) -> None:
    # In a thread: the disk may hang, and so may the reader of the message.
    giving_up = threading.Thread(target=do_last_acts, name="mrc2movie give up")
    giving_up.start()
    what = "interrupted" if stopped.number == signal.SIGINT else "terminated"
    console.show_error(f"{what}; the same command again carries on")
    giving_up.join()


def _run(words: list[str], signals: Signals) -> int:
    known = parser()
    flags = actions(known)
    asked = words[: words.index("--")] if "--" in words else words
    for place, word in enumerate(asked, start=1):
        flag, _, topic = word.partition("=")
        if flag in ("-h", "--help"):
            console.show_answer(help_text(topic or "".join(asked[place : place + 1])))
            return 0
        if flag == "--version":
            console.show_answer(versions())
            return 0
    options, paths = in_order(words, flags)
    given = vars(known.parse_args(options))
    for name in ("paths", "help", "version"):
        given.pop(name)
    demo, list_file, config_file, status = (
        _path(given.pop(name), name) for name in ("demo", "files_from", "config", "status")
    )
    info, as_json, shell = (given.pop(name) for name in ("info", "json", "print_completion"))
    if shell is not None:
        console.show_answer(completion(shell))
        return 0
    settings = Settings(**given)
    if info:
        if paths or demo is not None or list_file is not None:
            raise UsageError("--info converts nothing", "give --info FILE... without INPUT, OUTPUT_DIR or --demo")
        return _info([_required(path, "FILE") for path in info], settings, as_json)
    if status is not None:
        if paths or demo is not None or list_file is not None:
            raise UsageError("--status converts nothing", "give --status OUTPUT_DIR without INPUT or --demo")
        return _status(status, as_json)
    if demo is not None and (paths or list_file is not None):
        raise UsageError("--demo takes no INPUT", "give --demo OUTPUT_DIR alone")
    sources, output = ([], demo) if demo is not None else _sources_and_output(paths, list_file, options, flags)
    config = read_config(config_file, sources)
    movie = _is_named_like_a_movie(output) and demo is None
    settings = _settings({**config.options, **given}, given, output if movie else None)
    if demo is not None and (settings.dry_run or settings.watch is not None):
        raise UsageError("--demo writes what it converts", "leave --dry-run and --watch out")
    # NumPy's linear algebra is not used here: its threads would only take processor time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _keep_freed_memory()
    # Only now: NumPy and OpenCV take longer to import than a help text or a usage error should take.
    with signals.postponed():
        require_opencv()
        from mrc2movie.batch.plan import plan, plan_movie
        from mrc2movie.batch.planned import leave_plan
        from mrc2movie.batch.run import run
        from mrc2movie.batch.scheduler import connected
        from mrc2movie.batch.shards import share_of
        from mrc2movie.batch.watch import Watch
        from mrc2movie.writers import check_codec

    if demo is not None:
        from mrc2movie.demo import make_demo

        check_codec(settings)
        with about(demo), saying("the demo cannot be written", "take another OUTPUT_DIR"):
            sources = [make_demo(demo)]
    find_jobs = partial(plan_movie if movie else plan, sources, output, settings)
    directory = output.parent if movie else output
    log_file = None if settings.dry_run else Path(settings.log or directory / LOG_NAME)
    if settings.watch is not None:
        watch = Watch(find_jobs, sources, directory, settings)
        with console.logging_to(log_file, settings, words):
            _log_config(config)
            try:
                with console.showing_progress(settings, as_json) as progress:
                    watch.run(progress)
            finally:  # a signal is its usual end
                console.show_report(watch.report, settings, log_file)
        return watch.report.exit_status
    jobs = find_jobs()
    share = share_of(jobs, settings.shard)
    with connected(share, settings) as cluster, console.logging_to(log_file, settings, words):
        _log_config(config)
        if settings.shard:
            console.show_share(settings.shard, len(share), len(jobs))
        leave_plan(jobs, sources, settings)
        with console.showing_progress(settings, as_json) as progress:
            report = run(share, settings, progress, cluster)
        console.show_report(report, settings, log_file)
    return report.exit_status


def _log_config(config: Config) -> None:
    if config.path:
        logging.getLogger("mrc2movie.cli").info("%s", config.in_words())


def _required(text: str, name: str) -> Path:
    if not text:  # an unset variable of a script; as a path it would be the current directory
        raise UsageError(f"{name}: must not be empty", "see mrc2movie --help")
    return Path(text)


def _path(text: str | None, name: str) -> Path | None:
    return None if text is None else _required(text, f"--{name.replace('_', '-')}")


def _sources_and_output(
    paths: Sequence[str], list_file: Path | None, options: Sequence[str], flags: Mapping[str, argparse.Action]
) -> tuple[list[Path], Path]:
    """The inputs, and where their movies go: the last path.

    Raises:
        UsageError: One of them is missing or empty, or the list cannot be read.
    """
    if len(paths) < (1 if list_file is not None else 2):
        words = (option.partition("=") for option in options)
        took = [f"{flag} took {value}" for flag, _, value in words if flag in flags and flags[flag].metavar in PATHS]
        advice = "; ".join([*took, "see mrc2movie --help"])
        raise UsageError("OUTPUT_DIR is missing" if paths else "INPUT and OUTPUT_DIR are needed", advice)
    *inputs, output = paths
    sources = [_required(path, "INPUT") for path in inputs]
    if list_file is not None:
        sources += _listed(list_file)
    return sources, _required(output, "OUTPUT_DIR")


def _listed(list_file: Path) -> list[Path]:
    """The paths in a file, or in standard input for ``-``: one a line, or, where a NUL is found, between NULs.

    Raises:
        UsageError: There is none, or the file cannot be read.
    """
    try:
        # Not sys.stdin: that is text, and a path is bytes.
        with open(0 if list_file == Path("-") else list_file, "rb", closefd=list_file != Path("-")) as file:
            text = file.read()
    except OSError as error:
        raise UsageError(f"--files-from {list_file}: cannot be read ({error.strerror})", "name another") from error
    names = text.split(b"\0") if b"\0" in text else [line.removesuffix(b"\r") for line in text.split(b"\n")]
    found = [Path(os.fsdecode(name)) for name in names if name]
    if not found:
        raise UsageError(f"--files-from {list_file}: names no input", "give one path a line")
    return found


def _is_named_like_a_movie(output: Path) -> bool:
    return output.suffix[1:].lower() in FORMATS and not os.path.isdir(output)  # noqa: PTH112


def _settings(options: Mapping[str, Any], given: Mapping[str, object], movie: Path | None) -> Settings:
    """All options, in the format that the movie is named for.

    Args:
        options: Of the command line, and of the file with options.
        given: Those of the command line.
        movie: Its name, if it was given.
    """
    if movie is None:
        return Settings(**options)
    container = movie.suffix[1:].lower()
    if given.get("format", container) != container:
        raise UsageError(f"--format {given['format']} contradicts the name {movie}", "leave --format out, or rename it")
    return Settings(**{**options, "format": container, "recursive": False})  # there is one input, and no directory


def _keep_freed_memory() -> None:
    """Make the C library keep freed memory, up to a bound, for later use; only glibc can.

    Each section allocates and frees megabytes, and getting new pages from the system takes longer than filling them.
    With --preset tilt this saves 7 % of the processor time, and without filters nothing.
    The numbers are those of glibc's malloc.h; 32 MB is its limit for the size of a block.
    """
    import ctypes  # as NumPy does; not for a help text

    trim_threshold, mmap_threshold = -1, -3
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, 2**25)
        mallopt(trim_threshold, 2**27)


def _info(files: Sequence[Path], settings: Settings, as_json: bool) -> int:
    require_opencv()
    from mrc2movie.info import inspect

    found = [inspect(path, settings) for path in files]
    console.show_info(found, as_json)
    return int(any(file.error for file in found))


def _status(output_directory: Path, as_json: bool) -> int:
    require_opencv()
    from mrc2movie.batch.status import look_at

    found = look_at(output_directory)
    console.show_status(found, as_json)
    return found.exit_status
