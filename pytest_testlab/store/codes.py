"""The small integers that stand in the store for statuses and classes. Never renumber: rows outlive programs."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_testlab.model import FailureClass, Status

STATUS: Mapping[str, int] = {
    Status.PASSED: 1,
    Status.FAILED: 2,
    Status.ERROR: 3,
    Status.SKIPPED: 4,
    Status.BLOCKED: 5,
    Status.FLAKY: 6,
    Status.SHED: 7,
    Status.NOT_RUN: 8,
}
STATUS_NAME: Mapping[int, str] = {code: str(name) for name, code in STATUS.items()}

PASSED, FAILED, ERROR = STATUS[Status.PASSED], STATUS[Status.FAILED], STATUS[Status.ERROR]
FLAKY, NOT_RUN = STATUS[Status.FLAKY], STATUS[Status.NOT_RUN]

LETTERS = ".pfesbkhn"
"""The letter of a status in a strip is the one at its code: passed failed error skipped blocked flaKy sHed not_run."""

CLASS: Mapping[str, int] = {
    FailureClass.INFRA: 1,
    FailureClass.BUILD_FAILURE: 2,
    FailureClass.DEPLOY_FAILURE: 3,
    FailureClass.ADDON_UNREACHABLE: 4,
    FailureClass.APP_CRASH: 5,
    FailureClass.APP_ERROR: 6,
    FailureClass.PROXY_502: 7,
    FailureClass.TIMEOUT: 8,
    FailureClass.CHECK_FAILED: 9,
    FailureClass.INDETERMINATE: 10,
}
CLASS_NAME: Mapping[int, str] = {code: str(name) for name, code in CLASS.items()}


def status_name(code: int) -> str:
    """The word of a status; one that a newer program wrote is shown by its number."""
    return STATUS_NAME.get(code, f"status-{code}")


def class_name(code: int | None) -> str | None:
    """The word of a failure class; None stays None."""
    return None if code is None else CLASS_NAME.get(code, f"class-{code}")
