"""No secret gets out: one session in which apps, checks and builds print theirs in every way, and a look everywhere."""

from __future__ import annotations

import random
import re
import textwrap
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest
from leaks import Leaks, Watch, files_below, pages, pem, store_dump, token
from sessions import LabSession
from sqlalchemy.engine import make_url

from pytest_testlab.cli import main
from pytest_testlab.store.embedded import StoreHandle

FORMS = '''
"""Every way in which a program may print a secret."""
import base64, html, json, os, shlex, sys, textwrap, urllib.parse

def code(data, wrap=0, how=base64.b64encode):
    text = how(data).decode()
    return "\\n".join(textwrap.wrap(text, wrap)) if wrap else text

def forms(value):
    raw = value.encode()
    yield value
    yield "\\n".join("app[7]: " + line for line in value.splitlines())
    for quote in (urllib.parse.quote, urllib.parse.quote_plus, shlex.quote, html.escape, repr):
        yield quote(value)
    yield urllib.parse.quote(value, safe="")
    yield "".join("%%%02x" % b for b in raw)
    yield json.dumps({"v": value})
    yield json.dumps(json.dumps({"v": value}))
    yield json.dumps({"v": value}).replace("&", "\\\\u0026").replace("/", "\\\\/")
    yield "".join("\\\\u%04x" % ord(c) for c in value)
    yield "".join("\\\\x%02X" % b for b in raw)
    yield "".join("&#%d;" % ord(c) for c in value)
    yield repr(raw)
    yield raw.hex()
    yield raw.hex().upper()
    for user in ("", "u", "us", "user", "somebody-with-a-long-name-so-that-it-is-wrapped-within-the-secret"):
        for how in (base64.b64encode, base64.urlsafe_b64encode):
            for wrap in (0, 64, 76):
                yield code(user.encode() + b":" + raw + b"!", wrap, how)
    yield textwrap.indent(code(b"user:" + raw * 4, 76), "Nov 21 02:31:07 host app[7]: ")
    yield "Authorization: Basic " + code(b"admin:" + raw)
    yield "Proxy-Authorization: Bearer " + value
    quoted = urllib.parse.quote(value, safe="")
    yield "postgresql://app:" + quoted + "@127.0.0.1/x?password=" + quoted
    yield "\\x1b[31m" + value + "\\x1b[0m\\x1b]0;" + value + "\\x07"
    yield "\\n".join(textwrap.wrap("-" * 61 + value.replace("\\n", ""), 80))

def own():
    return {name: value for name, value in os.environ.items() if name[:2] in ("S_", "GE", "DA")}

def tell(stream=sys.stdout):
    for name, value in own().items():
        for form in forms(value):
            print(name, form, file=stream, flush=True)
        '''
APP = """
import http.server, os, sys, urllib.parse
import forms
forms.tell()
forms.tell(sys.stderr)
for value in forms.own().values():
    with open("own.log", "a") as log:
        log.write(value)
    name = urllib.parse.quote(value, safe="")[:200]
    open(f"data-{name}.txt", "w").close()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        secret = next(iter(forms.own().values()))
        one_line = " ".join(secret.split())
        if self.path.startswith("/die"):
            os.close(self.connection.fileno())
            return
        body = ("x" * int(os.environ.get("BEFORE", "170")) + one_line + " and more " + "y" * 2048).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; token=" + one_line)
        self.send_header("Location", "/?" + "z" * 180 + urllib.parse.quote(one_line))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
CHECK = """
import base64, os, sys, urllib.parse, urllib.request
import forms
forms.tell()
url = os.environ["APP_URL"]
for value in forms.own().values():
    one_line = " ".join(value.split())
    asked = url + "/some/path?q=" + urllib.parse.quote(value) + "&s=" + urllib.parse.quote_plus(value)
    headers = {"Referer": asked, "User-Agent": one_line, "Authorization": "Bearer " + one_line}
    for where in (asked, asked.replace("/some", "/die")):
        try:
            urllib.request.urlopen(urllib.request.Request(where, headers=headers), timeout=5).read()
        except OSError as error:
            print(error, where)
