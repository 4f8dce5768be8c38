"""``python -m mrc2movie``, and the command ``mrc2movie``."""

import signal
import sys


def main() -> int:
    """Run the command line of this process; returns the exit status."""
    # Until the program can hear of Ctrl-C itself that ends it as SIGTERM does, without a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mrc2movie import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
