"""Tutorials on real targets, through whole sessions: what runs, what fails and how it is told, what is left behind."""

from __future__ import annotations

import textwrap
from pathlib import Path

import psutil
import pytest
from sessions import LabSession

GOOD = """\
---
tutorial:
  name: first-app
  tags: [beginner]
  env:
    GREETING: hello
    TOKEN: { secret: shop-token }
    MADE: { generate: 24 }
  teardown: |
    touch OUT/torn-down
    cat made.txt
---
# First app

```file path=site/deep/index.html
It works, "quoted" and $unexpanded
```

```bash exec id=serve dir=site/deep
printf '%s\\n' "$GREETING" "$TOKEN" "$MADE" >../../made.txt
sleep 600 >/dev/null 2>&1 &
echo "I am in ${PWD##*/}, home is ${HOME##*/}"
cat index.html
```

```output contains
I am in deep, home is home
It works, "quoted" and $unexpanded
```

```sh exec continue-on-error timeout=30s
echo said on standard error >&2
cat made.txt
exit 3
```

```output regex
^hello$
```

```assert file-exists path=made.txt
```

```bash skip
touch OUT/skipped
```
"""


@pytest.fixture
def out(lab_home: Path, pytester: pytest.Pytester) -> Path:
    """Where another account, too, may leave a file."""
    folder = lab_home / f"out-{pytester.path.name}"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def page(lab: LabSession, name: str, text: str) -> Path:
    folder = lab.pytester.path / "docs"
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(textwrap.dedent(text))
    return file


