"""What is said to a target's shell."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_testlab.errors import UsageError
from pytest_testlab.target.commands import payload, wrapper

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=50)


def test_the_command_line_holds_nothing_of_the_script() -> None:
    """It is all that a process list shows."""
    assert wrapper("abc", 1.5) == (
        "exec env TESTLAB_COMMAND=abc timeout -k 2 1.500 sh -c 'eval \"$(cat)\"'"  # the script comes over stdin
    )


@settings(database=None, deadline=None)  # the tree may be read-only
@given(value=TEXT)
def test_every_value_survives_the_shell(value: str) -> None:
    """Quotes, newlines, dollars: a shell gives back just what went in."""
    script = payload('printf %s "$A"', None, {"A": value})
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, check=True)
    assert done.stdout == value.encode()


def test_a_nul_is_refused() -> None:
    """No environment can carry one; the shell would drop it silently."""
    with pytest.raises(UsageError, match="the value of A holds a NUL"):
        payload("true", None, {"A": "a\0b"})


@pytest.mark.parametrize("name", ["A-B", "1A", "", "A=B", "A;id"])
def test_a_name_that_no_shell_exports_is_refused(name: str) -> None:
    """An entry's [env] can't smuggle commands in."""
    with pytest.raises(UsageError, match="can't be the name of an environment variable"):
        payload("true", None, {name: "x"})
