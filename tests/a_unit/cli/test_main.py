"""The command line: names, help, and the user's mistakes."""

from __future__ import annotations

import pytest

from pytest_testlab.cli import build_parser, main


def test_every_command_is_there() -> None:
    """The engine's own, and those that plugins register by the hook testlab_commands."""
    _, names = build_parser()
    assert {"doctor", "new", "schema", "run", "runs", "diff", "why", "serve", "recover", "db"} <= set(names)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rns"], "testlab: no command is called 'rns'; did you mean runs or run?\n"),
        (["runs", "--colour"], "testlab: runs doesn't know --colour; see testlab runs --help\n"),
        (["runs", "--db", "mysql://x/y"], "testlab: "),
        (["runs", "--limit", "-1"], "testlab: argument --limit: '-1' is not a number from 1 to "),
        (["why", "a", "--attempt", "99999"], "testlab: argument --attempt: '99999' is not a number from 1 to "),
        (["run", "--testlab-pol", "2"], "testlab: run doesn't know --testlab-pol; did you mean --testlab-pool"),
        (["diff", "latest", "--mode", "cli"], "testlab: RUN or --mode: a run that is named has its mode already\n"),
        (["db"], "testlab: the following arguments are required: ACTION; see testlab db --help\n"),
        ([], "testlab: the following arguments are required: COMMAND; see testlab --help\n"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    """No traceback, one line on standard error."""
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(words)
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", build_parser()[1])
def test_every_command_says_its_exit_codes(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """In its own help, a plugin's commands too: they are public."""
    with pytest.raises(SystemExit):
        main([name, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    _, _, codes = said.partition("Exit codes: ")
    assert codes.startswith("0 ")
    assert "; 2 " in codes


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`testlab --help` is a page that one can read."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for name in build_parser()[1]:
        assert f"\n    {name} " in shown
