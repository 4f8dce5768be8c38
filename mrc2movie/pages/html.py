"""The text of the page: a document, a style and a script with their data in one file that needs no other."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from mrc2movie.store.names import printable
from mrc2movie.version import __version__

GENERATOR = '<meta name="generator" content="mrc2movie'
"""What every page has near its begin, and so what tells ours from any other."""

_ESCAPED = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&"})
"""In a string of JSON these mean the same, and end no element."""


def page(title: str, cards: Iterable[str], live: float, written: float) -> Iterator[str]:
    """The page, in pieces.

    Args:
        title: What is above it.
        cards: What it shows: the pieces of a JSON object in ASCII, see `Cards.in_json`.
        live: It reloads itself after so many seconds, since a run is under way; 0 where none is.
        written: When, in seconds since the epoch.
    """
    before, after = _document()
    facts = json.dumps({"title": printable(title), "live": live, "written": round(written, 3)})
    yield before
    yield facts.removesuffix("}").translate(_ESCAPED) + ","
    pieces = iter(cards)
    yield next(pieces).removeprefix("{").translate(_ESCAPED)
    for piece in pieces:
        yield piece.translate(_ESCAPED)
    yield after


@cache
def _document() -> tuple[str, str]:
    """What is before the data, and what is behind: the files of this directory in one."""
    document, style, script = (
        Path(__file__).with_name(f"page.{kind}").read_text("utf-8") for kind in ("html", "css", "js")
    )
    style, script = f"\n{style}", f"\n{script}"
    replaced = {
        GENERATOR: f"{GENERATOR} {__version__}",
        "script-src 'self'": f"script-src '{_digest(script)}'",
        "style-src 'self'": f"style-src '{_digest(style)}'",
        '<link rel="stylesheet" href="page.css">': f"<style>{style}</style>",
        '<script src="page.js"></script>': f"<script>{script}</script>",
    }
    for old, new in replaced.items():
        document = document.replace(old, new, 1)
    before, after = re.split(r'(?<=id="data">)[^<]*', document, maxsplit=1)
    return before, after


def _digest(text: str) -> str:
    """By what the policy of the page allows an element: its text and nothing else."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
