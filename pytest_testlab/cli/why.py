"""`testlab why [TEST]`: the cause of a test's last outcome, and what its bundle holds; or how a run got its targets."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from pytest_testlab.cli._common import (
    connection,
    count,
    exits,
    harmless,
    paint,
    print_json,
    reading,
    status,
    unknown_run,
)
from pytest_testlab.errors import UsageError
from pytest_testlab.store.views import AttemptView, ResultView

FAILED = ("failed", "error")
PENDING = ("waiting", "running")
LISTED = 30
"""Failures of a run that are listed."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("why", help="why a test, or a run, ended as it did")
    reading(parser)
    parser.add_argument(
        "test",
        metavar="TEST",
        nargs="?",
        help="a test's id, ENTRY::STAGE, or a part of them; an entry means its first test that didn't pass in the "
        "latest run that has any of them, else its last test; none, or a run: the run, with what failed in it",
    )
    parser.add_argument("--run", metavar="RUN", help="in this run; default: the latest that has TEST")
    parser.add_argument("--attempt", type=count, metavar="N", help="this attempt; default: the last")
    parser.add_argument("--section", metavar="NAME", help="print this section of the bundle")
    exits(parser, fine="it was told, whatever the test came to")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    """Print the headline and the list of sections, or one section."""
    from pytest_testlab.store.reads import attempts

    with connection(args) as store:
        if args.test is None or _is_run(store, args):
            return _run(store, args)
        run, test, picked = _find(store, args.run, args.test)
        found = attempts.attempt(store, run, test, args.attempt)
        if found is None:
            raise UsageError(f"{test} has no attempt {args.attempt or ''} in {run}".replace("  ", " "))
        if args.section:
            if picked and sys.stdout.isatty():
                print(f"testlab: {harmless(test)} in {run} ({picked})", file=sys.stderr)
            return _section(store, found, args.section)
    if args.json:
        return print_json(as_json(found))
    _print(found, picked)
    return 0


def _is_run(store: Connection, args: argparse.Namespace) -> bool:
    """Whether a run's id stands where a test is asked for."""
    from pytest_testlab.store.reads import names, runs

    if args.run is not None or names.matching_tests(store, args.test, limit=1):
        return False
    return runs.get_run(store, args.test) is not None


def _run(store: Connection, args: argparse.Namespace) -> int:
    """Of the run itself: what it ended as, what failed, and how its targets came to be."""
    from pytest_testlab.store.reads import attempts, runs

    named = args.run or args.test
    found = runs.get_run(store, named or runs.LATEST)
    if found is None:
        raise UsageError(unknown_run(store, named) if named else "there is no run yet")
    results = runs.results(store, found.run)
    failed = [result for result in results if result.status in FAILED]
    text = (attempts.transcript(store, found.run) or b"").decode(errors="replace")
    if args.json:
        about = {"run": found.run, "state": found.state, "say": found.say, "counts": dict(found.counts)}
        listed = [_failed(result) for result in failed]
        return print_json({**about, "failed": listed, "provisioning": text.splitlines()})
    print(f"{found.state}  {paint(found.run, 'bold')}")
    if found.say:
        print(f"  {harmless(found.say)}")
    _print_failed(failed, results, f"--run {shlex.quote(found.run)} " if named else "")
    if text:
        print(f"\n{harmless(text)}", end="")
    return 0


def _failed(result: ResultView) -> dict[str, Any]:
    return {
        "test": result.test,
        "status": result.status,
        "class": result.failure_class,
        "headline": list(result.headline),
    }


def _print_failed(failed: Sequence[ResultView], results: Sequence[ResultView], run: str) -> None:
    """A line for each, with the command that tells more."""
    named = Counter((result.entry, result.stage) for result in results)
    if failed:
        print()
    for result in failed[:LISTED]:
        is_plain = result.entry and named[result.entry, result.stage] == 1
        name = f"{result.entry}::{result.stage}" if is_plain else result.test
        cause = f"  {paint(harmless(result.headline[0]), 'dim')}" if result.headline else ""
        print(f"  {status(result.status, 6)}  testlab why {run}{harmless(shlex.quote(name))}{cause}")
    if len(failed) > LISTED:
        print(f"  and {len(failed) - LISTED} more; testlab diff lists all")


def _find(store: Connection, run: str | None, text: str) -> tuple[str, str, str]:
    """The run and the test that are meant, and how it was picked of several.

    Raises `UsageError` with the nearest names.
    """
    from pytest_testlab.store.reads import names, runs

    if run is not None and runs.get_run(store, run) is None:
        raise UsageError(unknown_run(store, run))
    matches = names.matching_tests(store, text)
    if not matches:
        near = names.nearest_tests(store, text)
        raise UsageError(
            f"no test is called {text!r}" + (f"; did you mean {' or '.join(near)}?" if near else _known(store))
        )
    where = run or names.latest_run_with(store, *matches)
    if where is None:
        raise UsageError(f"{matches[0] if len(matches) == 1 else text} has no result in any run yet")
    return (where, matches[0], "") if len(matches) == 1 else (where, *_pick(store, where, text, matches))


def _known(store: Connection) -> str:
    """What to ask for, where nothing that the store has is anything like what was asked for."""
    from pytest_testlab.store.reads import names

    known = names.latest_tests(store, limit=3)
    if not known:
        return ", as no run has any yet; start one with: pytest --testlab-pool 2 CATALOG"
    return f", nor anything like it; the latest run has {' or '.join(known)}, and testlab why alone tells what failed"


def _pick(store: Connection, run: str, text: str, matches: Sequence[str]) -> tuple[str, str]:
    """Of one entry's tests the first that didn't pass in the run, else the last; `UsageError` for several entries'."""
    from pytest_testlab.store.reads import runs

    wanted = set(matches)
    results = [result for result in runs.results(store, run) if result.test in wanted]
    if not results:
        raise UsageError(f"{text} has no result in {run}")
    if len({(result.entry, result.test.partition("::")[0]) for result in results}) > 1:
        known = [result.test for result in results]
        say = " or ".join(known[:4]) + (" …" if len(known) > 4 else "")
        raise UsageError(f"{text!r} fits {len(known)} tests of several entries; did you mean {say}?")
    if len(results) == 1:
        return results[0].test, ""
    over = [result for result in results if result.status not in PENDING] or results
    failed = [result for result in over if result.status in FAILED]
    failed = failed or [result for result in over if result.status not in ("passed", "flaky")]
    if not failed:
        return over[-1].test, f"of its {len(results)} tests the last"
    return failed[0].test, f"of its {len(results)} tests the first that didn't pass"


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


def _print(found: AttemptView, picked: str) -> None:
    result = found.result
    how = paint(f"  ({picked})", "dim") if picked else ""
    print(f"{status(result.status)}  {paint(result.test, 'bold')}  in {result.run}{how}")
    for line in result.headline or ((found.reason,) if found.reason else ()):
        print(f"  {harmless(line)}")
    if found.sections:
        print()
    for part in found.sections:
        size = paint(f"absent: {part.absent}", "dim") if part.absent is not None else f"{part.size:>8} bytes"
        print(f"  {part.name:<14} {size}  {paint(part.source, 'dim')}")
    if found.sections:
        print(paint("\n  testlab why TEST --section NAME prints one", "dim"))
