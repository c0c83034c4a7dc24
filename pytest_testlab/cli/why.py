"""`testlab why [TEST]`: the cause of a test's last outcome, and what its bundle holds; or how a run got its targets."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from sqlalchemy import Connection

from pytest_testlab.cli._common import connection, count, harmless, paint, print_json, reading, status, unknown_run
from pytest_testlab.errors import UsageError
from pytest_testlab.store.views import AttemptView


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("why", help="why a test, or a run, ended as it did")
    reading(parser)
    parser.add_argument(
        "test", metavar="TEST", nargs="?", help="a test's id, or a part of it that only one test has; none: the run"
    )
    parser.add_argument("--run", metavar="RUN", help="in this run; default: the latest that has it")
    parser.add_argument("--attempt", type=count, metavar="N", help="this attempt; default: the last")
    parser.add_argument("--section", metavar="NAME", help="print this section of the bundle")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Print the headline and the list of sections, or one section."""
    from pytest_testlab.store.reads import attempts

    with connection(args) as store:
        if args.test is None:
            return _run(store, args)
        run, test = _find(store, args.run, args.test)
        found = attempts.attempt(store, run, test, args.attempt)
        if found is None:
            raise UsageError(f"{test} has no attempt {args.attempt or ''} in {run}".replace("  ", " "))
        if args.section:
            return _section(store, found, args.section)
    if args.json:
        return print_json(as_json(found))
    _print(found)
    return 0


def _run(store: Connection, args: argparse.Namespace) -> int:
    """Of the run itself: what it ended as, and how its targets came to be."""
    from pytest_testlab.store.reads import attempts, runs

    name = args.run or "latest"
    found = runs.get_run(store, name)
    if found is None:
        raise UsageError(unknown_run(store, name) if args.run else "there is no run yet")
    text = (attempts.transcript(store, name) or b"").decode(errors="replace")
    if args.json:
        about = {"run": found.run, "state": found.state, "say": found.say, "counts": dict(found.counts)}
        return print_json({**about, "provisioning": text.splitlines()})
    print(f"{found.state}  {paint(found.run, 'bold')}")
    if found.say:
        print(f"  {harmless(found.say)}")
    if text:
        print(f"\n{harmless(text)}", end="")
    return 0


def _find(store: Connection, run: str | None, text: str) -> tuple[str, str]:
    """The run and the test that are meant; raises `UsageError` with the nearest names."""
    from pytest_testlab.store.reads import names, runs

    if run is not None and runs.get_run(store, run) is None:
        raise UsageError(unknown_run(store, run))
    matches = names.matching_tests(store, text)
    if not matches:
        near = names.nearest_tests(store, text)
        raise UsageError(f"no test is called {text!r}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
    test = matches[0] if len(matches) == 1 else _worst(store, run, text, matches)
    where = run or names.latest_run_with(store, test)
    if where is None:
        raise UsageError(f"{test} has no result in any run yet")
    return where, test


def _worst(store: Connection, run: str | None, text: str, matches: list[str]) -> str:
    """Of one entry's tests the first that failed in the run is meant, else its last; raises `UsageError` otherwise."""
    from pytest_testlab.store.reads import runs

    results = {result.test: result for result in runs.results(store, run or "latest") if result.test in matches}
    failed = [test for test, result in results.items() if result.status in ("failed", "error")]
    if len({result.entry for result in results.values()}) == 1:
        return failed[0] if failed else list(results)[-1]
    raise UsageError(
        f"{text!r} fits {len(matches)} tests: {', '.join(matches[:4])}" + ("…" if len(matches) > 4 else "")
    )


def as_json(found: AttemptView) -> dict[str, Any]:
    """The shape that `--json` keeps."""
    result = found.result
    return {
        "run": result.run,
        "test": result.test,
        "status": result.status,
        "class": result.failure_class,
        "rule": result.rule,
        "headline": list(result.headline),
        "reason": found.reason,
        "attempt": result.attempt,
        "attempts": found.attempts,
        "target": result.target,
        "started_at": result.started_at,
        "duration_s": result.duration_s,
        "phases": dict(found.phases),
        "sections": [
            {"name": part.name, "bytes": part.size, "kept": part.kept, "source": part.source, "absent": part.absent}
            for part in found.sections
        ],
        "redacted": found.redacted,
    }


def _section(store: Connection, found: AttemptView, name: str) -> int:
    from pytest_testlab.plugins import nearest
    from pytest_testlab.store.reads import attempts

    part = next((part for part in found.sections if part.name == name), None)
    if part is None:
        known = [part.name for part in found.sections]
        raise UsageError(f"the bundle has no section {name!r}{nearest(name, known)}")
    if part.absent is not None:
        raise UsageError(f"the section {name} is absent: {part.absent}")
    result = found.result
    text = attempts.section(store, result.run, result.test, result.attempt, name) or b""
    if sys.stdout.isatty():
        print(harmless(text.decode(errors="replace")))
    else:
        sys.stdout.buffer.write(text)
    return 0


def _print(found: AttemptView) -> None:
    result = found.result
    print(f"{status(result.status)}  {paint(result.test, 'bold')}  in {result.run}")
    for line in result.headline or ((found.reason,) if found.reason else ()):
        print(f"  {harmless(line)}")
    if found.sections:
        print()
    for part in found.sections:
        size = paint(f"absent: {part.absent}", "dim") if part.absent is not None else f"{part.size:>8} bytes"
        print(f"  {part.name:<14} {size}  {paint(part.source, 'dim')}")
    if found.sections:
        print(paint("\n  testlab why TEST --section NAME prints one", "dim"))
