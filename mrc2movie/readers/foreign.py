"""What a file is that no reader takes: first bytes in, a few words out."""

import codecs

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x04\x22\x4d\x18", "an LZ4 file"),
    (b"\x1f\x9d", "a file of compress (.Z)"),
    (b"\x1f\xa0", "a file of compress (.Z)"),
    (b"%PDF-", "a PDF document"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"SIMPLE  =", "a FITS file"),
    (b"MTZ ", "an MTZ reflection file"),
    (b"\x7fELF", "a program"),
    (b"RIFF", "a RIFF file (AVI, WAV or WebP)"),
    (b"\0\x05\x16\x07", "an AppleDouble file, which macOS writes beside the real one"),
    (b"\0\x05\x16\x00", "an AppleSingle file"),
    (b"version https://git-lfs.github.com/", "a Git-LFS pointer; git lfs pull fetches the real file"),
)


def what_is(head: bytes) -> str | None:
    """What the first bytes of a file show it to be, in words; None where they show nothing.

    Args:
        head: The first kilobyte, or all there is.
    """
    for magic, words in _MAGIC:
        if head.startswith(magic):
            return words
    if head[4:8] == b"ftyp":
        return "an MP4 or QuickTime movie"
    if head[257:262] == b"ustar":
        return "a tar archive"
    # MARC 21: five digits of length, and the entry map at 20 is always 4500 (https://www.loc.gov/marc/specifications/)
    if head[:5].isdigit() and head[20:24] == b"4500":
        return "a file of library records (MARC)"
    if head and not head.strip(b"\0"):
        return "a file of zeros, which nothing was written to yet"
    return _what_text(head)


def _what_text(head: bytes) -> str | None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif b"\0" in head:
        return None
    else:
        encoding = "utf-8"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)  # lets the head end within a character
    except UnicodeDecodeError:
        return None
    text = text.lstrip("\ufeff \t\r\n")
    if not text or not all(character.isprintable() or character in "\t\r\n\f" for character in text):
        return None
    if text.startswith(("{", "[")) and '"' in text:
        return "a JSON text" + (" (a source map)" if '"mappings"' in text or '"sources"' in text else "")
    if text.startswith("<"):
        return "an HTML or XML text"
    return "a text file"
