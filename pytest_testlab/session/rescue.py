"""What is left to know of a test whose worker died: where it hung, and what stands on its target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pytest_testlab.catalog.attempts import outline
from pytest_testlab.catalog.bundler import COLLECT_WITHIN_S
from pytest_testlab.catalog.items import RERUN
from pytest_testlab.diagnosis.bundle import masked
from pytest_testlab.diagnosis.collect import LOST, RawSection, collect
from pytest_testlab.diagnosis.lastwords import console
from pytest_testlab.diagnosis.redact import Redactor
from pytest_testlab.diagnosis.sections import cloud_init
from pytest_testlab.distribution.watchdog import stacks_file
from pytest_testlab.model import LEASE_LOST, Section, Server
from pytest_testlab.pool.pool import Slot
from pytest_testlab.recording import events
from pytest_testlab.seams import blame
from pytest_testlab.session.run import Run

RULE = "infra/worker-died"
KNEW = "the worker that knew where it was died"
STACKS_BYTES = 64 * 1024


def rescue(
    run: Run, slot: Slot, *, worker: str, test: str, attempt: int, say: str, secrets: frozenset[str]
) -> Mapping[str, Any]:
    """Record that a worker died under a test; its bundle follows, before the target is wiped. Returns the event.

    Of a target that is another's by now nothing that the worker may have said itself counts.
    """
    about = _about(slot, test=test, attempt=attempt, say=say)
    event = events.finished(**about)
    run.note(event)
    redactor = Redactor(secrets, [shape for shapes in run.hooks.hook.testlab_redactors() for shape in shapes or ()])
    own = [_last_words(run, worker, say)]

    def look(server: Server) -> None:
        bundle = masked([*own, *_of_target(run, server)], redactor)
        manifest, blob = events.pack_bundle(bundle.sections)
        run.note(events.finished(**about, manifest=manifest, redacted=bundle.redacted), blob)

    slot.before_wiping = look
    return event


def void(run: Run, slot: Slot, *, test: str, attempt: int) -> None:
    """Record that what a worker said of an attempt doesn't count: its target was another's by then."""
    run.note(events.finished(**_about(slot, test=test, attempt=attempt, say=f"infra: {slot.say}")))


def _about(slot: Slot, *, test: str, attempt: int, say: str) -> dict[str, Any]:
    rule = LEASE_LOST if slot.fenced else RULE
    return {
        "test": test,
        "attempt": attempt,
        "status": "error",
        "failure_class": "infra",
        "rule": rule,
        "headline": [say, f"rule: {rule}"],
        "slot": slot.index,
        "target": slot.name,
        "retry_of": attempt - 1 or None,
    }


def report_of(event: Mapping[str, Any], test: str) -> pytest.TestReport:
    """What pytest is told of a result that no worker reported; `test` is the id that it has in this session."""
    told = outline(event, test)
    status = event["status"]
    text = "\n".join(event.get("headline", ())) or event.get("reason", status)
    good, bad = status in ("passed", "flaky"), status in ("failed", "error")
    report = pytest.TestReport(
        nodeid=test,
        location=(test.partition("::")[0], 0, test),
        keywords={},
        outcome="passed" if good else "failed" if bad else "skipped",
        longrepr=None if good else text if bad else (test.partition("::")[0], 0, text),
        when="setup" if status == "error" else "call",
    )
    report.testlab = told  # type: ignore[attr-defined]
    if told["again"]:
        report.outcome = RERUN  # type: ignore[assignment]
    return report


def _last_words(run: Run, worker: str, say: str) -> RawSection:
    path = stacks_file(run.folder.path, worker)
    stacks = path.read_bytes()[-STACKS_BYTES:] if path.is_file() else b""
    text = say.encode() + b"\n" + (b"\nwhere it hung:\n" + stacks if stacks else b"")
    return RawSection(name="lab", source="the controller", text=text, size=len(text))


def _of_target(run: Run, server: Server) -> list[RawSection]:
    """Never raises: whatever can't be had any more is absent, with the reason."""
    app = RawSection(name="app", source="the platform", absent=KNEW)
    try:
        target = run.provider.connect(server)
    except Exception as error:  # noqa: BLE001 - a target that is gone as well is what this is for
        why = f"{LOST}: {blame('the provider', error, run.provider)}"
        return [app, RawSection(name="target", source=server.name, absent=why), console(run.provider, server)]
    try:
        offered = run.hooks.hook.testlab_sections(target=target, deployment=None)
        sections: list[Section] = [section for more in offered for section in more or ()]
        had = collect(target, [*sections, cloud_init(server)], deadline_s=COLLECT_WITHIN_S)
        return [app, *had, console(run.provider, server)]
    except Exception as error:  # noqa: BLE001 - as above
        return [app, RawSection(name="target", source=server.name, absent=blame("a plugin's testlab_sections", error))]
    finally:
        target.close()
