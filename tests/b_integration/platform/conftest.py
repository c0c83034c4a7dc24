"""A local target with the platform procfile on it, shared by a module's tests; each test deploys apps of its own."""

from __future__ import annotations

import shutil
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from testlab_local import places
from testlab_local.provider import LocalProvider

from pytest_testlab.diagnosis.collect import collect
from pytest_testlab.diagnosis.probe import parse_probe
from pytest_testlab.evidence import ProbeFacts
from pytest_testlab.model import Application, Deployment, Entry, ServerRequest, Suite, new_nonce
from pytest_testlab.options import Settings
from pytest_testlab.platform.procfile import ProcfilePlatform
from pytest_testlab.protocols import HttpAnswer
from pytest_testlab.target.observe import Observations
from pytest_testlab.target.ssh import SshTarget

APP = """
import http.server, json, os, subprocess, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status, body = 200, f"hello from {os.environ['TESTLAB_DEPLOY']} by {os.environ.get('NAME', 'nobody')}"
        if self.path == "/json":
            body = json.dumps({"a": {"b": [1, True, None]}, "forwarded": dict(self.headers.items())})
        elif self.path == "/hang":
            time.sleep(60)
        elif self.path == "/fail":
            status = 500
        elif self.path == "/env":
            body = json.dumps(dict(os.environ))
        elif self.path == "/row":
            query = ["psql", "-Atc", "SELECT word FROM words", os.environ["DATABASE_URL"]]
            body = subprocess.check_output(query, text=True)
        elif self.path == "/socket":
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", "echo")
            self.end_headers()
            self.wfile.write(self.connection.recv(4))
            self.close_connection = True
            return
        self.say(status, body.encode())

    def do_POST(self):
        if self.path != "/echo":
            return self.send_error(501)
        self.say(200, self.rfile.read(int(self.headers["Content-Length"])))

    def say(self, status, data):
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
RUN = "exec python3 app.py $PORT"


@dataclass
class Bench:
    """What a test of the platform works with."""

    target: SshTarget
    platform: ProcfilePlatform
    folder: Path
    observe: Observations = field(default_factory=Observations)
    deployments: list[Deployment] = field(default_factory=list)

    def place(self, env: Mapping[str, str] | None = None, **fields: Any) -> Deployment:
        """An entry of the test app, with `fields` of its own, and where it is to go."""
        if "static" not in fields:
            fields.setdefault("command", RUN)
        entry = Entry(**{"name": "hello", "suite": Suite.APPS, "file": self.folder / "testlab.toml"} | fields)
        app = Application(entry=entry, nonce=new_nonce(), env=env or {})
        deployment = self.platform.place(self.target, app)
        self.deployments.append(deployment)
        return deployment

    def deploy(self, env: Mapping[str, str] | None = None, **fields: Any) -> Deployment:
        """Deploy it too; doesn't wait until it answers."""
        deployment = self.place(env, **fields)
        self.platform.deploy(self.target, deployment, self.observe)
        return deployment

    def get(self, deployment: Deployment, path: str = "/", *, host: str | None = None) -> HttpAnswer:
        """Ask through the front door, until the app is up."""
        client = self.platform.client(deployment, host=host)
        until = time.monotonic() + 30
        while (answer := client.request("GET", path, timeout_s=10)).status == 502 and time.monotonic() < until:
            time.sleep(0.05)
        return answer

    def probe(self, deployment: Deployment) -> ProbeFacts:
        """The facts, as the diagnosis reads them."""
        [section] = collect(self.target, [self.platform.probe(self.target, deployment)], deadline_s=10)
        assert section.absent is None, section
        return parse_probe([section.text])

    def section(self, deployment: Deployment, name: str) -> str:
        """The text of a section, or "absent: why"."""
        found = [section for section in self.platform.sections(self.target, deployment) if section.name == name]
        [section] = collect(self.target, found, deadline_s=10)
        return f"absent: {section.absent}" if section.absent is not None else section.text.decode()

    def shell(self, script: str) -> str:
        """What a script on the target prints."""
        result = self.target.run(script, timeout_s=20)
        assert result.exit_code == 0, result
        return result.stdout.decode().strip()

    def until(self, is_so: Callable[[], bool], within_s: float = 30.0) -> None:
        """Wait until something is so; fails after its time."""
        deadline = time.monotonic() + within_s
        while not is_so():
            assert time.monotonic() < deadline, f"not so within {within_s} s"
            time.sleep(0.03)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SshTarget, ProcfilePlatform]]:
    """A blank target and the platform installed on it."""
    home = tmp_path_factory.mktemp("lab") / "home"
    provider = LocalProvider(Settings(home=str(home)))
    target = SshTarget(provider.create(ServerRequest(run="r", slot=0)), connect_within_s=30)
    platform = ProcfilePlatform()
    platform.install(target, Observations())
    try:
        yield target, platform
    finally:
        target.close()
        provider.destroy(target.server)
        shutil.rmtree(places.base(home), ignore_errors=True)


@pytest.fixture
def bench(installed: tuple[SshTarget, ProcfilePlatform], tmp_path: Path) -> Iterator[Bench]:
    """The shared target, and an entry's folder with the test app; whatever was deployed is removed, and proven so."""
    bench = Bench(*installed, write_entry(tmp_path))
    yield bench
    for deployment in bench.deployments:
        bench.platform.destroy(bench.target, deployment)


@pytest.fixture(scope="module")
def app(
    installed: tuple[SshTarget, ProcfilePlatform], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """The test app, deployed and up for a whole module, for tests that only ask it."""
    bench = Bench(*installed, write_entry(tmp_path_factory.mktemp("app")))
    deployment = bench.deploy(env={"NAME": "radicale"})
    bench.get(deployment)
    yield deployment
    bench.platform.destroy(bench.target, deployment)


def write_entry(place: Path) -> Path:
    """An entry's folder with the test app and a site."""
    folder = place / "entry"
    folder.mkdir()
    (folder / "app.py").write_text(textwrap.dedent(APP))
    (folder / "site").mkdir()
    (folder / "site" / "index.html").write_text("<h1>a static site</h1>\n")
    return folder
