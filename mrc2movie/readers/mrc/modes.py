"""The modes of MRC files: how each stores its voxels.

MRC2014 and its version 20141 (https://www.ccpem.ac.uk/mrc-format/mrc2014/), IMOD
(https://bio3d.colorado.edu/imod/doc/mrc_format.txt) for 16 and 101, MRCZ
(https://python-mrcz.readthedocs.io/en/latest/specification.html) for 7 and 8, EMAN2's ``mrcio.h`` for 17.
"""

from dataclasses import dataclass

from mrc2movie.readers.voxels import Coding


@dataclass(frozen=True)
class Mode:
    """How the voxels of a mode are stored.

    Attributes:
        dtype: Of the stored numbers, without byte order.
        name: In words.
        coding: What they mean.
    """

    dtype: str
    name: str
    coding: Coding = Coding.REAL


MODES = {
    0: Mode("i1", "8-bit integer"),
    1: Mode("i2", "16-bit signed integer"),
    2: Mode("f4", "32-bit float"),
    3: Mode("i2", "complex 16-bit integer", Coding.COMPLEX),
    4: Mode("f4", "complex 32-bit float", Coding.COMPLEX),
    6: Mode("u2", "16-bit unsigned integer"),
    7: Mode("i4", "32-bit signed integer"),
    8: Mode("u4", "32-bit unsigned integer"),
    12: Mode("f2", "16-bit float"),
    16: Mode("u1", "8-bit red, green and blue", Coding.COLOUR),
    17: Mode("i1", "8-bit signed integer"),
    101: Mode("u1", "4-bit unsigned integer", Coding.NIBBLES),
}
