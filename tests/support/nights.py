"""Nights to look at: what a small catalog came to, for screenshots and for tests of the pages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_testlab.model import CollectedSection, Provenance
from pytest_testlab.recording import events
from pytest_testlab.recording.folder import RunFolder
from pytest_testlab.recording.journal import Journal

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
LOST = Outcome(
    test=app("wiki") + "::install",
    status="error",
    failure_class="infra",
    rule="infra/line-lost",
    headline=("The line to local-2 was lost while the app was uploaded", "Connection reset by peer"),
    sections={"deploy": b"uploading 212 KB\nConnection reset by peer\n"},
)
SKIPPED = Outcome(
    test=app("forge") + "::install",
    status="skipped",
    reason="needs go>=1.22, which is not on the target; install it with: apt-get install golang",
    seconds=0.2,
)
FAILURES = (BUILD, PROXY, CRASH, CHECK, ERROR_500)


def passes(*but: str) -> list[Outcome]:
    """Both tests of every app that works, but those named."""
    tests = [f"{app(name)}::{stage}" for name in APPS for stage in ("install", "check")]
    log = {"build": b"$ true\nexit code 0 after 0.1 s\n", "app": APP_LOG}
    return [
        Outcome(test=test, seconds=1.5 + len(test) % 7, sections=log)
        for test in tests
        if test not in but and test.replace("::check", "::install") not in but
    ]


def blocked_by(outcome: Outcome) -> Outcome:
    """The check of an entry whose install failed."""
    return Outcome(test=outcome.test.replace("::install", "::check"), status="blocked", reason="install failed")


def first_night() -> list[Outcome]:
    """Two of the broken apps still work, and one app that will be mended doesn't."""
    sick = Outcome(
        test=app("radicale") + "::check",
        status="failed",
        failure_class="check-failed",
        rule="check-failed/script",
        headline=("check 1 (an event comes back): expected exit code 0, got 1", "AssertionError: 404"),
        sections={"http": b"PUT /ada/calendar/1.ics 404\n"},
    )
    red = [BUILD, CRASH, ERROR_500, sick]
    green = [Outcome(test=PROXY.test, seconds=3.0), Outcome(test=PROXY.test.replace("install", "check"))]
    green += [
        Outcome(test=CHECK.test.replace("check-failed/testlab.toml::check", "check-failed/testlab.toml::install"))
    ]
    green += [Outcome(test=CHECK.test)]
    return [*red, *map(blocked_by, red[:3]), SKIPPED, *green, *passes(sick.test)]


def second_night() -> list[Outcome]:
    """Two break, one is mended, one still fails for another cause, the lab has a fault of its own."""
    other = Outcome(
        test=CRASH.test,
        status="failed",
        failure_class="app-crash",
        rule="app-crash/restarting",
        headline=("The app's process ended 4 times, with exit code 78", "PermissionError: /srv/apps/crash/data"),
        seconds=31.0,
        sections={"app": CRASH_LOG.replace(b"RuntimeError: no such table: settings", b"PermissionError: data") * 4},
    )
    flaky = Outcome(test=app("notes") + "::check", status="flaky", headline=("timed out once",), seconds=9.0)
    red = [PROXY, BUILD, other, ERROR_500, CHECK]
    green = [Outcome(test=CHECK.test.replace("::check", "::install"))]
    return [*red, *map(blocked_by, red[:4]), LOST, SKIPPED, flaky, *green, *passes(LOST.test, flaky.test)]


def provenance(run: str, started_at: dt.datetime, *, mode: str = "nightly", branch: str = "main") -> Provenance:
    """A run of this laboratory's own small catalog."""
    return Provenance(
        run=run,
        mode=mode,
        trigger="scheduled-nightly" if mode == "nightly" else "cli:ada",
        actor="ada",
        platform="procfile",
        provider="local",
        image="",
        branch=branch,
        sha="4f1c0ffee4f1c0ffee4f1c0ffee4f1c0ffee4f1c",
        dirty=False,
        runner_version="0.1.0",
        pool=2,
        budget_s=21600.0,
        started_at=started_at,
    )


