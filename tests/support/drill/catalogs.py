"""The small catalogs that the drill's sessions run. Each app is given the marker secret and prints it where it can."""

from __future__ import annotations

from pathlib import Path

from drill.case import Case

SECRET = "drill-marker"
"""The secret's name; the value comes over the environment."""
HEAD = """[app]
name = "{name}"
timeout = "1m"
{more}
[env]
PASSWORD = {{ secret = "drill-marker" }}
"""
BODIES = {
    "page": """
[build]
commands = ["echo building with $PASSWORD"]
[run]
static = "site"
[[checks]]
http = "/"
contains = "a page"
""",
    "served": """
[build]
commands = ["echo the password is $PASSWORD; sleep 0.1"]
[run]
command = "echo starting with $PASSWORD; exec python3 -S serve.py $PORT"
[[checks]]
http = "/"
contains = "served"
[[checks]]
command = "echo $PASSWORD"
""",
    "hider": """
[build]
commands = ["env -i /usr/bin/setsid /bin/sleep 600 >/dev/null 2>&1 </dev/null &", "sleep {pause}"]
[run]
static = "site"
[[checks]]
http = "/"
contains = "a page"
""",
    "words": """
[build]
commands = ["echo $PASSWORD", "sleep 0.1"]
[run]
command = "true"
[[checks]]
command = "sleep 0.1"
""",
}
SERVE = """import http.server, os, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"served")
        print("asked; the password is", os.environ["PASSWORD"], flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""


def write(folder: Path, case: Case) -> None:
    """Write the catalog of a case."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    for number, kind in enumerate(_kinds(case)):
        place = folder / f"{kind}-{number}"
        (place / "site").mkdir(parents=True)
        (place / "site" / "index.html").write_text("<h1>a page</h1>\n" + "<p>padding</p>\n" * 50)
        (place / "serve.py").write_text(SERVE)
        more = 'addons = ["postgresql"]\n' if case.addon and kind == "served" else ""
        body = BODIES[kind].replace("{pause}", "3" if case.beside else "0.1")
        (place / "testlab.toml").write_text(HEAD.format(name=place.name, more=more) + body)


def _kinds(case: Case) -> tuple[str, ...]:
    if case.provider == "memory":
        return ("words",) * 4
    return ("page", "served", "page") if case.provider == "hetzner" else ("page", "served", "hider")
