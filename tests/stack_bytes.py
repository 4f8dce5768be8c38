"""EM, SER, SPIDER and IMAGIC files byte by byte, by the descriptions that their readers name."""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EM_TYPES = {"u1": 1, "i2": 2, "i4": 4, "f4": 5, "c8": 8, "f8": 9, "c16": 10}
_SER_TYPES = {
    **{"u1": 1, "u2": 2, "u4": 3, "i1": 4, "i2": 5, "i4": 6, "f4": 7, "f8": 8, "c8": 9, "c16": 10},
}
_IMAGIC_TYPES = {"f4": b"REAL", "i2": b"INTG", "u1": b"PACK", "c8": b"COMP"}


def code(voxels: NDArray[Any]) -> str:
    """Kind and bytes of the numbers."""
    return f"{voxels.dtype.kind}{voxels.dtype.itemsize}"


def stored(voxels: NDArray[Any], order: str) -> bytes:
    """The numbers in a byte order."""
    return voxels.astype(np.dtype(order + code(voxels))).tobytes()


def em(voxels: NDArray[Any], machine: int = 6, order: str = "<", **parameters: int) -> bytes:
    """An EM file of (z, y, x) voxels; the parameter ``p6`` is the seventh of the forty."""
    numbers = [parameters.get(f"p{number}", 0) for number in range(40)]
    head = bytes([machine, 0, 0, _EM_TYPES[code(voxels)]]) + struct.pack(order + "3i", *voxels.shape[::-1])
    return (head + b"a comment".ljust(80, b"\0") + struct.pack(order + "40i", *numbers)).ljust(512, b"\0") + stored(
        voxels, order
    )


def ser(
    images: NDArray[Any], version: int = 0x210, pixel_m: float = 2e-10, total: int | None = None, kind: int = 0x4122
) -> bytes:
    """A SER file of (n, y, x) images, the first row at the bottom."""
    count, rows, columns = images.shape
    position = "Q" if version >= 0x220 else "I"
    dimension = struct.pack("<I2d2I", count, 0, 1, 0, 6) + b"Number" + struct.pack("<I", 0)
    table = 22 + struct.calcsize("<" + position) + 4 + len(dimension)
    elements = []
    at = table + 2 * count * struct.calcsize("<" + position)
    for image in images:
        head = struct.pack("<2di2dihii", 0, pixel_m, 0, 0, 2 * pixel_m, 0, _SER_TYPES[code(images)], columns, rows)
        elements.append(head + stored(image, "<"))
    lengths = [len(element) for element in elements]
    starts = (at + np.cumsum([0, *lengths])).tolist()
    tags = [starts[-1] + 8 * number for number in range(count)]
    head = struct.pack("<2s2H4I", b"II", 0x197, version, kind, 0x4152, count if total is None else total, count)
    head += struct.pack("<" + position, table) + struct.pack("<I", 1)
    positions = struct.pack(f"<{2 * count}{position}", *starts[:-1], *tags)
    return bytes(head + dimension + positions + b"".join(elements) + struct.pack("<2HI", 0x4152, 0, 0) * count)


def spider(voxels: NDArray[Any], order: str = "<", stack: bool = False, **fields: float) -> bytes:
    """A SPIDER file of (z, y, x) voxels, or a stack of (n, y, x) or (n, z, y, x) ones; field ``f38`` is the 38th."""
    volumes = voxels.reshape(len(voxels) if stack else 1, -1, *voxels.shape[-2:])
    count, sections, rows, columns = volumes.shape
    records = -(-1024 // (4 * columns))

    def header(**more: float) -> bytes:
        words = [0.0] * (records * columns + 1)
        values = {
            **{"f1": sections, "f2": rows, "f3": records + sections * rows, "f5": 3 if sections > 1 else 1},
            **{"f12": columns, "f13": records, "f22": records * columns * 4, "f23": columns * 4},
            **more,
            **fields,
        }
        for name, value in values.items():
            words[int(name[1:])] = value
        return struct.pack(f"{order}{len(words) - 1}f", *words[1:])

    if not stack:
        return header() + stored(volumes.astype(np.float32), order)
    images = [
        header(f27=number) + stored(volume.astype(np.float32), order) for number, volume in enumerate(volumes, start=1)
    ]
    return header(f24=2, f26=count) + b"".join(images)


def imagic(
    images: NDArray[Any], order: str = "<", machine: bytes | None = None, planes: int = 1
) -> tuple[bytes, bytes]:
    """The headers and the pixels of (n, y, x) images."""
    count, rows, columns = images.shape
    heads = []
    for number in range(count):
        words = [
            number + 1,
            count - 1 if number == 0 else 0,
            0,
            1,
            5,
            6,
            2024,
            12,
            30,
            0,
            rows * columns,
            rows * columns,
        ]
        head = struct.pack(order + "14i", *words, rows, columns) + _IMAGIC_TYPES[code(images)]
        head = head.ljust(240, b"\0") + struct.pack(order + "i", planes)
        heads.append((head.ljust(272, b"\0") + (machine or (b"\2" if order == "<" else b"\4") * 4)).ljust(1024, b"\0"))
    return b"".join(heads), stored(images, order)
