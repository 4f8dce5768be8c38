"""The command line: argv to Settings and a run, and the exit status."""

import argparse
import gc
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import mrc2movie
from mrc2movie import console
from mrc2movie.errors import TOO_LITTLE_MEMORY, Mrc2movieError, UsageError, about, lacks_memory, saying
from mrc2movie.interruption import Signals, Stopped, do_last_acts, stopping_on_signals
from mrc2movie.options.presets import PRESETS
from mrc2movie.options.settings import GROUPS, LOG_NAME, OPTIONS, Settings


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, "see mrc2movie --help")


def _path(text: str) -> Path:
    if not text:  # an unset variable of a script; as a path it would be the current directory
        raise argparse.ArgumentTypeError("must not be empty")
    return Path(text)


def parser() -> argparse.ArgumentParser:
    """The parser, made from the declarations in `OPTIONS`: it only collects words, `Settings` checks them."""
    result = _Parser(
        prog="mrc2movie",
        usage="mrc2movie INPUT OUTPUT_DIR [options]",
        description="Turn every MRC file of a directory (tilt series, tomograms, movies, particles) into a movie.",
        epilog="Options may be written with - or with _. Exit status: 0 all converted or up to date, 1 some input "
        "failed or was left alone, 2 wrong usage or nothing to convert, 130 after Ctrl-C, 143 after SIGTERM.",
        allow_abbrev=False,
    )
    result.add_argument("input", metavar="INPUT", nargs="?", type=_path, help="a directory, or one file")
    result.add_argument("output_directory", metavar="OUTPUT_DIR", nargs="?", type=_path, help="where the movies go")
    for group in GROUPS:
        arguments = result.add_argument_group(group)
        for option in (option for option in OPTIONS if option.group == group):
            help_text = option.help.replace("%", "%%")
            flags = [flag for flag in (option.short, option.flag) if flag]
            if not option.kind.metavar:
                # What a preset switches on can be switched off again.
                on_and_off = any(option.name in values for values in PRESETS.values())
                action = argparse.BooleanOptionalAction if on_and_off else "store_true"
                arguments.add_argument(*flags, action=action, default=argparse.SUPPRESS, help=help_text)
                continue
            arguments.add_argument(
                *flags,
                default=argparse.SUPPRESS,
                metavar=option.kind.metavar,
                nargs=len(option.kind.metavar) if isinstance(option.kind.metavar, tuple) else None,
                help=f"{help_text} (default: {option.default_text})",
            )
        if group == "messages":
            arguments.add_argument("--version", action="version", version=f"mrc2movie {mrc2movie.__version__}")
            arguments.add_argument(
                "--demo",
                metavar="OUTPUT_DIR",
                type=_path,
                help="make a small synthetic tilt series and tomogram in OUTPUT_DIR and convert them",
            )
            arguments.add_argument(
                "--info", metavar="FILE", type=_path, nargs="+", help="show what each FILE is, and convert nothing"
            )
            arguments.add_argument("--json", action="store_true", help="with --info, print JSON")
    return result


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
            f"unexpected {type(error).__name__} ({error}); this is a bug of mrc2movie {mrc2movie.__version__}: please "
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
    given = vars(parser().parse_intermixed_args(_with_dashes(words)))  # options may stand between the two directories
    source, output_directory, demo = (given.pop(name) for name in ("input", "output_directory", "demo"))
    info, as_json = given.pop("info"), given.pop("json")
    settings = Settings(**given)
    if info:
        if source is not None or demo is not None:
            raise UsageError("--info converts nothing", "give --info FILE... without INPUT, OUTPUT_DIR or --demo")
        return _info(info, settings, as_json)
    if as_json:
        raise UsageError("--json works only with --info", "give --info FILE... --json")
    if demo is not None and source is not None:
        raise UsageError("--demo takes no INPUT", "give --demo OUTPUT_DIR alone")
    if demo is not None and settings.dry_run:
        raise UsageError("--demo writes what it converts", "leave --dry-run out")
    if demo is None and output_directory is None:
        raise UsageError("INPUT and OUTPUT_DIR are needed", "see mrc2movie --help")
    # NumPy's linear algebra is not used here: its threads would only take processor time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _keep_freed_memory()
    # Only now: NumPy and OpenCV take longer to import than a help text or a usage error should take.
    with signals.postponed():
        from mrc2movie.batch.plan import plan
        from mrc2movie.batch.run import run
        from mrc2movie.writers import check_codec

    if demo is not None:
        from mrc2movie.demo import make_demo

        check_codec(settings)
        with about(demo), saying("the demo cannot be written", "take another OUTPUT_DIR"):
            source, output_directory = make_demo(demo), demo
    log_file = Path(settings.log) if settings.log else output_directory / LOG_NAME
    jobs = plan(source, output_directory, settings)
    with console.logging_to(None if settings.dry_run else log_file, settings, words):
        with console.showing_progress(settings) as progress:
            report = run(jobs, settings, progress)
        console.show_report(report, settings)
    return report.exit_status


def _keep_freed_memory() -> None:
    """Make the C library keep freed memory, up to a bound, for later use; only glibc can.

    Each section allocates and frees megabytes, and getting new pages from the system takes longer than filling them.
    The numbers are those of glibc's malloc.h; 32 MB is its limit for the size of a block.
    """
    import ctypes  # as NumPy does; not for a help text

    trim_threshold, mmap_threshold = -1, -3
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, 2**25)
        mallopt(trim_threshold, 2**27)


def _info(files: Sequence[Path], settings: Settings, as_json: bool) -> int:
    from mrc2movie.info import inspect

    found = [inspect(path, settings) for path in files]
    console.show_info(found, as_json)
    return int(any(file.error for file in found))


def _with_dashes(words: Sequence[str]) -> list[str]:
    """``--clip_limit=2`` is ``--clip-limit=2``; what follows a bare ``--`` is a file name."""
    end = words.index("--") if "--" in words else len(words)
    dashed = [re.sub(r"^--[^=]+", lambda flag: flag[0].replace("_", "-"), word) for word in words[:end]]
    return _with_values(dashed) + list(words[end:])


def _with_values(words: Sequence[str]) -> list[str]:
    """``--thumbnail`` is ``--thumbnail=300`` unless a number follows: the next word may be INPUT."""
    alone = {option.flag: option.kind.alone for option in OPTIONS if option.kind.alone}
    return [
        f"{word}={alone[word]}" if word in alone and not "".join(words[place : place + 1]).isdecimal() else word
        for place, word in enumerate(words, start=1)
    ]
