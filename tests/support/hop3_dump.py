"""A plugin of pytest that writes what was collected, and what could not be, to the file that HOP3_DUMP names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pytest_testlab.catalog.items import CatalogItem
from pytest_testlab.model import Check, HttpCheck, PlatformCheck, Suite

TIERS = ("fast", "medium", "slow", "very-slow")
_errors: list[str] = []


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _errors.append(report.nodeid)


def pytest_collection_finish(session: pytest.Session) -> None:
    found = {}
    for item in session.items:
        if not isinstance(item, CatalogItem):
            continue
        subject: Any = item.subject
        tutorial = subject.suite is Suite.TUTORIALS
        file = item.nodeid.partition("::")[0]
        found[file if tutorial else subject.name] = {
            "kind": subject.suite.value,
            "tier": next(tag for tag in (*subject.tags, "") if tag in TIERS or not tag),
            "priority": subject.priority.value,
            "rejected": not tutorial and subject.rejected,
            "checks": [] if tutorial else [_plain(check) for check in (*subject.steps, *subject.checks)],
            "file": file,
        }
    Path(os.environ["HOP3_DUMP"]).write_text(json.dumps({"entries": found, "errors": _errors}))


def _plain(check: Check) -> list[object]:
    match check:
        case HttpCheck():
            statuses = list(check.statuses or (check.status,))
            return ["http", check.method, check.path, statuses, check.contains, dict(check.json) or None]
        case PlatformCheck(action="command" | "script" | "check"):
            return [check.action, *check.values.values()]
        case PlatformCheck():
            return [check.action, *check.values.values()]
    raise AssertionError(check)
