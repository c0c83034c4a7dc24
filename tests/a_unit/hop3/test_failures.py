"""What a deploy that failed is taken for, by the client's exit code and Hop3's own words."""

from __future__ import annotations

import pytest
from testlab_hop3.client import Said
from testlab_hop3.platform import failure_of

from pytest_testlab.errors import BuildFailed, DeployFailed, InfraError


@pytest.mark.parametrize(
    ("code", "output", "kind"),
    [
        (7, "connection refused", InfraError),
        (1, "> Command failed with exit code 1: venv/bin/python -m pip install", BuildFailed),
        (8, "the app did not start", DeployFailed),
        (2, "an app's name needs three letters", DeployFailed),
    ],
)
def test_the_kind_of_a_failure(code: int, output: str, kind: type[Exception]) -> None:
    """A broken line is infrastructure, a build that ended badly is the build's, the rest is the deploy's."""
    found = failure_of(Said(code=code, output=output.encode()))
    assert type(found) is kind
    assert output in str(found)
