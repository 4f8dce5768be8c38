"""The callback against real servers on loopback: good ones, failing ones, one that hangs, one that sends elsewhere."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from urllib.parse import urlsplit

import pytest
from faults import installed, started
from movies import ramp, run, write_mrc

from mrc2movie.options.settings import TOKEN_VARIABLE
from mrc2movie.pages import callback

TOKEN = "s3cr3t.token-of_tests+/=="


class Server:
    """A server whose answers are given in turn, the last one from then on.

    Args:
        answers: Status codes, or addresses to which it redirects with status 308; None hangs.
        context: For TLS.
    """

    def __init__(self, *answers: int | str | None, context: SSLContext | None = None) -> None:
        self.seen: list[tuple[str, str | None, bytes]] = []
        self.ended = threading.Event()
        outer, left = self, list(answers)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.seen.append((self.path, self.headers["Authorization"], body))
                answer = left.pop(0) if len(left) > 1 else left[0]
                if answer is None:
                    outer.ended.wait(60)
                    return
                self.send_response(answer if isinstance(answer, int) else 308)
                if isinstance(answer, str):
                    self.send_header("Location", answer)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.port}/done"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same attempts, of which each has less time, with shorter pauses."""
    monkeypatch.setattr(callback, "ATTEMPT_SECONDS", 0.3)
    monkeypatch.setattr(callback, "PAUSES_SECONDS", (0.01, 0.02, 0.04))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_mrc(tmp_path / "a.mrc", ramp())


