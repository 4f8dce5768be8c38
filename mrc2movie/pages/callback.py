"""The callback: the manifest sent to a server, a few times where that does not answer."""

import logging
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from types import TracebackType
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, urlsplit
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from mrc2movie.errors import Mrc2movieError, UsageError
from mrc2movie.options.settings import TOKEN_VARIABLE
from mrc2movie.version import __version__

logger = logging.getLogger("mrc2movie.pages.callback")
logger.addHandler(logging.NullHandler())  # the caller adds another to this one, or to "mrc2movie"

ATTEMPT_SECONDS = 10.0
_CUT_OFF_SECONDS = 0.05
PAUSES_SECONDS = (1.0, 2.0, 4.0)
"""Before the second attempt, the third and the last."""

_TOKEN = re.compile(r"[-A-Za-z0-9._~+/]+=*")
"""Of bearer tokens: RFC 6750, section 2.1."""
_MAY_PASS = (408, 429)
"""Answers after which another attempt may do better, beside all from 500 on."""
_PORTS = {"http": 80, "https": 443}


def check_callback(url: str) -> None:
    """Refuse, before any work, a token that could not be sent, or would be sent for all to read.

    Raises:
        UsageError: There is one; the message does not have it.
    """
    if (token := _token()) is None:
        return
    if not _TOKEN.fullmatch(token):
        raise UsageError(f"{TOKEN_VARIABLE} is no bearer token", "it has letters, digits, -._~+/ and = at its end")
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_this_machine(parts.hostname or ""):
        raise UsageError(
            f"--callback {url}: the token in {TOKEN_VARIABLE} would cross the network for all to read",
            "take an https address, or unset the variable",
        )


def _token() -> str | None:
    return os.environ.get(TOKEN_VARIABLE) or None


def _is_this_machine(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host.lower() == "localhost"


def send(url: str, document: bytes) -> None:
    """Send a JSON document (POST), in up to four attempts of up to ten seconds.

    Certificates are checked, and a redirect is followed only to the same host: the token goes to no other.

    Raises:
        Mrc2movieError: The server did not take it.
    """
    for pause in (*PAUSES_SECONDS, None):
        try:
            _attempt(url, document)
            return
        except (OSError, HTTPException) as error:
            why = _in_words(error)
            if pause is None or not _may_pass(error):
                raise Mrc2movieError(
                    f"--callback {url}: the manifest could not be sent ({why})",
                    "the movies are there; the same command sends it again",
                ) from error
        logger.warning("%s: the manifest could not be sent (%s); the next attempt follows in %g s", url, why, pause)
        time.sleep(pause)


def _in_words(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"the server answered {error.code} {error.reason}"
    reason = error.reason if isinstance(error, URLError) else error
    return str(reason) or type(reason).__name__


def _may_pass(error: Exception) -> bool:
    """Whether another attempt may do better."""
    if isinstance(error, HTTPError):
        return error.code >= 500 or error.code in _MAY_PASS
    return not isinstance(getattr(error, "reason", error), (ssl.SSLCertVerificationError, _Refused))


def _attempt(url: str, document: bytes) -> None:
    with _Deadline(ATTEMPT_SECONDS) as deadline:
        opener = build_opener(_Http(deadline), _Https(deadline), _SameHost)
        opener.open(_request(url, document), timeout=ATTEMPT_SECONDS).close()


def _request(url: str, document: bytes) -> Request:
    request = Request(url, document, {"Content-Type": "application/json", "User-Agent": f"mrc2movie/{__version__}"})
    if token := _token():
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return request


class _Refused(OSError):
    """A redirect that is not followed."""


class _SameHost(HTTPRedirectHandler):
    """Sends the document again where the same server says so, also with https instead of http; nowhere else."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if _place(after) not in (_place(before), ("https", before.hostname, _PORTS["https"])):
            raise _Refused(f"a redirect to another host is not followed: {after.scheme}://{after.netloc}")
        if code == 303:  # to a page about it, or to a login
            return None
        assert isinstance(req.data, bytes)
        return _request(newurl, req.data)


def _place(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


class _Deadline:
    """A context in which connections are cut off when the time is up, whatever trickles through them.

    Args:
        seconds: The time.

    Raises:
        TimeoutError: On leaving, where the time was up and an exception passes.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._cut_off, name="mrc2movie deadline")
        self._connections: list[HTTPConnection] = []
        self._up = False

    def watch(self, connection: HTTPConnection) -> HTTPConnection:
        """Cut off this connection, too."""
        self._connections.append(connection)
        return connection

    def _cut_off(self) -> None:
        if self._ended.wait(self._seconds):
            return
        self._up = True
        while True:  # one that was not open yet when the time was up opens now
            for connection in tuple(self._connections):
                with suppress(OSError, AttributeError):  # it is closed, or not open
                    connection.sock.shutdown(socket.SHUT_RDWR)
            if self._ended.wait(_CUT_OFF_SECONDS):
                return

    def __enter__(self) -> "_Deadline":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if isinstance(error, Exception) and (self._up or _timed_out(error)):
            raise TimeoutError(f"no answer within {self._seconds:g} s") from error


def _timed_out(error: Exception) -> bool:
    return isinstance(getattr(error, "reason", error), TimeoutError)


class _Http(HTTPHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: Request) -> Any:
        return self.do_open(_watched(HTTPConnection, self._deadline), req)


class _Https(HTTPSHandler):
    def __init__(self, deadline: _Deadline) -> None:
        self._checked = ssl.create_default_context()
        super().__init__(context=self._checked)
        self._deadline = deadline

    def https_open(self, req: Request) -> Any:
        return self.do_open(_watched(HTTPSConnection, self._deadline), req, context=self._checked)


def _watched(kind: type[HTTPConnection], deadline: _Deadline) -> Callable[..., HTTPConnection]:
    return lambda host, **options: deadline.watch(kind(host, **options))
