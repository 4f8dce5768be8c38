"""``python -m mrc2movie``, and the command ``mrc2movie``."""

import os
import signal
import sys
from io import TextIOWrapper


def main() -> int:
    """Run the command line of this process; returns the exit status."""
    _open_standard_streams()
    # Until the program handles Ctrl-C itself, Ctrl-C ends the process as SIGTERM does, without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mrc2movie import cli

    return cli.main()


def _open_standard_streams() -> None:
    """Open closed standard streams to the null device, and escape what a stream cannot encode, such as Å in ASCII.

    Else the next file that is opened, such as a movie, would take the number of a closed stream, and libraries would
    write their messages into it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