def test_the_server_gets_the_manifest_and_the_token(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    with Server(200) as server:
        words = ("--manifest", tmp_path / "m.json", "--callback", server.url, "--verbose")
        assert run(source, tmp_path / "out", *words) == 0
    ((path, authorization, body),) = server.seen
    assert (path, authorization) == ("/done", f"Bearer {TOKEN}")
    assert body == (tmp_path / "m.json").read_bytes()
    assert json.loads(body)["files"][0]["status"] == "success"
    printed = capsys.readouterr()
    assert f"{server.url} took the manifest" in printed.err
    written = b"".join(each.read_bytes() for each in tmp_path.rglob("*") if each.is_file())
    assert TOKEN not in printed.out + printed.err
    assert TOKEN.encode() not in written


def test_without_a_token_none_is_sent(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with Server(204) as server:
        assert run(source, tmp_path / "out", "--callback", server.url) == 0
    assert server.seen[0][1] is None


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("answers", "attempts", "status"),
    [
        ((500, 200), 2, 0),
        ((503, 429, 408, 200), 4, 0),
        ((500,), 4, 1),
        ((404,), 1, 1),
        ((401,), 1, 1),
        ((None, 200), 2, 0),
        ((None,), 4, 1),
    ],
)
def test_what_may_pass_is_tried_three_times_again(
    tmp_path: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
    answers: tuple[int | None, ...],
    attempts: int,
    status: int,
) -> None:
    with Server(*answers) as server:
        assert run(source, tmp_path / "out", "--callback", server.url) == status
    assert len(server.seen) == attempts
    said = capsys.readouterr().err
    why = "no answer within 0.3 s" if answers[0] is None else f"the server answered {answers[0]}"
    assert f"the manifest could not be sent ({why}" in said
    assert "the movies are there; the same command sends it again" in said or not status
    assert said.splitlines()[-1] == "1 converted"
    assert (tmp_path / "out/a.avi").exists()


@pytest.mark.usefixtures("quick")
def test_a_server_that_is_not_there_fails_the_run_and_the_movies_stand(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        assert run(source, tmp_path / "out", "--callback", url, "--quiet") == 1
    assert "Connection refused" in capsys.readouterr().err
    assert (tmp_path / "out/a.avi").exists()


@contextmanager
def trickling() -> Iterator[str]:
    """A server that sends a byte of its answer now and then, for ever."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while not ended.is_set():
                connection, _ = listening.accept()
                with connection:
                    try:
                        for _ in range(200):
                            if ended.wait(0.05):
                                break
                            connection.sendall(b"H")
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        yield url
        ended.set()
        socket.create_connection(listening.getsockname()).close()
        thread.join()


@pytest.mark.usefixtures("quick")
def test_an_answer_that_trickles_has_no_more_time(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = time.monotonic()
    with trickling() as url:
        assert run(source, tmp_path / "out", "--callback", url) == 1
    assert time.monotonic() - begin < 10
    assert "no answer within 0.3 s" in capsys.readouterr().err


def test_a_connection_that_opens_when_the_time_is_up_is_cut_off() -> None:
    begin = time.monotonic()
    with trickling() as url:
        connection = HTTPConnection(urlsplit(url).netloc)
        with pytest.raises(TimeoutError), closing(connection), callback._Deadline(0.05) as deadline:
            deadline.watch(connection)
            time.sleep(0.2)
            connection.request("GET", "/")
            connection.getresponse()
    assert time.monotonic() - begin < 5


@pytest.mark.usefixtures("quick")
def test_a_redirect_is_followed_on_the_same_host_with_the_token(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    with Server("/elsewhere", 200) as server:
        assert run(source, tmp_path / "out", "--callback", server.url) == 0
    assert [(path, token) for path, token, _ in server.seen] == [
        ("/done", f"Bearer {TOKEN}"),
        ("/elsewhere", f"Bearer {TOKEN}"),
    ]
    assert server.seen[0][2] == server.seen[1][2]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:{port}/", "http://localhost:{port}/", "ftp://127.0.0.1/", "file:///etc/passwd"]
)
def test_a_redirect_to_another_host_is_refused(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    with Server(200) as other, Server(where.format(port=other.port)) as server:
        assert run(source, tmp_path / "out", "--callback", server.url) == 1
    assert other.seen == []
    assert len(server.seen) == 1
    assert "redirect" in capsys.readouterr().err


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SSLContext]:
    """A certificate of 127.0.0.1 that nobody trusts, and the context of a server that has it."""
    directory = tmp_path_factory.mktemp("tls")
    key, path = directory / "key.pem", directory / "certificate.pem"
    request = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=t -addext subjectAltName=IP:127.0.0.1"
    words = [*request.split(), "-keyout", str(key), "-out", str(path)]
    try:
        subprocess.run(words, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key)
    return path, context


@pytest.mark.usefixtures("quick")
def test_tls_is_checked(
    tmp_path: Path,
    source: Path,
    certificate: tuple[Path, SSLContext],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, context = certificate
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    with Server(200, context=context) as server:
        assert run(source, tmp_path / "out", "--callback", server.url) == 1
        said = capsys.readouterr().err
        assert "certificate verify failed" in said
        assert "the next attempt" not in said
        assert server.seen == []
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        assert run(source, tmp_path / "out", "--callback", server.url) == 0
        assert run(source, tmp_path / "out", "--callback", server.url.replace("127.0.0.1", "localhost")) == 1
    assert [token for _, token, _ in server.seen] == [f"Bearer {TOKEN}"]
    assert "certificate verify failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "token", "what"),
    [
        ("http://portal.example/", TOKEN, "would cross the network for all to read; take an https address"),
        ("https://portal.example/", "two words-of-it", "is no bearer token"),
        ("https://portal.example/", "a\nb", "is no bearer token"),
        ("https://me:pass@portal.example/", "", "must be an http or https address without a user or password"),
        ("ftp://portal.example/", "", "must be an http or https address"),
        ("https://", "", "must be an http or https address"),
        ("https://portal.example/a b", "", "must be an http or https address"),
    ],
)
def test_what_could_not_be_sent_is_refused_before_any_work(
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    url: str,
    token: str,
    what: str,
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    assert run(source, tmp_path / "out", "--callback", url) == 2
    said = capsys.readouterr().err
    assert what in said
    assert not token or token not in said
    assert not (tmp_path / "out").exists()


def test_a_dry_run_sends_nothing(tmp_path: Path, source: Path) -> None:
    with Server(200) as server:
        assert run(source, tmp_path / "out", "--callback", server.url, "--dry-run") == 0
    assert server.seen == []


@pytest.mark.skipif(os.name == "nt", reason="no such signals on Windows")
@pytest.mark.parametrize("answers", [(None,), (500,)])
def test_ctrl_c_ends_the_waiting_at_once(tmp_path: Path, source: Path, answers: tuple[int | None, ...]) -> None:
    with Server(*answers) as server:
        process = started(source, tmp_path / "out", "--callback", server.url)
        wait_until(lambda: bool(server.seen))
        time.sleep(0.2)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
        assert time.monotonic() - begin < 0.5
    assert process.returncode == 130
    assert "interrupted; the same command again carries on" in said
    assert (tmp_path / "out/a.avi").exists()


def wait_until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.large
def test_an_attempt_has_ten_seconds(tmp_path: Path, source: Path) -> None:
    with Server(None, 200) as server:
        begin = time.monotonic()
        result = installed(source, tmp_path / "out", "--callback", server.url)
        spent = time.monotonic() - begin
    assert result.returncode == 0
    assert "no answer within 10 s" in result.stderr
    assert 11 < spent < 20
