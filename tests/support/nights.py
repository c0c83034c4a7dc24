"""Nights to look at: what a small catalog came to, for screenshots and for tests of the pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

HOSTILE = (
    b"\x1b[31mred alert\x1b[0m <script>window.hacked = 1</script>\n"
    b'<img src=x onerror="window.hacked = 2"> & "quotes"\n'
    b"\x00 nul, \x07 bell, \x1b]0;title\x07 a window title, \x1b[2J a cleared screen\n"
    b"not utf-8: \xff\xfe, overwritten\rby this\n" + b"a long line " * 80 + b"\n"
    b"\xe2\x80\xae reversed\n"
    b'<div hx-get="/logout" hx-trigger="load" hx-swap="outerHTML">htmx?</div>\n'
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one test came to on one night."""

    test: str
    status: str = "passed"
    failure_class: str | None = None
    rule: str | None = None
    headline: tuple[str, ...] = ()
    seconds: float = 4.0
    reason: str | None = None
    sections: Mapping[str, bytes] = field(default_factory=dict)
    owner: str | None = None
    priority: str = "P1"


def app(name: str) -> str:
    """The folder of an app that is meant to work."""
    return f"examples/catalog/apps/{name}/testlab.toml"


def broken(kind: str) -> str:
    """The folder of an app that is broken on purpose."""
    return f"examples/catalog/broken/{kind}/testlab.toml"


APPS = ("datasette", "node-red", "notes", "pypiserver", "radicale", "site", "verdaccio", "wiki")

BUILD_LOG = (
    b"$ python3 -m venv venv\n"
    b"$ venv/bin/pip install -r requirements.txt\n"
    b"Collecting flask==3.1.3\n  Using cached flask-3.1.3-py3-none-any.whl (103 kB)\n"
    b"\x1b[31mERROR: Could not find a version that satisfies the requirement flsk==1.0 (from versions: none)\x1b[0m\n"
    b"\x1b[31mERROR: No matching distribution found for flsk==1.0\x1b[0m\n"
    b"exit code 1 after 2.1 s\n"
)
PROBE_LOG = (
    b"process running pid=4121 starts=1\n"
    b"listener 127.0.0.1:8000 pid=4121 descends=yes\n"
    b"inside 127.0.0.1:8000 status=200\n"
    b"inside 127.0.0.1:20007 refused (the address that PORT names)\n"
    b"front-door status=502\n"
)
NGINX_LOG = (
    b"2026/11/21 02:31:07 [error] 2210#0: *1 connect() failed (111: Connection refused) while connecting to upstream, "
    b'client: 127.0.0.1, server: wrong-port-3f9c1b2a77de.testlab.internal, request: "GET / HTTP/1.1", '
    b'upstream: "http://127.0.0.1:20007/"\n'
) * 14
APP_LOG = (
    b"\x1b[32mINFO\x1b[0m  Started server process [4121]\n"
    b"\x1b[32mINFO\x1b[0m  Waiting for application startup.\n"
    b"\x1b[33mWARN\x1b[0m  PORT is ignored, listening on the default\n"
    b"\x1b[32mINFO\x1b[0m  Uvicorn running on \x1b[1mhttp://127.0.0.1:8000\x1b[0m (Press CTRL+C to quit)\n"
)
CRASH_LOG = (
    b"Traceback (most recent call last):\n"
    b'  File "/srv/apps/crash/app.py", line 12, in <module>\n'
    b"    main()\n"
    b'  File "/srv/apps/crash/app.py", line 8, in main\n'
    b'    raise RuntimeError("no such table: settings")\n'
    b"RuntimeError: no such table: settings\n"
)

BUILD = Outcome(
    test=broken("build-failure") + "::install",
    status="failed",
    failure_class="build-failure",
    rule="build-failure/command-exit-code",
    headline=(
        "A build command ended with exit code 1",
        "$ venv/bin/pip install -r requirements.txt",
        "ERROR: Could not find a version that satisfies the requirement flsk==1.0 (from versions: none)",
        "ERROR: No matching distribution found for flsk==1.0",
    ),
    seconds=6.4,
    sections={"build": BUILD_LOG},
)
PROXY = Outcome(
    test=broken("proxy-502") + "::install",
    status="failed",
    failure_class="proxy-502",
    rule="proxy-502/front-door-5xx-inside-ok",
    headline=(
        "The app answers 200 on 127.0.0.1:8000, and the front door asks 127.0.0.1:20007, where nothing listens",
        "inside 127.0.0.1:8000 status=200",
        "front-door status=502",
    ),
    seconds=33.0,
    sections={"build": b"nothing to build\n", "app": APP_LOG, "nginx-error": NGINX_LOG, "proxy-probe": PROBE_LOG},
    owner="groupware",
    priority="P0",
)
CRASH = Outcome(
    test=broken("app-crash") + "::install",
    status="failed",
    failure_class="app-crash",
    rule="app-crash/restarting",
    headline=(
        "The app's process ended 4 times, with exit code 1",
        "RuntimeError: no such table: settings",
    ),
    seconds=31.2,
    sections={"app": CRASH_LOG * 4, "proxy-probe": PROBE_LOG},
)
CHECK = Outcome(
    test=broken("check-failed") + "::check",
    status="failed",
    failure_class="check-failed",
    rule="check-failed/content",
    headline=(
        'check 2 (the page names the app): expected "Welcome", got 200 with other content',
        "<h1>It works!</h1>",
    ),
    seconds=1.3,
    sections={"http": b"> GET / HTTP/1.1\n< HTTP/1.1 200 OK\n\n<h1>It works!</h1>\n", "app": HOSTILE},
)
ERROR_500 = Outcome(
    test=broken("app-error") + "::install",
    status="failed",
    failure_class="app-error",
    rule="app-error/inside-5xx",
    headline=("The app itself answers 500", "KeyError: 'SECRET_KEY'"),
    seconds=31.0,
    sections={"app": b"KeyError: 'SECRET_KEY'\n" * 40},
)
