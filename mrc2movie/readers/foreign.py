"""What a file is that is no MRC file: first bytes in, a few words out."""

import codecs
import math
import struct

_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (such as EMAN2's .hdf and Velox' .emd)"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"II+\0", "a TIFF image (BigTIFF, as EER is)"),
    (b"MM\0+", "a TIFF image (BigTIFF, as EER is)"),
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
    (b"\0\0\0\x03\0\0", "a Gatan Digital Micrograph file (DM3)"),
    (b"\0\0\0\x04\0\0", "a Gatan Digital Micrograph file (DM4)"),
    (b"II\x97\x01", "a TIA series file (SER)"),
    (b"\0\x05\x16\x07", "an AppleDouble file, which macOS writes beside the real one"),
    (b"\0\x05\x16\x00", "an AppleSingle file"),
    (b"version https://git-lfs.github.com/", "a Git-LFS pointer; git lfs pull fetches the real file"),
)


_EM_VOXEL_BYTES = {1: 1, 2: 2, 4: 4, 5: 4, 8: 8, 9: 8}
_EM_HEADER_BYTES = 512
_SPIDER_FORMS = (1, 3, -11, -12, -21, -22)


def what_is(head: bytes, size: int = 0) -> str | None:
    """What the first bytes of a file show it to be, in words; None where they show nothing.

    Args:
        head: The first kilobyte, or all there is.
        size: Of the whole file; 0 where it is not known.
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
    return _what_image(head, size) or _what_text(head)


def _what_image(head: bytes, size: int) -> str | None:
    """Formats of the field that have no magic number, where several of their fields agree.

    EM: byte 0 is the machine, byte 3 the type, three dimensions follow. SPIDER: floats, the length of a row among them
    (https://spider.wadsworth.org/spider_doc/spider/docs/image_doc.html). IMAGIC: the type of the voxels in words.
    """
    if len(head) < _EM_HEADER_BYTES:
        return None
    for order in "<>":
        dimensions = struct.unpack_from(order + "3i", head, 4)
        voxel_bytes = _EM_VOXEL_BYTES.get(head[3], 0)
        if head[0] <= 6 and min(dimensions) > 0 and size == _EM_HEADER_BYTES + math.prod(dimensions) * voxel_bytes:
            return "an EM file (TOM toolbox)"
        fields = struct.unpack_from(order + "23f", head)
        rows, form, columns, records, header_bytes, row_bytes = (fields[place] for place in (1, 4, 11, 12, 21, 22))
        if (
            form in _SPIDER_FORMS
            and min(rows, columns, records) >= 1
            and row_bytes == 4 * columns
            and header_bytes == records * row_bytes
        ):
            return "a SPIDER image"
        if struct.unpack_from(order + "i", head)[0] == 1 and head[56:60] in (b"REAL", b"INTG", b"PACK", b"COMP"):
            return "an IMAGIC header, whose images are in the .img file beside it"
    return None


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
