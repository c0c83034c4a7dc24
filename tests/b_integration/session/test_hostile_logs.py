"""Logs that are meant to do harm: how long a session takes, how much it needs, and what people get to see of them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from pages import Lab, logged_in
from sessions import LabSession

from pytest_testlab.cli import main
from pytest_testlab.store.embedded import StoreHandle

WATCH_MEMORY = """
    from pathlib import Path

    def pytest_unconfigure():
        status = Path("/proc/self/status").read_text()
        Path("peak-kb").write_text(status.partition("VmHWM:")[2].split()[0])
"""
SERVE = 'exec python3 -m http.server --bind 127.0.0.1 "$PORT"'
NASTY = (
    r"\033]0;a title\007\033]8;;http://evil.example/\033\\a link\033]8;;\033\\ \033[2J\033[1;1H\033[31mred "
    r"\302\233\063\061m \233\061A \000 \001\010\177 \377\376\300\257 <script>alert(1)</script>&amp;<!-- ]]> "
    r"\342\200\256bidi\342\201\246 \357\277\276 \355\240\200 end error: it failed\n"
)
FLOOD = "head -c 200000000 /dev/zero | tr '\\\\000' x | fold -w 120"


@pytest.fixture
def peak_mb(lab: LabSession) -> object:
    """Asked after a session of one process: the most memory that it ever held."""
    lab.conftest(WATCH_MEMORY)
    return lambda: int((lab.pytester.path / "peak-kb").read_text()) / 1024


def shown(lab: LabSession, store: StoreHandle, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """All that people see of the latest run's bundles: pages, sections as text, `testlab why`."""
    client = logged_in(Lab(store))
    found = {}
    for test in lab.results():
        todo = [f"/runs/{lab.latest().run}/tests/{test}"]
        while todo:
            path = todo.pop()
            if path not in found:
                answer = client.get(path, headers={"Host": "127.0.0.1:8410"})
                assert answer.status_code == 200, path
                found[path] = answer.data.decode(errors="replace")
                todo += re.findall(r'href="(/runs/[^"#]*/\d+/[^"#]*)"', found[path])
        assert main(["why", test]) == 0
        found[f"why {test}"] = capsys.readouterr().out
    return found


def test_floods(lab: LabSession, peak_mb: object) -> None:
    """200 MB at once and a line of 50 MB: 20 MB of them stay on the target, 64 KB in the bundle, little in memory."""
    small = '[[checks]]\ncommand = "test $(du -sk ../logs | cut -f 1) -lt 25000"\n'
    lab.entry("flood", f'[run]\ncommand = """{FLOOD}; {SERVE}"""\n\n{small}')
    line = "head -c 50000000 /dev/zero | tr '\\\\000' y"
    lab.entry("line", f'[build]\ncommands = ["""{line}; exit 3"""]\n\n[run]\ncommand = """{SERVE}"""\n')
    result = lab.run(provider="local")
    assert lab.statuses() == {
        "flood::install": "passed",
        "flood::check": "passed",
        "line::install": "failed",
        "line::check": "blocked",
    }, str(result.stdout)
    assert peak_mb() < 300  # type: ignore[operator]


def test_what_a_terminal_a_browser_or_a_parser_would_obey(
    lab: LabSession, store: StoreHandle, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escapes, control characters, markup and marks of direction are text wherever a person or a program reads it."""
    tell = f"printf '{NASTY}'".replace("\\", "\\\\")
    lab.entry("told", f'[build]\ncommands = ["""{tell}; exit 3"""]\n\n[run]\ncommand = """{SERVE}"""\n')
    lab.entry("check", f'[run]\ncommand = """{tell}; {SERVE}"""\n\n[[checks]]\ncommand = """{tell} >&2; exit 1"""\n')
    result = lab.run("--junitxml", "report.xml", "-rA", provider="local")
    terminal = result.stdout.str() + result.stderr.str()
    assert "error: it failed" in terminal
    seen = shown(lab, store, capsys)
    for text in (terminal, *(text for where, text in seen.items() if not where.endswith(".txt"))):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert not any(
        "<script>alert" in text for where, text in seen.items() if where.startswith("/") and where[-4:] != ".txt"
    )
    report = (lab.pytester.path / "report.xml").read_bytes()
    failures = list(ElementTree.fromstring(report).iter("failure"))  # noqa: S314 - to see whether it is well-formed
    assert len(failures) == 2
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", report)


REPLACE = """
cd ../logs
echo 'another one`s secret words' >../home/other
for log in {logs}; do rm -f $log; {how} $log; done
"""


@pytest.mark.parametrize("how", ["ln -s ../home/other", "mkfifo", "mkdir", "ln -s /dev/zero", "ln -s /dev/full"])
def test_what_stands_in_place_of_a_log(
    lab: LabSession, store: StoreHandle, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """A link, a pipe without end, a folder, a device: neither read nor waited for; it never counts against the lab."""
    logs = "build.log deploy.log app.log nginx-error.log nginx-access.log"
    folder = lab.entry("alpha", f'[build]\ncommands = ["sh replace.sh"]\n\n[run]\ncommand = """{SERVE}"""\n')
    (folder / "replace.sh").write_text(REPLACE.format(logs=logs, how=how))
    lab.run(provider="local")
    (result,) = [result for result in lab.results().values() if result.stage == "install"]
    assert result.status == "passed", result.headline
    assert result.duration_s is not None
    assert result.duration_s < 25
    assert not any("secret words" in text for text in shown(lab, store, capsys).values())
