"""A tired person sees the cause in twelve lines."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_testlab.diagnosis.bundle import diagnose
from pytest_testlab.diagnosis.collect import LOST, RawSection
from pytest_testlab.diagnosis.redact import MARKER, Redactor
from pytest_testlab.diagnosis.rules import BUILT_IN_RULES
from pytest_testlab.diagnosis.shapes import BUILT_IN_SHAPES
from pytest_testlab.errors import BuildFailed, CheckFailed, NotReady, TestlabError
from pytest_testlab.model import Bundle, FailureClass, Stage

PLAIN = Redactor([], BUILT_IN_SHAPES)
PROXY = b"""process state=running pid=812 starts=1
listener address=127.0.0.1:5000 pid=812 descends=yes
inside address=127.0.0.1:5003 declared=yes error=refused
inside address=127.0.0.1:5000 declared=no status=200 seconds=0.012
front-door address=127.0.0.1:8080 status=502 seconds=0.004
"""
HEALTHY = b"""process state=running pid=812 starts=1
inside address=127.0.0.1:5003 declared=yes status=200 seconds=0.012
front-door address=127.0.0.1:8080 status=200 seconds=0.014
"""
NGINX = b"""02:31:02 [error] 71#71: *1 connect() failed (111: Connection refused) while connecting to upstream
02:31:03 [error] 71#71: *9 connect() failed (111: Connection refused) while connecting to upstream
"""
CRASH = b"""process state=exited starts=1 exit=1
inside address=127.0.0.1:5003 declared=yes error=refused
front-door address=127.0.0.1:8080 status=502 seconds=0.004
"""
TRACEBACK = b"""[2026-11-21 02:31:00] INFO starting
\x1b[31mTraceback (most recent call last):\x1b[0m
  File "/srv/app/server.py", line 3, in <module>
    import flask_login
ModuleNotFoundError: No module named 'flask_login'
"""
STDLIB = b"""127.0.0.1 - - [30/Nov/2026 20:43:10] "GET /health HTTP/1.1" 200 -
127.0.0.1 - - [30/Nov/2026 20:43:11] code 500, message no key 'database' in config
127.0.0.1 - - [30/Nov/2026 20:43:11] "GET / HTTP/1.1" 500 -
"""
RAISED = b"""Traceback (most recent call last):
  File "/srv/app/server.py", line 3, in do_GET
    config["database"]
KeyError: 'database'
127.0.0.1 - - [30/Nov/2026 20:43:11] "GET / HTTP/1.1" 500 -
"""


def section(name: str, text: bytes = b"", absent: str | None = None) -> RawSection:
    return RawSection(name=name, source=name, text=text, size=len(text), absent=absent)


def made(failure: TestlabError | None, *raw: RawSection, redactor: Redactor = PLAIN, static: bool = False) -> Bundle:
    return diagnose(
        entry="radicale",
        stage=Stage.INSTALL,
        failure=failure,
        static=static,
        raw=raw,
        redactor=redactor,
        rules=BUILT_IN_RULES,
    )


def test_the_wrong_port_in_full() -> None:
    """The whole headline of a port mismatch: cause, rule, failure, facts, the proxy's complaint once, and a hint."""
    bundle = made(
        NotReady("/", 60, 502, "status 502"),
        section("proxy-probe", PROXY),
        section("nginx-error", NGINX),
        section("app"),
    )
    assert bundle.headline == (
        "proxy-502: radicale answers 200 on 127.0.0.1:5000, "
        "but it was told to listen on 127.0.0.1:5003, where the front door looks",
        "rule: proxy-502/wrong-port",
        "failed at: GET / through the front door: status 502, for 60 s",
        "front door: answers 502 on 127.0.0.1:8080 in 0.004 s",
        "process: running, started 1 time",
        "inside: the app refuses the connection on 127.0.0.1:5003",
        "inside: another port answers 200 on 127.0.0.1:5000 in 0.012 s",
        "nginx-error: 02:31:03 [error] 71#71: *9 connect() failed (111: Connection refused) "
        "while connecting to upstream",
        "look at: [run] command: it must listen on 127.0.0.1:$PORT (here 5003), not on a port of its own",
    )


def test_a_crash_shows_the_tracebacks_last_line() -> None:
    """The exception's own words come right after the cause and the rule, without colours."""
    bundle = made(NotReady("/", 60, 502, "status 502"), section("proxy-probe", CRASH), section("app", TRACEBACK))
    assert bundle.headline[0] == "app-crash: radicale's process ended: exit code 1, started once"
    assert "app: ModuleNotFoundError: No module named 'flask_login'" in bundle.headline[2:5]
    assert "\x1b" not in "".join(bundle.headline)


def test_a_build_shows_its_own_error() -> None:
    """Of a long build log the error near the end is shown, not its first harmless mention of one."""
    log = b"checking for error.h... yes\n" * 300 + b"ERROR: No matching distribution found for radicale==99\n"
    bundle = made(BuildFailed("venv/bin/pip install radicale==99", 1), section("build", log))
    assert bundle.headline[0] == (
        "build-failure: radicale's build command ended with exit code 1: venv/bin/pip install radicale==99"
    )
    assert "build: ERROR: No matching distribution found for radicale==99" in bundle.headline


def test_a_silent_crash_shows_its_last_lines() -> None:
    """Where no line speaks of an error, the last ones are shown."""
    app = section("app", b"hello\nlistening on 5003\nbye\n\n")
    bundle = made(NotReady("/", 60, 502, "status 502"), section("proxy-probe", CRASH), app)
    assert [line for line in bundle.headline if line.startswith("app: ")] == ["app: listening on 5003", "app: bye"]


@pytest.mark.parametrize(
    ("log", "told", "hint"),
    [
        (STDLIB, ["code 500, message no key 'database' in config", '"GET / HTTP/1.1" 500 -'], "what it says"),
        (STDLIB.replace(b"20:43:11] code", b"20:41:11] code"), ['"GET / HTTP/1.1" 500 -'], "what it says"),
        (RAISED, ["KeyError: 'database'", '"GET / HTTP/1.1" 500 -'], "the traceback"),
    ],
)
def test_what_an_app_says_of_a_request_that_errs(log: bytes, told: list[str], hint: str) -> None:
    """Also the line before that of the request, where it is about it; a traceback is named only where there is one."""
    probed = HEALTHY.replace(b"status=200", b"status=500")
    lines = made(NotReady("/", 60, 500, "status 500"), section("proxy-probe", probed), section("app", log)).headline
    said = [line.rpartition("] ")[2].removeprefix("app: ") for line in lines if line.startswith("app: ")]
    assert said == told
    assert lines[-1] == f"look at: the section app: {hint} beside that request"


def test_a_wrong_answer_shows_its_requests_and_says_it_once() -> None:
    """Repeated requests stand for one, the answer's body is no evidence of its own, and the cause isn't said twice."""
    failure = CheckFailed(1, "sum", "JSON with a = 1", "2")
    http = b"GET / \xe2\x86\x92 200 in 0.01 s\n  | {}\nGET /a \xe2\x86\x92 200 in 0.01 s\n  | {'a': 2}\n"
    again = b"GET /a \xe2\x86\x92 200 in 0.02 s\n"
    bundle = made(failure, section("proxy-probe", HEALTHY), section("http", http + again + f"{failure}\n".encode()))
    assert bundle.headline[0] == f"check-failed: {failure}"
    shown = [line for line in bundle.headline if line.startswith("http: ")]
    assert shown == ["http: GET /a \u2192 200 in 0.02 s"]


def test_absent_evidence_is_said() -> None:
    """Without a probe the headline says so, and why, instead of guessing."""
    bundle = made(NotReady("/", 60, 502, "status 502"), section("proxy-probe", absent="it printed nothing within 5 s"))
    assert bundle.verdict is not None
    assert bundle.verdict.failure_class == FailureClass.INDETERMINATE
    assert "it printed nothing within 5 s" in bundle.headline[0]


def test_a_lost_line_is_the_targets_fault() -> None:
    """When collecting found the line gone, the class is infra, and the reason stands there."""
    bundle = made(CheckFailed(1, "x", "a", "b"), section("app", absent=f"{LOST}: connection reset by peer"))
    assert bundle.headline[0] == "infra: the target went away while radicale ran on it"
    assert f"{LOST}: connection reset by peer" in bundle.headline


def test_a_pass_has_sections_and_nothing_to_say() -> None:
    """A passed attempt keeps its evidence; there is no verdict and no headline."""
    bundle = made(None, section("app", b"password=hunter2\n"))
    assert (bundle.verdict, bundle.headline, bundle.redacted) == (None, (), 1)
    assert bundle.sections[0].text == b"password=" + MARKER + b"\n"
    assert not bundle.sections[0].truncated


def test_sizes_tell_the_truth_after_masking() -> None:
    """What was cut stays marked as cut, without its broken first line; what was whole does not seem cut."""
    cut = RawSection(name="app", source="f", text=b"er2 is half a secret\nwhole line\n", size=90_000)
    bundle = made(None, cut, section("whole", b"token=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa1"))
    assert bundle.sections[0].text == b"whole line\n"
    assert bundle.sections[0].truncated
    assert not bundle.sections[1].truncated


SECRET = "q7#Zk/39vT&q'"


def test_secrets_reach_neither_headline_nor_verdict() -> None:
    """A secret in a check's answer, a log, a source or a reason is masked everywhere, before lines are shortened."""
    failure = CheckFailed(1, "login", "'welcome'", "x" * 130 + SECRET, status=200)
    ok = (
        b"process state=running pid=1 starts=1\ninside address=a:1 declared=yes status=200\n"
        b"front-door address=a:2 status=200\n"
    )
    bundle = made(
        failure,
        section("proxy-probe", ok),
        section("http", f"error: {SECRET}\n".encode()),
        section("dns", absent=f"can't resolve {SECRET}"),
        redactor=Redactor([SECRET], BUILT_IN_SHAPES),
    )
    seen = repr((bundle.headline, bundle.verdict)) + "".join(s.text.decode() + str(s.absent) for s in bundle.sections)
    assert bundle.verdict is not None
    assert bundle.verdict.failure_class == FailureClass.CHECK_FAILED
    assert not any(SECRET[start : start + 6] in seen for start in range(len(SECRET) - 5))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=600), min_size=3, max_size=3), st.text(max_size=400))
