"""Prints what hop3-testing's own Catalog finds below the working directory; run by the Python that can import it."""

import json
import sys
from pathlib import Path

from hop3_testing.catalog import Catalog

KINDS = {"deployment": "apps", "demo": "demos", "tutorial": "tutorials"}


def check(validation):
    expect = validation.expect
    if validation.type == "command":
        return ["command", validation.run, expect.exit_code, expect.stdout, expect.stdout_contains]
    if validation.type == "script":
        return ["check"] if validation.path == "check.py" else ["script", validation.path, expect.exit_code or 0]
    statuses = expect.status_in or [expect.status or 200]
    return ["http", validation.method, validation.path or "/", statuses, expect.contains, expect.json]


def step(one):
    kind = f"demo-{one.action}"
    return {
        "demo-deploy": [kind, one.app_path, one.app_name],
        "demo-destroy": [kind, one.app_name],
        "demo-wait": [kind, one.seconds],
        "demo-command": [kind, one.run, one.expect_exit_code or 0],
        "demo-validate": [kind, one.url, one.expect_status, one.expect_contains],
    }[kind]


def checks(test):
    if test.demo is None:
        return [check(validation) for validation in test.validations]
    return [step(one) for one in test.demo.steps] or [["demo-script", test.demo.script or "demo-script.py"]]


catalog = Catalog(Path.cwd())
catalog.scan(sys.argv[1:])
entries = {
    test.name: {
        "kind": KINDS[test.runner_type],
        "tier": test.tier.value,
        "priority": test.priority.value,
        "rejected": test.expects_failure,
        "checks": checks(test),
    }
    for test in catalog.all_tests()
}
errors = [str(path.relative_to(Path.cwd())) for path, _ in catalog.errors()]
sys.stdout.write(json.dumps({"entries": entries, "errors": errors}))
