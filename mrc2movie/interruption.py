"""Ctrl-C and SIGTERM: the first one ends the run soon and cleanly, whatever it waits for; a second one ends it at once.

The signal is raised as an exception in the main thread, which unwinds. But that thread may be in a long call, of an
encoder or to a disk that does not answer, and Python handles signals only after the call. So a second thread is woken
by each signal, and ends the process if the main thread is not done in time.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_PATIENCE_SECONDS = 0.2
_ECHO_SECONDS = 0.1
"""A signal so soon after the first counts as the same: timeout(1) sends it to a process and to its group."""
_THREADS_SECONDS = 0.005
"""How often it is looked whether the threads of a run have ended."""


_last_acts: list[Callable[[], None]] = []


def before_the_end(act: Callable[[], None]) -> None:
    """Have something done when a signal ends the run, or just before the process is ended; it may be cut short."""
    _last_acts.append(act)


def do_last_acts() -> None:
    """Do what was registered with `before_the_end`."""
    for act in _last_acts:
        act()


class Stopped(BaseException):
    """A signal arrived; like KeyboardInterrupt, this passes every ``except Exception``.

    Attributes:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_status(self) -> int:
        """The one that shells use: 130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.number


class Signals:
    """The first signal that arrived, and whether it is raised."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._raises = True

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: the first raises `Stopped`."""
        if self._first is None:
            self._first = number
            if self._raises:
                raise Stopped(number)

    def stop_raising(self) -> None:
        """Raise nothing from now on."""
        self._raises = False

    @contextmanager
    def postponed(self) -> Iterator[None]:
        """Raise only after this block: C code, such as NumPy's import, may replace the exception by another."""
        self.stop_raising()
        yield
        self._raises = True
        if self.stopped:
            raise self.stopped

    @property
    def stopped(self) -> Stopped | None:
        """The exception for the signal that arrived, if any, even where it was replaced by another."""
        return None if self._first is None else Stopped(self._first)


@contextmanager
def stopping_on_signals(last_words: Callable[[Stopped], None]) -> Iterator[Signals]:
    """Raise `Stopped` in this block on the first SIGINT or SIGTERM, and end the process where that is not enough.

    Does nothing outside the main thread, since Python handles signals only there. Ignored signals stay ignored.

    Args:
        last_words: Called once: when a signal has ended the block, or, from another thread, just before the process
            is ended within the block.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    ended = threading.Lock()

    def say(stopped: Stopped) -> bool:
        if ended.acquire(blocking=False):  # never released, so that this happens once
            last_words(stopped)
            return True
        return False

    ours, theirs = socket.socketpair()  # not a pipe: Windows takes only sockets for this
    theirs.setblocking(False)
    guard = threading.Thread(target=_guard, args=(ours, say), name="mrc2movie signals")
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    with ours, theirs:
        guard.start()
        threads_before = set(threading.enumerate())
        descriptor_before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        handlers_before = {}
        try:
            with signals.postponed():  # until all handlers are installed
                for number in numbers:
                    handlers_before[number] = signal.signal(number, signals.handle)
            yield signals
        except BaseException as error:
            if (stopped := signals.stopped) is None:
                raise
            say(stopped)
            # The interpreter waits for them at its exit, when the guard is gone; one may hang.
            while any(not thread.daemon for thread in set(threading.enumerate()) - threads_before):
                time.sleep(_THREADS_SECONDS)
            raise stopped from error
        finally:
            try:
                signals.stop_raising()
            finally:  # also if a signal is raised just before
                theirs.send(b"\0")
                guard.join()
                for number, handler in handlers_before.items():
                    signal.signal(number, handler)
                signal.set_wakeup_fd(descriptor_before)


def _guard(signals: socket.socket, say: Callable[[Stopped], bool]) -> None:
    """Wait for a first signal, then briefly for the end of the block or a second signal; then end the process."""
    number = 0
    while number not in (signal.SIGINT, signal.SIGTERM):
        number = signals.recv(1)[0]
        if not number:
            return
    stopped = Stopped(number)
    begin = time.monotonic()
    while (left := begin + _PATIENCE_SECONDS - time.monotonic()) > 0:
        another = _received(signals, left)
        if another == 0:
            return
        if another in (signal.SIGINT, signal.SIGTERM) and time.monotonic() - begin > _ECHO_SECONDS:
            os._exit(stopped.exit_status)

    def end() -> None:
        if say(stopped):
            os._exit(stopped.exit_status)

    ending = threading.Thread(target=end, name="mrc2movie end")
    ending.start()
    if _received(signals, _PATIENCE_SECONDS) == 0:
        ending.join(_PATIENCE_SECONDS)
    os._exit(stopped.exit_status)


def _received(signals: socket.socket, seconds: float) -> int | None:
    """The next byte; None if none arrives in time."""
    signals.settimeout(seconds)
    try:
        return signals.recv(1)[0]
    except TimeoutError:
        return None
