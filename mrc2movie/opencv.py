"""Whether OpenCV can be imported: its packages overwrite each other's files, and are there in many versions."""

import shlex
import sys

from mrc2movie.errors import UsageError, lacks_memory

_PACKAGES = ("opencv-python", "opencv-contrib-python", "opencv-python-headless", "opencv-contrib-python-headless")
"""All install the same directory, ``cv2``: the one installed last wins, and removing any breaks the others."""

_OLDEST = (4, 9)


def require_opencv() -> None:
    """Refuse an OpenCV that cannot work.

    Raises:
        UsageError: It is missing, broken or too old; the advice is the line that cures it.
    """
    try:
        import cv2

        if tuple(int(number) for number in cv2.__version__.split(".")[:2]) >= _OLDEST:
            return
        what = f"OpenCV {cv2.__version__} is too old"
    except (ImportError, AttributeError) as error:
        if lacks_memory(error):
            raise
        what = f"OpenCV cannot be imported ({error})"
    found = {name: number for name in _PACKAGES if (number := _installed(name))}
    if found:
        listed = " and ".join(f"{name} {number}" for name, number in found.items())
        what += f"; installed {'is' if len(found) == 1 else 'in the same place are'} {listed}"
    pip = f"{shlex.quote(sys.executable)} -m pip"
    remove = f"{pip} uninstall -y {' '.join(found)} && " if found else ""
    raise UsageError(what, f"this line cures it: {remove}{pip} install opencv-python-headless")


def _installed(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # takes 10 ms, and only a broken OpenCV needs it

    try:
        return version(name)
    except PackageNotFoundError:
        return None
