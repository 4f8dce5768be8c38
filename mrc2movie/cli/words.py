"""The words of the command line: declared, put in order, and blamed where they are wrong."""

import argparse
import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NoReturn

from mrc2movie.errors import UsageError
from mrc2movie.options.kinds import nearest
from mrc2movie.options.presets import PRESETS
from mrc2movie.options.settings import GROUPS, OPTIONS

USAGE = "mrc2movie INPUT... OUTPUT_DIR [options]"
DESCRIPTION = "Turn every MRC file of a directory (tilt series, tomograms, movies, particles) into a movie."
SHELLS = ("bash", "zsh", "tcsh")
PATHS = ("FILE", "GLOB", "LIST")
"""What the values of options are called that can be names of files."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, "see mrc2movie --help")


def parser() -> argparse.ArgumentParser:
    """The parser, made from the declarations in `OPTIONS`: it only collects words, `Settings` checks them."""
    result = _Parser(prog="mrc2movie", usage=USAGE, description=DESCRIPTION, allow_abbrev=False, add_help=False)
    result.add_argument(
        "paths",
        metavar="INPUT... OUTPUT_DIR",
        nargs="*",
        help="directories and files, and where their movies go; for one file, the movie itself (tomogram.mp4)",
    )
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
                help=f"{help_text} (default: {option.default_text.replace('%', '%%')})",
            )
        if group == "batch":
            _declare_inputs(arguments)
        if group == "messages":
            _declare_answers(arguments)
    return result


def _declare_inputs(arguments: argparse._ArgumentGroup) -> None:
    arguments.add_argument(
        "--files-from",
        metavar="LIST",
        help="also convert the inputs that are named in the file LIST (- is standard input), one a line, or with NUL "
        "between where it has any",
    )
    arguments.add_argument(
        "--config",
        metavar="FILE",
        help="take options from FILE, such as fps = 12 in TOML; those of the command line win (default: "
        "mrc2movie.toml beside INPUT, if there, for the options that shape the movie and what lies beside it)",
    )


def _declare_answers(arguments: argparse._ArgumentGroup) -> None:
    topics = ", ".join(group.split()[0] for group in GROUPS)
    arguments.add_argument(
        "-h", "--help", metavar="[TOPIC]", help=f"show the usual options; all, or those of one of {topics}"
    )
    arguments.add_argument(
        "--version", action="store_true", help="show the versions of mrc2movie and of what it is made with"
    )
    arguments.add_argument(
        "--demo",
        metavar="OUTPUT_DIR",
        help="make a small synthetic tilt series and tomogram in OUTPUT_DIR and convert them",
    )
    arguments.add_argument("--info", metavar="FILE", nargs="+", help="show what each FILE is, and convert nothing")
    arguments.add_argument(
        "--status",
        metavar="OUTPUT_DIR",
        help="show how far the runs are that write into OUTPUT_DIR: what is done, failed, under way and left",
    )
    arguments.add_argument(
        "--json",
        action="store_true",
        help="with --info and --status, print JSON; else print one JSON object a file on standard output as soon as it "
        "is done (input, output, status, why, frames, bytes, seconds)",
    )
    arguments.add_argument(
        "--print-completion", metavar="|".join(SHELLS), help="print what completes the options in this shell"
    )


def actions(of: argparse.ArgumentParser) -> Mapping[str, argparse.Action]:
    """What is declared for each flag."""
    return of._option_string_actions


def in_order(words: Sequence[str], flags: Mapping[str, argparse.Action]) -> tuple[list[str], list[str]]:
    """Tell options from paths, wherever they stand; ``--clip_limit=2`` is ``--clip-limit=2``.

    argparse would blame another word than the wrong one: what an unknown option or a missing value leaves over.

    Args:
        words: Of the command line; what follows a bare ``--`` is a path.
        flags: What is declared for each flag.

    Returns:
        The options, each value after ``=`` where there is one, for argparse; and the paths.

    Raises:
        UsageError: An option is unknown, or has too few values or too many.
    """
    alone = {option.flag: option.kind.alone for option in OPTIONS}
    options: list[str] = []
    paths: list[str] = []
    rest = deque(words)
    while rest:
        word = rest.popleft()
        if word == "--":
            paths += rest
            break
        if not word.startswith("-") or word == "-":
            paths.append(word)
            continue
        flag, equals, value = word.partition("=")
        flag = flag.replace("_", "-")
        action = flags.get(flag)
        if action is None:
            rest.extendleft(reversed(_short(word, flags)))
        elif action.nargs == 0:
            if equals:
                raise UsageError(f"{flag} takes no value", f"leave ={value} out")
            options.append(flag)
        elif action.nargs is None:
            if not equals:
                without = alone.get(flag)
                is_alone = without is not None and not (rest and _is_number(rest[0]))  # the next word may be INPUT
                value = without if without is not None and is_alone else _values(flag, action, rest, 1)[0]
            options.append(f"{flag}={value}")
        else:
            if equals:
                raise UsageError(f"{flag} takes its values after a space", f"write {flag} {shown(action)}")
            count = action.nargs if isinstance(action.nargs, int) else 1
            options += [flag, *_values(flag, action, rest, count)]
            while action.nargs == "+" and rest and _is_value(rest[0]):
                options.append(rest.popleft())
    return options, paths


def _is_number(word: str) -> bool:
    return bool(re.fullmatch(r"\d+(\.\d*)?|\.\d+", word))


def _short(word: str, flags: Mapping[str, argparse.Action]) -> list[str]:
    """``-qv`` is ``-q -v``.

    Raises:
        UsageError: It is no such word, and no option; the advice is the nearest one.
    """
    letters = [f"-{letter}" for letter in word[1:]]
    if not word.startswith("--") and all(letter in flags for letter in letters):
        return letters
    flag = word.partition("=")[0]
    known = {name: name for name in flags if name.startswith("--")}
    near = nearest("--" + flag.strip("-").replace("_", "-"), known) if len(word) > 2 else None
    raise UsageError(f"{flag}: no such option", f"did you mean {near}?" if near else "see mrc2movie --help all")


def _is_value(word: str) -> bool:
    """Whether a word is no option: ``-50,200`` and ``-`` are none."""
    return not word.startswith("-") or word == "-" or bool(re.match(r"-\.?\d", word))


def _values(flag: str, action: argparse.Action, rest: deque[str], count: int) -> list[str]:
    """Take the values of an option from the words that follow it."""
    for place in range(count):
        if place < len(rest) and _is_value(rest[place]):
            continue
        needed = "a value" if count == 1 else f"{count} values"
        follows = rest[place] if place < len(rest) and rest[place] != "--" else ""
        advice = f"write {flag}={follows} if that is the value" if follows and count == 1 else ""
        raise UsageError(f"{flag} needs {needed}: {shown(action)}", advice)
    return [rest.popleft() for _ in range(count)]


def shown(action: argparse.Action) -> str:
    """The values of an option, as the help names them; empty for a flag."""
    metavar = action.metavar or ""
    return " ".join(metavar) if isinstance(metavar, tuple) else metavar
