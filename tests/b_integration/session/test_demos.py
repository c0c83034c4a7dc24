"""Demos on real targets, through whole sessions."""

from __future__ import annotations

from pathlib import Path

from sessions import LabSession


def demo(lab: LabSession, name: str, text: str) -> Path:
    folder = lab.pytester.path / name
    folder.mkdir()
    (folder / "testlab.toml").write_text(f'[demo]\nname = "{name}"\n{text}')
    return folder


def test_demos_without_an_app(lab: LabSession) -> None:
    """Built and run step by step in the uploaded folder; what failed, and how, is told; nothing is left."""
    good = demo(
        lab,
        "good",
        """
[build]
commands = ["echo $GREETING >built"]
[env]
GREETING = "hello"
[[steps]]
name = "look"
command = "cat built && echo more >>built && pwd"
stdout = "hello"
[[steps]]
name = "from the lab"
script = "step.sh"
[[checks]]
name = "it grew"
command = "wc -l <built"
stdout = "2"
""",
    )
    (good / "step.sh").write_text('#!/bin/sh\n[ "$GREETING" = hello ] && [ -z "$APP_URL" ]\n')
    demo(lab, "bad", '[[steps]]\ncommand = "true"\n[[steps]]\nname = "fall"\ncommand = "echo no; exit 3"\n')
    demo(lab, "slow", '[[steps]]\nname = "wait"\ncommand = "sleep 60"\nwithin = "1s"\n')
    demo(lab, "unbuilt", '[build]\ncommands = ["cc no-such-file.c"]\n[[steps]]\ncommand = "true"\n')
    result = lab.run(provider="local", pool=2)
    told = {f"{r.entry}::{r.stage}": (r.status, r.failure_class) for r in lab.results().values()}
    assert told == {
        **dict.fromkeys(("good::install", "good::check", "bad::install", "slow::install"), ("passed", None)),
        "bad::check": ("failed", "check-failed"),
        "slow::check": ("failed", "timeout"),
        "unbuilt::install": ("failed", "build-failure"),
        "unbuilt::check": ("blocked", None),
    }, result.stdout.str()
    assert [*lab.results()["bad/testlab.toml::check"].headline] == [
        "check-failed: step 2 (fall): expected exit code 0, got exit code 3: no",
        "rule: check-failed/wrong-answer",
        "look at: the section check: all that was run and said until then",
    ]
    phases = lab.attempt("good/testlab.toml::check", 1).phases
    assert {name for name in phases if ":" in name} == {"step: 1 look", "step: 2 from the lab", "check: it grew"}
    said = (lab.section("good/testlab.toml::check", 1, "check") or b"").decode()
    folder = next(line for line in said.splitlines() if line.endswith("/work"))
    assert not Path(folder).parent.exists()


def test_a_demo_of_an_app(lab: LabSession) -> None:
    """Steps come after its deploy and before its checks; the first that fails ends them."""
    steps = "".join(f'[[steps]]\nname = "{name}"\ncommand = "{name}"\n' for name in ("true", "false", "echo"))
    demo(lab, "tour", f'[run]\ncommand = "true"\n{steps}[[checks]]\ncommand = "true"\n')
    lab.run()
    assert lab.statuses() == {"tour::install": "passed", "tour::check": "failed"}
    result = lab.results()["tour/testlab.toml::check"]
    assert (
        result.headline[0] == "check-failed: step 2 (false): expected exit code 0, got exit code 1: it printed nothing"
    )
    phases = lab.attempt("tour/testlab.toml::check", 1).phases
    assert {name for name in phases if ":" in name} == {"step: 1 true", "step: 2 false"}
