"""The lab's proxy for script checks, with the programs that such scripts use."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tools import tool

from pytest_testlab.model import FrontDoor
from pytest_testlab.target.names import NamesProxy

HOST = "app-0123456789ab.testlab.internal"
OTHER = "other-ba9876543210.testlab.internal"


class _App(http.server.BaseHTTPRequestHandler):
    """Says who was asked for what, and keeps its connections open as long as it may."""

    protocol_version = "HTTP/1.1"
    files: Path

    def do_GET(self) -> None:
        file = self.files / self.path.strip("/")
        if file.is_file():
            self._say(file.read_bytes())
        elif self.path == "/simple/demo/":
            self._say(b'<a href="/demo-1.0-py3-none-any.whl">demo-1.0-py3-none-any.whl</a>', "text/html")
        elif self.path.startswith("/-/ping"):
            self._say(b"{}", "application/json")
        else:
            leaked = "password" if self.headers["Proxy-Authorization"] else "no password"
            self._say(f"{self.server.server_port} {self.path} {self.headers['Host']} {leaked}".encode())

    def do_PUT(self) -> None:
        self._say(str(len(self.rfile.read(int(self.headers["Content-Length"])))).encode())

    def _say(self, body: bytes, kind: str = "application/octet-stream") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FrontDoor]:
    """A front door with an app behind it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("App", (_App,), {"files": tmp_path}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield FrontDoor(host="127.0.0.1", port=server.server_port)
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def proxy(app: FrontDoor) -> Iterator[NamesProxy]:
    """The proxy, without an upstream of its own."""
    with NamesProxy({HOST: app}, upstream={}) as proxy:
        yield proxy


def _run(proxy: NamesProxy, *command: str | Path, **env: str) -> str:
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        command,
        env={**kept, **proxy.environ(f"http://{HOST}"), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_curl_reaches_the_app_by_its_name(proxy: NamesProxy, app: FrontDoor) -> None:
    """With the right Host, and without the proxy's password."""
    said = _run(proxy, "sh", "-c", 'curl -sS "$APP_URL/a?b=c"')
    assert said == f"{app.port} /a?b=c {HOST} no password"


def test_python_reaches_the_app_by_its_name(proxy: NamesProxy, app: FrontDoor) -> None:
    """With the standard library alone."""
    code = "import os, urllib.request as u; print(u.urlopen(os.environ['APP_URL'] + '/py').read().decode())"
    assert _run(proxy, sys.executable, "-c", code) == f"{app.port} /py {HOST} no password\n"


def test_pip_installs_from_the_app(proxy: NamesProxy, tmp_path: Path) -> None:
    """An index that is under test serves a wheel."""
    with zipfile.ZipFile(tmp_path / "demo-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("demo.py", "")
        wheel.writestr("demo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        wheel.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("demo-1.0.dist-info/RECORD", "")
    pip = (sys.executable, "-m", "pip", "install", "--target", tmp_path / "site", "--no-cache-dir", "--no-deps", "demo")
    index = ("--index-url", f"http://{HOST}/simple/", "--trusted-host", HOST)
    _run(proxy, *pip, *index, PIP_CONFIG_FILE=os.devnull, PIP_DISABLE_PIP_VERSION_CHECK="1")
    assert (tmp_path / "site" / "demo.py").exists()


def test_npm_reaches_the_app(proxy: NamesProxy, tmp_path: Path) -> None:
    """A registry that is under test answers its ping."""
    ping = (tool("npm", "npm"), "ping", "--registry", f"http://{HOST}/", "--cache", tmp_path / "npm")
    said = _run(proxy, *ping, HOME=str(tmp_path))
    assert "PONG" in said


def test_what_is_no_name_of_the_labs_is_passed_on(proxy: NamesProxy, app: FrontDoor) -> None:
    """Also over CONNECT; and a connection that is kept open doesn't lead the next request to the wrong host."""
    direct = f"http://127.0.0.1:{app.port}/direct"
    assert _run(proxy, "curl", "-sS", direct) == f"{app.port} /direct 127.0.0.1:{app.port} no password"
    assert _run(proxy, "curl", "-sS", "--proxytunnel", direct).startswith(f"{app.port} /direct")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("App", (_App,), {"files": Path("/none")})) as second:
        threading.Thread(target=second.serve_forever, kwargs={"poll_interval": 0.02}).start()
        asked = (f"http://{HOST}/1", f"http://127.0.0.1:{second.server_port}/2", f"http://{HOST}/3")
        said = _run(proxy, "curl", "-sS", "-w", "\n", *asked).splitlines()
        second.shutdown()
    assert [line.split()[0] for line in said] == [str(app.port), str(second.server_port), str(app.port)]


def test_the_machines_own_proxy_is_used_for_the_rest(app: FrontDoor) -> None:
    """With its password, for plain requests and tunnels, and not where no_proxy says so."""
    with NamesProxy({OTHER: app}, upstream={}) as beyond:
        upstream = {"http": beyond.url, "https": beyond.url, "no": "127.0.0.1"}
        with NamesProxy({HOST: app}, upstream=upstream) as proxy:
            assert _run(proxy, "curl", "-sS", f"http://{HOST}/") == f"{app.port} / {HOST} no password"
            assert _run(proxy, "curl", "-sS", f"http://{OTHER}/") == f"{app.port} / {OTHER} no password"
            assert _run(proxy, "curl", "-sS", "-p", f"http://{OTHER}/") == f"{app.port} / {OTHER} no password"
    with NamesProxy({HOST: app}, upstream={"http": "http://127.0.0.1:1", "no": "127.0.0.1"}) as proxy:
        assert _run(proxy, "curl", "-sS", f"http://127.0.0.1:{app.port}/").startswith(str(app.port))
        assert "Connect call failed ('127.0.0.1', 1)" in _run(proxy, "curl", "-sS", f"http://{OTHER}/")


def test_large_bodies_stream(proxy: NamesProxy, tmp_path: Path) -> None:
    """Up and down, more than any buffer."""
    (tmp_path / "big").write_bytes(os.urandom(20_000_000))
    assert _run(proxy, "curl", "-sS", "-T", tmp_path / "big", f"http://{HOST}/x") == "20000000"
    _run(proxy, "curl", "-sS", "-o", tmp_path / "back", f"http://{HOST}/big")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "big").read_bytes()


def test_a_switch_of_protocols_passes_through() -> None:
    """A WebSocket talks both ways after its handshake."""
    listener = socket.create_server(("127.0.0.1", 0))

    def echo() -> None:
        line, _ = listener.accept()
        with line:
            head = line.recv(65_536)
            assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in head
            line.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            while data := line.recv(100):
                line.sendall(data.upper())

    thread = threading.Thread(target=echo)
    thread.start()
    door = FrontDoor(host="127.0.0.1", port=listener.getsockname()[1])
    with NamesProxy({HOST: door}, upstream={}) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as line:
        line.sendall(f"GET http://{HOST}/ws HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\n\r\n".encode())
        assert line.recv(65_536).startswith(b"HTTP/1.1 101 ")
        for word in (b"one", b"two"):
            line.sendall(word)
            assert line.recv(100) == word.upper()
    thread.join(5)
    listener.close()


@pytest.mark.parametrize(
    ("arguments", "status", "say"),
    [
        ((f"http://{HOST}:8080/",), "502", "speaks http on port 80; asked for port 8080"),
        (("http://nowhere-000000000000.testlab.internal/",), "502", "nowhere-000000000000.testlab.internal:80"),
        (("--proxy", "http://lab:wrong@127.0.0.1:{port}", f"http://{HOST}/"), "407", "for the lab's own checks"),
        (("--noproxy", "*", "http://127.0.0.1:{port}/"), "400", "this is a proxy"),
    ],
)
def test_what_it_cannot_do_it_says(proxy: NamesProxy, arguments: tuple[str, ...], status: str, say: str) -> None:
    """In words, with a status that no app gave."""
    asked = (argument.format(port=proxy.port) for argument in arguments)
    said = _run(proxy, "curl", "-sS", "-w", " %{http_code}", *asked)
    assert say in said
    assert said.endswith(" " + status)


def test_tls_to_a_plain_front_door_is_refused(proxy: NamesProxy) -> None:
    """Rather than speaking TLS to a port that doesn't."""
    command = ["curl", "-sS", f"https://{HOST}/"]
    done = subprocess.run(command, env={**os.environ, **proxy.environ("")}, capture_output=True, text=True, timeout=20)
    assert "response 502" in done.stderr


def test_the_password_is_for_the_labs_own_user(proxy: NamesProxy) -> None:
    """A browser of the lab's user needs none; another user of this machine is kept out."""
    bare = f"http://127.0.0.1:{urlsplit(proxy.url).port}"
    asked = ("curl", "-sS", "-o", os.devnull, "-w", "%{http_code}", "--proxy", bare, f"http://{HOST}/")
    assert _run(proxy, *asked) == "200"
    if os.geteuid() == 0:
        assert _run(proxy, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *asked) == "407"


def test_a_script_check_gets_every_name_of_a_proxy(proxy: NamesProxy) -> None:
    """Programs disagree on case; none is told to go around."""
    env = proxy.environ("http://x")
    names = {"http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
    assert {name for name, value in env.items() if value == proxy.url} == names
    assert (env["no_proxy"], env["NO_PROXY"], env["APP_URL"]) == ("", "", "http://x")
    assert all(word not in repr(proxy) for word in proxy.secret_values)