def test_a_headline_is_bounded_whatever_the_evidence(texts: list[bytes], got: str) -> None:
    """At most 12 lines of at most 160 printable characters."""
    names = ("app", "nginx-error", "proxy-probe")
    raw = (section(name, text) for name, text in zip(names, texts, strict=True))
    bundle = made(CheckFailed(1, "x", "y", got, status=200), *raw)
    assert 2 <= len(bundle.headline) <= 12
    for line in bundle.headline:
        assert len(line) <= 160
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]", line)


@pytest.mark.parametrize("text", [b"error " * 20_000, b"a" * 200_000, b"\x1b[" * 50_000, b"Error: x\n" * 20_000])
def test_hostile_logs_can_not_stall_it(text: bytes) -> None:
    """A log made to be slow costs no more than a blink."""
    start = time.process_time()
    made(NotReady("/", 60, 502, "status 502"), section("proxy-probe", CRASH), section("app", text[:65_536]))
    assert time.process_time() - start < 2


def test_a_pass_costs_little() -> None:
    """Thousands of trivial tests must not notice it: measured 0.05 ms an attempt without sections, held to 1 ms."""
    start = time.process_time()
    for _ in range(500):
        made(None, section("http", b""), redactor=Redactor(["a-known-value"], BUILT_IN_SHAPES))
    assert (time.process_time() - start) / 500 < 0.001