def test_a_tutorial_from_end_to_end(
    lab: LabSession, lab_home: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every block does what its reader would; nothing of it is left; its bundle tells all but the secrets."""
    monkeypatch.setenv("TESTLAB_SECRET_SHOP_TOKEN", "hunter2-and-more")
    page(lab, "first-app.md", GOOD.replace("OUT", str(out)))
    page(lab, "README.md", "# Docs\n\nWe exec a tutorial.\n")
    result = lab.run("-rA", provider="local")
    assert lab.statuses() == {"first-app::tutorial": "passed"}, result.stdout.str()
    assert result.ret == 0
    test = "docs/first-app.md::tutorial"
    attempt = lab.attempt(test, 1)
    assert sorted(name for name in attempt.phases if name.startswith("block: ")) == [
        "block: 1 file site/deep/index.html",
        "block: 2 serve",
        "block: 3 echo said on standard error >&2",
        "block: 4 assert file-exists made.txt",
    ]
    assert "teardown" in attempt.phases
    told = (lab.section(test, 1, "blocks") or b"").decode()
    assert "=== block 2 of 4, docs/first-app.md:19: serve" in told
    assert "said on standard error" in told
    assert "[exit code 3 after" in told
    assert "hunter2" not in told + result.stdout.str()
    assert {section.name for section in attempt.sections} >= {"blocks", "teardown", "resources", "journald", "dns"}
    assert [file.name for file in out.iterdir()] == ["torn-down"]
    assert not left_running(lab_home)


def left_running(lab_home: Path) -> list[psutil.Process]:
    """What tutorials of this home started, and still runs."""
    there = [(process, _environ(process)) for process in psutil.process_iter()]
    return [process for process, env in there if "TESTLAB_WORKSHOP" in env and str(lab_home) in env.get("HOME", "")]


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


BROKEN = {
    "exit.md": """\
        # Exit

        ```bash exec id=build
        echo before
        ls /nowhere/at-all
        echo after
        ```
        """,
    "missed.md": """\
        ```bash exec id=version
        echo version 1.2
        ```

        ```output contains
        version 1.3
        ```
        """,
    "late.md": """\
        ```bash exec timeout=3s
        echo waiting; sleep 60
        ```
        """,
    "absent.md": """\
        ```bash exec
        true
        ```

        ```assert file-exists path=app/made.txt
        ```
        """,
    "lost.md": """\
        ```bash exec dir=not/made
        true
        ```
        """,
    "teardown.md": """\
        ---
        tutorial:
          teardown: |
            echo no way; false
        ---
        ```bash exec
        true
        ```
        """,
}


def test_how_failures_are_told(lab: LabSession) -> None:
    """Class and headline name the block, the line that failed, its exit code, the expectation, and what it said."""
    for name, text in BROKEN.items():
        page(lab, name, text)
    result = lab.run(provider="local", pool=2)
    assert result.ret == 1
    told = {name.entry: (name.status, name.failure_class, list(name.headline)) for name in lab.results().values()}
    assert {name: found[:2] for name, found in told.items()} == {
        **dict.fromkeys(("exit", "missed", "absent", "lost", "teardown"), ("failed", "check-failed")),
        "late": ("failed", "timeout"),
    }
    assert told["exit"][2][:5] == [
        "check-failed: block 1 (build), docs/exit.md:5: expected exit code 0, got exit code 2",
        "rule: check-failed/step",
        "command: ls /nowhere/at-all",
        "output: before",
        "output: ls: cannot access '/nowhere/at-all': No such file or directory",
    ]
    assert told["missed"][2][0].startswith(
        "check-failed: block 1 (version), docs/missed.md:5: expected output that contains 'version 1.3', got other out"
    )
    assert "output: version 1.2" in told["missed"][2]
    assert told["late"][2][:3] == [
        "timeout: block 1 (echo waiting; sleep 60), docs/late.md:1: not done after 3 s",
        "rule: timeout/step",
        "output: waiting",
    ]
    assert "block 2 (assert file-exists app/made.txt), docs/absent.md:5: expected" in told["absent"][2][0]
    assert "docs/lost.md:1: expected a folder not/made to run in (dir=), got none of that name" in told["lost"][2][0]
    assert "the teardown, docs/teardown.md:3: expected exit code 0, got exit code 1" in told["teardown"][2][0]
    assert max(len(headline) for _, _, headline in told.values()) <= 12
    assert "docs/exit.md:5" in result.stdout.str()
    page(lab, "new.md", "```bash exec\ntrue\n```\n")
    again = [line for line in lab.run("--lf", "--co", "-q").outlines if "::" in line]
    assert sorted(again) == [f"docs/{name}.md::tutorial" for name in sorted(told)]


def test_the_teardown_runs_after_a_failure_and_an_interruption(lab: LabSession, lab_home: Path, out: Path) -> None:
    """A block that fails, and Ctrl-C in the middle of one: the teardown has its turn, and what ran is ended."""
    head = f"---\ntutorial:\n  teardown: touch {out}/NAME\n---\n"
    page(lab, "a.md", head.replace("NAME", "failed") + "```bash exec\nfalse\n```\n")
    page(lab, "b.md", head.replace("NAME", "interrupted") + f"```bash exec\ntouch {out}/began\nsleep 600\n```\n")
    process = lab.start(provider="local")
    lab.wait_for(str(out / "began"), process)
    process.terminate()
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 2, said
    assert {file.name for file in out.iterdir()} == {"began", "failed", "interrupted"}
    assert lab.statuses() == {"a::tutorial": "failed", "b::tutorial": "not_run"}
    assert not left_running(lab_home)


def test_collecting(lab: LabSession) -> None:
    """`--co` lists the blocks with their lines; suite, mark, tag and path select as they do for entries."""
    lab.entry("shop")
    page(lab, "first-app.md", GOOD)
    page(lab, "second.md", "```bash exec\n# why\ncurl -fsS http://127.0.0.1\n```\n")
    listed = lab.run("--co")
    listed.stdout.fnmatch_lines(
        [
            "*<PageFile first-app.md>",
            "*<TutorialItem tutorial>",
            "*  15  file site/deep/index.html",
            "*  19  serve",
            "*touch OUT/skipped (not run)",
            "*<TutorialItem tutorial>",
            "*   1  curl -fsS http://127.0.0.1",
        ]
    )
    tutorials = ["docs/first-app.md::tutorial", "docs/second.md::tutorial"]
    for selection, expected in (
        (("--testlab-suite", "tutorials"), tutorials),
        (("-m", "tutorials", "-k", "beginner"), tutorials[:1]),
        (("docs/second.md",), tutorials[1:]),
    ):
        out = lab.run("--co", "-q", *selection).stdout.str()
        assert [line for line in out.splitlines() if "::" in line] == expected, out


def test_malformed_pages_stop_the_session(lab: LabSession) -> None:
    """Each with all of its problems; a name that is taken; a page too large to be one; the rest is no test."""
    page(lab, "a.md", "```bash exec exce\ntrue\n```\n\n```file\n```\n")
    page(lab, "b.md", "---\ntutorial:\n  name: twice\n---\n```bash exec\ntrue\n```\n")
    page(lab, "c.md", "---\ntutorial:\n\n  name: twice\n---\n```bash exec\ntrue\n```\n")
    (lab.pytester.path / "docs" / "huge.md").write_bytes(b"```bash exec\ntrue\n```\n" + b"x" * 2**20)
    (lab.pytester.path / "docs" / "big.md").write_bytes(b"text about exec\n" + b"x" * 2**20)
    (lab.pytester.path / "docs" / "loop.md").symlink_to("loop.md")
    (lab.pytester.path / "docs" / "here").symlink_to(".")
    result = lab.run("--co", "-q")
    assert result.ret == 2
    said = result.stdout.str()
    for line in (
        'docs/a.md:1: exec: "exce": unknown word; did you mean "exec"?',
        "docs/a.md:5: file: path=… is missing",
        'docs/c.md:4: tutorial.name: "twice" is already the name of docs/b.md; names are unique in a catalog',
        "docs/huge.md: is larger than 1024 KiB",
    ):
        assert line in said, said
    assert "big.md" not in said
    assert said.count("docs/b.md::tutorial") == 1


def test_a_target_without_a_shell(lab: LabSession) -> None:
    """There a tutorial is skipped, saying so."""
    page(lab, "a.md", "```bash exec\ntrue\n```\n")
    result = lab.run("-rs")
    assert lab.statuses() == {"a::tutorial": "skipped"}
    result.stdout.fnmatch_lines(["*its commands need a shell, and no SSH leads to this target*"])


def test_a_lost_host_is_tried_again(lab: LabSession) -> None:
    """A fault of the lab's in the middle of a tutorial is an error, and the next attempt begins afresh."""
    page(lab, "a.md", "```bash exec\nmkdir once\n```\n")
    lab.conftest("""
        import pytest_testlab.catalog.workshop as workshop
        from pytest_testlab.errors import InfraError

        real, calls = workshop.Workshop.run, []

        def run(self, *args, **kwargs):
            result = real(self, *args, **kwargs)
            calls.append(1)
            if len(calls) == 1:
                raise InfraError("the line was lost")
            return result

        workshop.Workshop.run = run
    """)
    result = lab.run(provider="local")
    assert lab.statuses() == {"a::tutorial": "flaky"}, result.stdout.str()
    assert "the line was lost" in lab.attempt("docs/a.md::tutorial", 1).result.headline[0]
