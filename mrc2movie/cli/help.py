"""What ``--help`` shows: a page of what most people need, or all of a topic; and the manual page."""

import argparse
import copy
import shutil
from collections.abc import Mapping, Sequence

from mrc2movie.cli.words import DESCRIPTION, USAGE, actions, parser, shown
from mrc2movie.errors import UsageError
from mrc2movie.options.kinds import nearest
from mrc2movie.options.settings import GROUPS
from mrc2movie.version import __version__

COMMON: Mapping[str, str] = {
    "--preset": "the usual choices for tilt series and for tomograms",
    "--format": "mp4 for PowerPoint, Keynote, browsers and phones",
    "--fps": "sections (frames) a second (30)",
    "--quality": "of the picture, the same in every codec (90)",
    "--playback": "direction (forward-backward)",
    "--discard-percentage": "leave out fractions at start and end: 0.1 0.2",
    "--range": "what becomes black and white: auto, minmax, LOW,HIGH ...",
    "--clip-limit": "local contrast (2.0); 0 switches it off",
    "--average": "running means of N sections: less noise",
    "--max-size": "make larger pictures smaller",
    "--label": "write tilt, section or depth into the corner",
    "--scale-bar": "draw a scale bar",
    "--contact-sheet": "also write sections as one picture",
    "--report": "also write a page of all movies, index.html",
    "--recursive": "sub-directories too, mirrored in OUTPUT_DIR",
    "--overwrite": "make every movie anew",
    "--dry-run": "say what would be done",
    "--jobs": "worker threads (all processors)",
    "--quiet": "only warnings and errors",
    "--info": "show what each FILE is",
    "--version": "show the versions",
}
"""The options of the page, in a line each; the whole help of each is in its group."""

EXAMPLES: Mapping[str, str] = {
    "mrc2movie tilt_series movies": "every MRC file of a directory",
    "mrc2movie *.rec movies --format mp4": "several files",
    "mrc2movie TS_01.rec TS_01.mp4": "one file, and the name of its movie",
    "mrc2movie session movies --preset auto": "what suits each file",
    "find . -name '*.rec' -print0 | mrc2movie --files-from - movies": "",
}

EXIT_STATUS: Mapping[int, str] = {
    0: "all converted or up to date",
    1: "some input failed or was left alone",
    2: "wrong usage or nothing to convert",
    130: "after Ctrl-C",
    143: "after SIGTERM",
}

INPUTS = (
    "INPUT is a directory or a file, or several of them. OUTPUT_DIR is where the movies go; for one file it may be "
    "the movie itself, named like one: .avi, .mp4, .mov, .mkv, .webm, .gif. Options stand anywhere, written with - or "
    "with _; what follows -- is a path."
)


def help_text(topic: str) -> str:
    """The page, all options, those of a group, or one option.

    Raises:
        UsageError: There is no such topic.
    """
    topic = topic.lower().replace("_", "-")
    if not topic:
        return _page()
    groups = {group.title or "": group._group_actions for group in parser()._action_groups}
    by_topic = {group.split()[0]: [group] for group in GROUPS} | {group: [group] for group in GROUPS}
    by_topic["all"] = list(GROUPS)
    if topic in by_topic:
        return _sections({group: groups[group] for group in by_topic[topic]})
    flag = f"--{topic.lstrip('-')}"
    if action := actions(parser()).get(flag):
        return _sections({next(group for group in GROUPS if action.dest in _names(groups[group])): [action]})
    near = nearest(topic.lstrip("-"), {word: word for word in (*by_topic, *(name[2:] for name in actions(parser())))})
    advice = f"did you mean --help {near}?" if near else f"the topics are {', '.join(by_topic)}"
    raise UsageError(f"--help {topic}: no such topic", advice)


def _names(group: Sequence[argparse.Action]) -> set[str]:
    return {action.dest for action in group}


def _formatter() -> argparse.HelpFormatter:
    width = min(shutil.get_terminal_size().columns, 120) - 2
    return argparse.HelpFormatter("mrc2movie", max_help_position=32, width=width)


def _sections(sections: Mapping[str, Sequence[argparse.Action]]) -> str:
    formatter = _formatter()
    for title, found in sections.items():
        formatter.start_section(title)
        formatter.add_arguments(found)
        formatter.end_section()
    return formatter.format_help()


def _page() -> str:
    known = actions(parser())
    common = []
    for flag, line in COMMON.items():
        action = copy.copy(known[flag])
        action.help = line.replace("%", "%%")
        action.option_strings = [name for name in action.option_strings if not name.startswith("--no-")]
        common.append(action)
    formatter = _formatter()
    formatter.add_usage(f"{USAGE}", [], [])
    formatter.add_text(DESCRIPTION)
    formatter.add_text(INPUTS)
    formatter.start_section("usual options")
    formatter.add_arguments(common)
    formatter.end_section()
    formatter.add_text("More: mrc2movie --help all, or one group: " + ", ".join(group.split()[0] for group in GROUPS))
    formatter.add_text("Exit status: " + ", ".join(f"{status} {what}" for status, what in EXIT_STATUS.items()))
    width = max(len(example) for example, what in EXAMPLES.items() if what)
    examples = [f"  {example:{width}}  {what}".rstrip() for example, what in EXAMPLES.items()]
    return "\n".join([formatter.format_help(), "examples:", *examples, ""])


def manual_page() -> str:
    """The manual page, for ``man mrc2movie``, in the macros of man(7)."""
    lines = [
        f'.TH MRC2MOVIE 1 "" "mrc2movie {__version__}" "User Commands"',
        *(".SH NAME", rf"mrc2movie \- {_roff(DESCRIPTION[0].lower() + DESCRIPTION[1:-1])}"),
        *(".SH SYNOPSIS", rf"{_roff(USAGE)}"),
        *(".SH DESCRIPTION", _roff(INPUTS)),
        ".SH OPTIONS",
    ]
    groups = {group.title or "": group._group_actions for group in parser()._action_groups}
    for group in GROUPS:
        lines.append(f".SS {_roff(group)}")
        for action in groups[group]:
            flags = ", ".join(rf"\fB{_roff(flag)}\fR" for flag in action.option_strings)
            lines += [".TP", f"{flags} {_roff(shown(action))}".rstrip(), _roff((action.help or "").replace("%%", "%"))]
    lines.append(".SH EXIT STATUS")
    for status, what in EXIT_STATUS.items():
        lines += [".TP", str(status), _roff(what)]
    lines.append(".SH EXAMPLES")
    for example, what in EXAMPLES.items():
        lines += [".TP", rf"\fB{_roff(example)}\fR", _roff(what) or r"\&"]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """The text, with what roff would take for a request, an escape or a hyphen escaped."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("Å", r"\(oA")
    escaped = escaped.replace("µ", "u")  # which groff cannot write everywhere
    return rf"\&{escaped}" if escaped.startswith(".") else escaped
