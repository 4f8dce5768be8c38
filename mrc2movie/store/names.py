"""Names of files: how they are shown, and how they are made to fit."""

import hashlib
import os

_LONGEST = 255  # bytes, on nearly every file system


def fitting(stem: str, suffix: str) -> str:
    """The name of a file: stem and suffix, the stem cut where both are too long, and told apart by a hash."""
    encoded = os.fsencode(stem)
    if len(encoded) + len(os.fsencode(suffix)) <= _LONGEST:
        return stem + suffix
    ending = f"~{hashlib.sha256(encoded).hexdigest()[:12]}{suffix}"
    return encoded[: _LONGEST - len(os.fsencode(ending))].decode(errors="ignore") + ending


def printable(text: str) -> str:
    r"""Escape what could write to the terminal or mislead the eye: control, bidi and undecodable characters.

    ``\x1b`` comes out as the four characters ``\x1b``.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )
