"""What is printed in place of a conversion: versions, and the completion of a shell."""

import platform
from collections.abc import Iterator
from importlib import import_module

from mrc2movie.cli.words import PATHS, SHELLS, actions, parser, shown
from mrc2movie.errors import Mrc2movieError, UsageError
from mrc2movie.options.settings import OPTIONS
from mrc2movie.version import __version__


def versions() -> str:
    """The versions of this package and of all that shapes a movie, as they are loaded, one a line."""
    return "\n".join([f"mrc2movie {__version__}", f"Python {platform.python_version()}", *_libraries()])


def _libraries() -> Iterator[str]:
    libraries = (
        ("PyAV", "av", "__version__"),
        ("FFmpeg", "av", "ffmpeg_version_info"),
        ("OpenCV", "cv2", "__version__"),
        ("NumPy", "numpy", "__version__"),
    )
    for name, module, attribute in libraries:
        try:
            yield f"{name} {getattr(import_module(module), attribute)}"
        except ImportError as error:  # what a report about a broken installation is about
            yield f"{name} cannot be loaded ({error})"


def completion(shell: str) -> str:
    """The script that completes options, their values, and names of files.

    Raises:
        UsageError: It is no shell that is known here.
        Mrc2movieError: shtab, which writes the script, is not installed.
    """
    if shell not in SHELLS:
        raise UsageError(f"--print-completion {shell}: must be one of {', '.join(SHELLS)}")
    try:
        import shtab
    except ImportError as error:
        raise Mrc2movieError("--print-completion needs shtab", "pip install 'mrc2movie[completion]'") from error
    completed = parser()
    flags = actions(completed)
    for option in OPTIONS:
        if option.kind.words:
            whole = (word for word in option.kind.words.values() if ":" not in word)  # a:B ends in numbers
            flags[option.flag].choices = list(dict.fromkeys(whole))
    flags["--print-completion"].choices = SHELLS
    for action in completed._actions:
        if action.metavar:  # zsh would show the brackets and the quotes of a tuple as they are
            action.metavar = shown(action).strip("[]")
        if action.metavar in PATHS or not action.option_strings:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "OUTPUT_DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return str(shtab.complete(completed, shell))