print(os.environ["http_proxy"], base64.b64encode(os.environ["http_proxy"].encode()).decode())
raise RuntimeError("it does not like " + next(iter(forms.own().values())))
"""
ENTRY = """
    [app]
    name = "{name}"

    [run]
    command = "python3 app.py"
    ready = {{ http = "/", within = "30s" }}

    [env]
    ENTRY = "{name}"
    PYTHONIOENCODING = "utf-8"
    """


def entries(lab: LabSession) -> None:
    """A catalog whose apps tell all they know: in logs, builds, answers, checks and names of files."""
    for name, rest in {
        "by-script": 'S_ENV = { secret = "one" }\n[[checks]]\nscript = "check.py"\n',
        "by-body": 'S_FILE = { secret = "two" }\n[[checks]]\nhttp = "/"\ncontains = "nothing"\nwithin = "1s"\n',
        "by-header": 'S_FILE = { secret = "two" }\nBEFORE = "2030"\n[[checks]]\nhttp = "/"\ncontains = "x"\n'
        'headers = { Location = "nowhere" }\nwithin = "1s"\n',
        "by-command": 'GENERATED = { generate = 32 }\n[[checks]]\ncommand = "ls; python3 forms.py; cat own.log; '
        "python3 -c 'import forms; forms.tell()'; python3 -c 'import forms; exit(str(forms.own()))'\"\n",
        "by-build": 'S_PEM = { secret = "three" }\n'
        "[build]\ncommands = [\"python3 -c 'import forms; forms.tell()'; exit 3\"]\n",
        "by-flood": 'S_ENV = { secret = "one" }\n[build]\ncommands = ["python3 -c \'import forms; '
        'print(forms.own()[\\"S_ENV\\"] * 9000)\'; exit 3"]\n',
        "by-addon": "[[checks]]\ncommand = \"python3 -c 'import forms; forms.tell(); exit(1)'\"\n",
    }.items():
        text = textwrap.dedent(ENTRY).format(name=name)
        if name == "by-addon":
            text = text.replace("[run]", 'addons = ["postgresql"]\n\n[run]')
        folder = lab.entry(name, text + rest)
        (folder / "forms.py").write_text(FORMS)
        (folder / "app.py").write_text(APP)
        (folder / "check.py").write_text(CHECK)


@pytest.fixture
def leaks() -> Leaks:
    rng = random.Random()
    return Leaks(
        {
            "database password": token(rng, 32),
            "unused secret": token(rng, 40),
            "one": token(rng, 44, also="&/+\"'<"),
            "two": token(rng, 40),
            "three": pem(rng),
        }
    )


@pytest.fixture
def session(
    lab: LabSession, leaks: Leaks, store: StoreHandle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Watch, pytest.RunResult]:
    """The session, with two targets, watched while it runs."""
    entries(lab)
    url = make_url(store.url).set(password=leaks.markers["database password"])
    monkeypatch.setenv("TESTLAB_DATABASE_URL", url.render_as_string(hide_password=False))
    monkeypatch.setenv("TESTLAB_SECRET_UNUSED", leaks.markers["unused secret"])
    monkeypatch.setenv("TESTLAB_SECRET_ONE", leaks.markers["one"])
    monkeypatch.setenv("LEAKS_CONTROLLER", "1")
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "two").write_text(leaks.markers["two"] + "\n")
    (secrets / "three").write_text(leaks.markers["three"] + "\n")
    monkeypatch.setenv("TESTLAB_SECRETS_DIR", str(secrets))
    with Watch(leaks) as watch:
        result = lab.run("--junitxml", "report.xml", "-rA", "-l", pool=2, provider="local")
    for name, value in watch.generated.items():
        leaks.add(name, re.sub(r".*:(\w+)@.*", r"\1", value))
    return watch, result


def test_no_secret_gets_out(
    lab: LabSession,
    leaks: Leaks,
    store: StoreHandle,
    lab_home: Path,
    session: tuple[Watch, pytest.RunResult],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """None in journal, store, pages, terminal, JUnit file, `testlab why`, process list or another's environment."""
    watch, result = session
    statuses = lab.statuses()
    assert {name: status for name, status in statuses.items() if status != "blocked"} == {
        **{f"{name}::install": "passed" for name in ("by-script", "by-body", "by-header", "by-command", "by-addon")},
        **{f"{name}::check": "failed" for name in ("by-script", "by-body", "by-header", "by-command", "by-addon")},
        "by-build::install": "failed",
        "by-flood::install": "failed",
    }
    assert {"by-command GENERATED", "by-addon DATABASE_URL"} <= watch.generated.keys()
    monkeypatch.setenv("TESTLAB_DATABASE_URL", store.url)
    places = list(_places(lab, store, lab_home, result, capsys))
    leaked = {f"{name} in {where}" for where, data in places for name in leaks.found_in(data)}
    assert not leaked
    masked = [where for where, data in places if b"[redacted]" in data]
    assert len(masked) > 50
    assert not watch.arguments
    allowed = {
        "database password": {"controller"},
        "unused secret": {"controller"},
        "one": {"controller", "app by-script", "app by-flood", "script by-script"},
        "two": {"app by-body", "app by-header"},
        "three": {"app by-build"},
    }
    strangers = {name: who - allowed[name] for name, who in watch.environments.items()}
    assert not any(strangers.values()), strangers


def _places(
    lab: LabSession,
    store: StoreHandle,
    lab_home: Path,
    result: pytest.RunResult,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[tuple[str, bytes]]:
    yield "the terminal", (str(result.stdout) + str(result.stderr)).encode()
    report = lab.pytester.path / "report.xml"
    ElementTree.parse(report)  # noqa: S314 - our own pytest wrote it
    yield from (place for place in files_below(lab.pytester.path) if "secrets" not in Path(place[0]).parts)
    yield from (place for place in files_below(lab_home) if f"{lab_home}/pg/" not in place[0])
    yield from store_dump(store)
    yield from pages(store)
    for test in lab.results():
        for arguments in (["--json"], []):
            assert main(["why", test, *arguments]) == 0
            yield f"testlab why {test}", capsys.readouterr().out.encode()