class Night:
    """A run's journal, written as a controller and its workers would, one outcome at a time."""

    def __init__(self, home: Path, about: Provenance, outcomes: Sequence[Outcome]) -> None:
        self.folder = RunFolder.create(home, about.run)
        self._journal = Journal(self.folder.path, "controller")
        self._now = about.started_at
        self._journal.append(events.run_started(about))
        planned = [_planned(outcome) for outcome in outcomes]
        self._journal.append(events.collected(planned, selection="all", projected_s=160.0))
        for slot in (0, 1):
            self._target(slot, "ready")

    def start(self, outcome: Outcome, slot: int = 0) -> None:
        """A target takes a test."""
        self._target(slot, "busy")
        self._journal.append(
            events.started(test=outcome.test, attempt=1, slot=slot, target=f"local-{slot + 1}", at=self._now)
        )

    def finish(self, outcome: Outcome, slot: int = 0) -> None:
        """A test comes to something."""
        ran = outcome.status not in ("blocked", "shed", "not_run")
        manifest, blob = events.pack_bundle(_sections(outcome)) if outcome.sections else (None, b"")
        began, seconds = self._now, outcome.seconds
        self._now += dt.timedelta(seconds=seconds if ran else 0)
        event = events.finished(
            test=outcome.test,
            attempt=1 if ran else 0,
            status=outcome.status,
            failure_class=outcome.failure_class,
            rule=outcome.rule,
            headline=outcome.headline,
            reason=outcome.reason,
            duration_ms=round(seconds * 1000) if ran else None,
            phases={"upload": 0.1, "build": seconds * 0.3, "ready": seconds * 0.6} if outcome.sections else None,
            slot=slot if ran else None,
            target=f"local-{slot + 1}" if ran else None,
            started_at=began if ran else None,
            redacted=2 if outcome.sections else 0,
            manifest=manifest,
        )
        self._journal.append(event, blob)
        if ran:
            self._target(slot, "ready")

    def end(self, state: str = "finished", say: str = "") -> None:
        """The run is closed; what it left is for the recorder."""
        self._journal.append(
            events.run_finished(
                state=state, exit_code=1, finished_at=self._now, say=say, phases={"provision": 1.2, "close": 0.4}
            )
        )
        self._journal.close()
        self.folder.close()

    def _target(self, slot: int, state: str) -> None:
        self._journal.append(events.target_event(slot=slot, name=f"local-{slot + 1}", state=state, at=self._now))


def play(home: Path, about: Provenance, outcomes: Sequence[Outcome]) -> None:
    """A whole night, from its first event to its last."""
    night = Night(home, about, outcomes)
    for number, outcome in enumerate(outcomes):
        if outcome.status not in ("blocked", "shed", "not_run"):
            night.start(outcome, number % 2)
        night.finish(outcome, number % 2)
    night.end()


def _planned(outcome: Outcome) -> events.PlannedTest:
    file, _, stage = outcome.test.partition("::")
    entry = file.split("/")[-2] if "/" in file else file
    return events.PlannedTest(
        test=outcome.test,
        suite="apps",
        entry=entry,
        stage=stage,
        priority=outcome.priority,
        owner=outcome.owner,
        file=file,
    )


def _sections(outcome: Outcome) -> list[CollectedSection]:
    present = [
        CollectedSection(name=name, source=_SOURCES.get(name, "the lab's own record"), text=text, size=len(text))
        for name, text in outcome.sections.items()
    ]
    why = "this target has no systemd"
    return [*present, CollectedSection(name="journald", source="journalctl", text=b"", size=0, absent=why)]


_SOURCES = {"app": "log/app.log", "nginx-error": "nginx/error.log", "proxy-probe": "asked from the target"}
